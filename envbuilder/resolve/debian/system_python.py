"""The Python distributions that Debian packages bring: read from the .deb files themselves."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from envbuilder.model.errors import BuildError
from envbuilder.model.lock import DebPackage, SystemPython
from envbuilder.storage.store import Store

from .deb_file import members

# dist-info (PEP 376), egg-info directories, and distutils' egg-info files.
_METADATA = re.compile(
    r"(\./)?usr/lib/python3(\.\d+)?/dist-packages/[^/]+\."
    r"(dist-info/METADATA|egg-info/PKG-INFO|egg-info)"
)
_LONGEST_METADATA = 4 << 20  # bytes, as of a wheel's
_SUMS = re.compile(r"\./md5sums")
_LONGEST_SUMS = 16 << 20  # bytes; the longest list of files in Debian has 3 MB


def find_distributions(debs: Iterable[DebPackage], *, store: Store) -> tuple[SystemPython, ...]:
    """List what ``importlib.metadata`` will find in the packages' ``dist-packages``.

    Sorted, with canonical names (PEP 503).
    """
    found = {distribution for deb in debs for distribution in _read(deb, store)}
    return tuple(sorted(found))


def _read(deb: DebPackage, store: Store) -> Iterator[SystemPython]:
    """Unpack the data only if the file list names metadata: a data member may be gigabytes."""
    file, name = store.checked(deb.sha256), f"{deb.name} {deb.version}"
    left = sum(1 for path in _listed(file, name) if _METADATA.fullmatch(path))
    if not left:
        return
    found = members(file, "--fsys-tarfile", _METADATA, limit=_LONGEST_METADATA, name=name)
    for path, content in found:
        headers = BytesHeaderParser().parsebytes(content)
        project, version = (str(headers[key] or "") for key in ("Name", "Version"))
        if not (project and version):
            raise BuildError(f"{path} in {name} names no distribution")
        yield SystemPython(name=canonicalize_name(project), version=version)
        left -= 1
        if not left:
            return


def _listed(file: Path, name: str) -> Iterator[str]:
    """Yield the paths in ``md5sums``, which debhelper puts into every package."""
    for _, sums in members(file, "--ctrl-tarfile", _SUMS, limit=_LONGEST_SUMS, name=name):
        for line in io.BytesIO(sums):
            yield line.decode(errors="replace").rstrip("\n").split("  ", 1)[-1]
