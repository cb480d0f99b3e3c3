"""What a .deb file holds, read through dpkg-deb, in bounds: it may ask for far more than it has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, cast

from envbuilder.layers.bounds import Budget
from envbuilder.layers.packed import counted
from envbuilder.layers.untar import DAMAGES, Untar
from envbuilder.model.errors import BuildError, MissingToolError

Part = Literal["--ctrl-tarfile", "--fsys-tarfile"]
"""The tar of what tells of the package, or of what it installs."""

_MEMORY = 384 << 20  # bytes; `xz -9` needs 65 MiB, but a header may ask for 4 GiB
_COMPLAINT = 1 << 16  # bytes of what dpkg-deb says


def members(
    deb: Path, part: Part, wanted: re.Pattern[str], *, limit: int, name: str
) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted files of the package that messages call ``name``, each with its path.

    One of them may have ``limit`` bytes. Raises BuildError if the package is damaged, or asks for
    too much, MissingToolError without dpkg. Who stops listening early has the rest of the archive
    left unread, and unjudged.
    """
    if shutil.which("dpkg-deb") is None:
        raise MissingToolError(
            "dpkg-deb is not installed; it reads the packages of a Debian base",
            hint="install the package dpkg",
        )
    budget = Budget.of(deb.stat().st_size, partial(_damaged, name))
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(
            ["sh", "-c", f'ulimit -v {_MEMORY >> 10}; exec dpkg-deb "$@"', "dpkg-deb", part, deb],
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=os.environ | {"DPKG_DEB_THREADS_MAX": "1"},  # each takes memory of its own
        ) as process,
    ):
        try:
            for path, size, content in _wanted(cast("BinaryIO", process.stdout), wanted, budget):
                budget.hold(path, size, limit=limit)
                yield path, b"".join(content)
            process.wait()
        except DAMAGES as error:
            raise _damaged(name, error) from error
        finally:
            process.kill()  # the rest of the archive is of no interest
        if process.returncode:
            complaints.seek(0)
            raise _damaged(name, complaints.read(_COMPLAINT).decode(errors="replace").strip())


def _wanted(
    stream: BinaryIO, wanted: re.Pattern[str], budget: Budget
) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    tar = Untar(counted(stream, budget), budget)
    for entry in tar.entries():
        if wanted.fullmatch(entry.info.name) and entry.info.isreg():
            yield entry.info.name, entry.info.size, tar.content()
    for _ in tar.rest():
        pass


def _damaged(name: str, why: object) -> BuildError:
    return BuildError(
        f"the Debian package {name} cannot be read: {why}",
        hint="its archive made it so, for it has the hash that was stated: use another mirror",
    )
