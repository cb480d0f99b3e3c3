"""Bring the archives of a lock into the store: from beside the lock, an address, or an index."""

from __future__ import annotations

from pathlib import Path

from envbuilder.layers.tar import MTIME
from envbuilder.model.errors import LockError, NetworkError, ResolutionError
from envbuilder.model.lock import ArchiveSource, FolderFile, Lock, in_build_order
from envbuilder.model.package_spec import Index, Package
from envbuilder.model.reference import Digest
from envbuilder.resolve.context import Context
from envbuilder.resolve.python.beside import digest_of
from envbuilder.resolve.python.direct import fetch_again
from envbuilder.resolve.python.offers import locate_by_hash
from envbuilder.storage.store import Store

from .archive import Archive
from .folder import changed_files, pack_project

FOLDER = "sdists"
"""Beside the lock: where its sdists are looked for first."""
_SHOWN = 10


def bring_archive(context: Context, lock: Lock, source: ArchiveSource) -> Archive:
    """Return the archive of ``source``, fetched into the store if it is not there.

    Raises NetworkError and ResolutionError if it is not to be had.
    """
    if not context.store.has(source.sha256):
        fetch_again(context, _address(context, lock, source), source)
    return archive_in(context.store, source.filename, source.sha256, source.time)


def archive_in(store: Store, filename: str, sha256: Digest, time: int = MTIME) -> Archive:
    """Return an archive that the store has."""
    return Archive(path=store.checked(sha256), filename=filename, sha256=sha256, time=time)


def pack_folder(
    context: Context, folder: Path, name: str, pin: Package
) -> tuple[Archive, tuple[FolderFile, ...]]:
    """Take the project in ``folder`` into the store as an archive; list what went into it.

    What ``pin`` excludes stays out.

    Raises ResolutionError and BuildError as ``pack_project`` does.
    """
    with context.store.writer() as blob:
        files = pack_project(folder, name, blob.write, exclude=pin.exclude)
        sha256 = blob.commit()
    return archive_in(context.store, f"{name}.tar", sha256), files


def take_archives_beside(context: Context, lock: Lock, folder: Path) -> None:
    """Take in what lies in ``folder`` of the lock's archives, as lock and spec name the places.

    Raises LockError for a file or folder of the spec's that is not what was locked.
    """
    for source in in_build_order(lock.built):
        if not isinstance(source, ArchiveSource):
            continue
        pin = _pin(lock, source)
        if pin is None or pin.path is None:
            _take_file(context, folder / FOLDER / source.filename, source)
        elif (folder / pin.path).exists():
            _take_pinned(context, lock, folder / pin.path, source, pin)


def _take_file(context: Context, path: Path, source: ArchiveSource) -> None:
    if context.store.has(source.sha256) or not path.is_file():
        return
    if path.stat().st_size == source.size and digest_of(path) == source.sha256:
        context.store.adopt(path, source.sha256)
    else:
        context.progress.note(f"warning: {path} is not the locked file, and is passed over")


def _take_pinned(
    context: Context, lock: Lock, path: Path, source: ArchiveSource, pin: Package
) -> None:
    hint = f"envbuilder lock {lock.spec.name} takes it as it is now"
    if path.is_dir() and source.files:
        found, files = pack_folder(context, path, source.name, pin)
        if found.sha256 != source.sha256:
            lines = changed_files(source.files, files)
            more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
            shown = "".join(f"\n  {line}" for line in lines[:_SHOWN])
            raise LockError(f"{path} is not the folder that was locked:{shown}{more}", hint=hint)
        return
    if not path.is_file() or digest_of(path) != source.sha256:
        what = f"{path} is not what was locked ({source.sha256})"
        raise LockError(what, hint=hint)
    if not context.store.has(source.sha256):
        context.store.adopt(path, source.sha256)


def _pin(lock: Lock, source: ArchiveSource) -> Package | None:
    """Find the address or path that the spec has for a package; tools come from an index."""
    if (source.name, source.sha256) not in {(each.name, each.sha256) for each in lock.archives}:
        return None
    return lock.spec.archives.get(lock.spec.key_of(source.name) or "")


def _address(context: Context, lock: Lock, source: ArchiveSource) -> str:
    pin = _pin(lock, source)
    if pin is not None and pin.path is not None:
        raise ResolutionError(
            f"{source.name}: neither in the store nor beside the spec: {pin.path}",
            hint="put it there, from the spec's folder, as it was locked",
        )
    if context.offline:
        raise NetworkError(
            f"--offline, and the store lacks {source.filename}",
            hint=f"run envbuilder fetch {lock.spec.name} while there is a network",
        )
    if pin is not None and pin.url is not None:
        return pin.url
    return index_address(context, source, lock.spec.indexes)


def index_address(context: Context, source: ArchiveSource, index: Index) -> str:
    """Return where an index offers the sdist ``source``; raises ResolutionError if none does."""
    found = locate_by_hash(context.indexes, [source], index)
    if source not in found:
        raise ResolutionError(
            f"no configured index offers {source.filename} ({source.sha256}) any more",
            hint=f"add an index that has it, put it into the folder {FOLDER} beside the lock, or "
            "lock again",
        )
    return found[source]
