"""The Python distributions that Debian packages bring: read from the .deb files themselves."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from envbuilder.model.errors import BuildError
from envbuilder.model.lock import DebPackage, SystemPython
from envbuilder.storage.store import Store

# dist-info (PEP 376), egg-info directories, and distutils' egg-info files.
_METADATA = re.compile(
    r"(\./)?usr/lib/python3(\.\d+)?/dist-packages/[^/]+\."
    r"(dist-info/METADATA|egg-info/PKG-INFO|egg-info)"
)


def find_distributions(debs: Iterable[DebPackage], *, store: Store) -> tuple[SystemPython, ...]:
    """List what ``importlib.metadata`` will find in the packages' ``dist-packages``.

    Sorted, with canonical names (PEP 503).
    """
    found = {distribution for deb in debs for distribution in _read(store.checked(deb.sha256))}
    return tuple(sorted(found))


def _read(deb: Path) -> Iterator[SystemPython]:
    """Unpack the data only if the file list names metadata: a data member may be gigabytes."""
    left = sum(1 for name in _listed(deb) if _METADATA.fullmatch(name))
    if not left:
        return
    for name, content in _members(deb, "--fsys-tarfile", _METADATA):
        headers = BytesHeaderParser().parsebytes(content)
        if not (headers["Name"] and headers["Version"]):
            raise BuildError(f"{name} in {deb.name} names no distribution")
        yield SystemPython(name=canonicalize_name(headers["Name"]), version=headers["Version"])
        left -= 1
        if not left:
            return


def _listed(deb: Path) -> list[str]:
    """Return the paths in ``md5sums``, which debhelper puts into every package."""
    sums = b"".join(text for _, text in _members(deb, "--ctrl-tarfile", re.compile(r"\./md5sums")))
    return [line.split("  ", 1)[-1] for line in sums.decode().splitlines()]


def _members(deb: Path, part: str, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    with subprocess.Popen(["dpkg-deb", part, deb], stdout=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                for member in tar:
                    file = tar.extractfile(member) if wanted.fullmatch(member.name) else None
                    if file is not None:
                        yield member.name, file.read()
        finally:
            process.kill()  # the rest of the archive is of no interest
