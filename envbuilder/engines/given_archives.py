"""The files of sdists and folders in a rendered folder, as tars below ``sources/``.

What was refused in a stranger's archive is refused before: a tar of ours holds plain files, folders
and links that stay inside.
"""

from __future__ import annotations

from pathlib import Path

from envbuilder.model.atomic import replacing
from envbuilder.model.errors import BuildError
from envbuilder.model.lock import ArchiveSource, Lock
from envbuilder.resolve.archives.folder import pack
from envbuilder.resolve.archives.supply import archive_in
from envbuilder.storage.store import Store

from .labels import labelled

FOLDER = "sources"


def archive_path(label: str) -> str:
    """Name the tar that holds the files of what has ``label``, by its path in the folder."""
    return f"{FOLDER}/{label}.tar"


def copy_archives(lock: Lock, folder: Path, *, store: Store) -> None:
    """Write the tars that the rendered ``folder`` holds.

    Raises BuildError for a source whose files the ``store`` does not have.
    """
    for label, source in labelled(lock).items():
        if not isinstance(source, ArchiveSource):
            continue
        if not store.has(source.sha256):
            hint = f"envbuilder fetch {lock.spec.name} brings it"
            raise BuildError(f"{source.filename} is not in the store", hint=hint)
        archive = archive_in(store, source.filename, source.sha256, source.time)
        target = folder / archive_path(label)
        target.parent.mkdir(parents=True, exist_ok=True)
        with store.scratch() as scratch, replacing(target) as file:
            archive.write(scratch / "files")
            pack(scratch / "files", "", file.write)
