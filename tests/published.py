"""Real releases from the machine's index, as files: found by uv, checked by its hashes."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tomllib
from pathlib import PurePosixPath
from urllib.request import urlopen

from uv import find_uv_bin

from envbuilder.resolve.indexes import uv_environment
from envbuilder.spec import Index


def source_of(name: str, version: str) -> dict[str, bytes]:
    """Return the files of a release's source archive by path, its top folder left out."""
    located = subprocess.run(
        [find_uv_bin(), "pip", "compile", "-q", "--no-deps", "--format", "pylock.toml", "-"],
        input=f"{name}=={version}".encode(),
        env=uv_environment(Index()),
        capture_output=True,
        check=True,
    )
    (package,) = tomllib.loads(located.stdout.decode())["packages"]
    with urlopen(package["sdist"]["url"]) as answer:
        data = answer.read()
    assert hashlib.sha256(data).hexdigest() == package["sdist"]["hashes"]["sha256"]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            str(PurePosixPath(*PurePosixPath(member.name).parts[1:])): file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }
