"""The Python distributions that Debian packages bring: read from the .deb files themselves."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import BinaryIO, cast

from packaging.utils import canonicalize_name

from envbuilder.model.errors import BuildError
from envbuilder.model.lock import DebPackage, SystemPython
from envbuilder.storage.store import Store

# dist-info (PEP 376), egg-info directories, and distutils' egg-info files.
_METADATA = re.compile(
    r"(\./)?usr/lib/python3(\.\d+)?/dist-packages/[^/]+\."
    r"(dist-info/METADATA|egg-info/PKG-INFO|egg-info)"
)

_CHUNK = 1 << 16
_LARGEST = 16 << 20  # bytes of one document; the longest list of files in Debian has 3 MB


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
        project, version = (str(headers[key] or "") for key in ("Name", "Version"))
        if not (project and version):
            raise BuildError(f"{name} in {deb.name} names no distribution")
        yield SystemPython(name=canonicalize_name(project), version=version)
        left -= 1
        if not left:
            return


def _listed(deb: Path) -> list[str]:
    """Return the paths in ``md5sums``, which debhelper puts into every package."""
    sums = b"".join(text for _, text in _members(deb, "--ctrl-tarfile", re.compile(r"\./md5sums")))
    return [line.split("  ", 1)[-1] for line in sums.decode(errors="replace").split("\n")]


def _members(deb: Path, part: str, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted files of a package; raise BuildError if it is damaged, or asks for too much.

    Who stops listening early has the rest of the archive left unread, and unjudged.
    """
    with tempfile.TemporaryFile() as complaints:
        command = ["dpkg-deb", part, str(deb)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as process:
            stream = cast("BinaryIO", process.stdout)
            try:
                yield from _wanted(stream, wanted)
                while stream.read(_CHUNK):
                    pass
                process.wait()
            except (tarfile.TarError, ValueError, EOFError) as error:
                raise _damaged(deb, error) from error
            finally:
                process.kill()  # the rest of the archive is of no interest
        if process.returncode:
            complaints.seek(0)
            raise _damaged(deb, complaints.read(_CHUNK).decode(errors="replace").strip())


def _wanted(stream: BinaryIO, wanted: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            file = tar.extractfile(member) if wanted.fullmatch(member.name) else None
            if file is None:
                continue
            if member.size > _LARGEST:
                raise ValueError(f"{member.name} has {member.size} bytes: more than is sensible")
            yield member.name, file.read()


def _damaged(deb: Path, why: object) -> BuildError:
    return BuildError(
        f"the Debian package {deb.name} cannot be read: {why}",
        hint="its archive made it so, for it has the hash that was stated: use another mirror",
    )
