"""A local apt repository of exactly the locked .deb files: apt has nothing to choose from."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

from envbuilder.layers.tar import MTIME
from envbuilder.model.errors import BuildError
from envbuilder.model.lock import DebPackage
from envbuilder.storage.store import Store

from .deb_file import members

_CONTROL = re.compile(r"(\./)?control")
_LONGEST_CONTROL = 1 << 20  # bytes; the longest in Debian has some 20 kB


def write_repository(
    folder: Path, debs: Sequence[DebPackage], *, suite: str, architecture: str, store: Store
) -> None:
    """Fill ``folder`` with ``debs`` from the store and the index that apt needs.

    The index states the lock's hashes, so apt refuses a damaged file. Everything is readable for
    all users: apt's own one reads it, or, without root, one of the user's subordinate ids.
    Raises BuildError if a file is missing or no .deb, MissingToolError without dpkg.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stanzas = list(pool.map(lambda deb: _take(folder, deb, store), debs))
    packages = "\n".join(stanzas).encode()
    (folder / "Packages").write_bytes(packages)
    (folder / "Release").write_text(
        f"Codename: {suite}\n"
        f"Suite: {suite}\n"
        f"Architectures: {architecture}\n"
        f"Date: {formatdate(MTIME, usegmt=True)}\n"
        f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    )
    for index in ("Packages", "Release"):
        (folder / index).chmod(0o644)


def _take(folder: Path, deb: DebPackage, store: Store) -> str:
    """Place one file and describe it as the Packages index does."""
    file, name = folder / f"{deb.sha256.hex}.deb", f"{deb.name} {deb.version}"
    if not store.has(deb.sha256):
        raise BuildError(f"{name} is not in the store", hint="run `envbuilder fetch` first")
    store.copy(deb.sha256, file)
    file.chmod(0o644)
    found = members(file, "--ctrl-tarfile", _CONTROL, limit=_LONGEST_CONTROL, name=name)
    controls = [text for _, text in found]
    if not controls:
        raise BuildError(f"{name} is no Debian package: it has no control file")
    fields = controls[-1].decode(errors="replace").rstrip("\n")
    return f"{fields}\nFilename: ./{file.name}\nSize: {deb.size}\nSHA256: {deb.sha256.hex}\n"
