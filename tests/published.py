"""Real releases from the machine's index, as files: found by uv, checked by its hashes."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import PurePosixPath
from typing import Any
from urllib.request import urlopen

from uv import find_uv_bin

from envbuilder.model.package_spec import Index
from envbuilder.resolve.python.indexes import uv_environment


def source_of(name: str, version: str) -> dict[str, bytes]:
    """Return the files of a release's source archive by path, its top folder left out."""
    with tarfile.open(fileobj=io.BytesIO(_fetch(_located(name, version)["sdist"]))) as archive:
        return {
            str(PurePosixPath(*PurePosixPath(member.name).parts[1:])): file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }


def wheel_of(name: str, version: str, *, python: str) -> dict[str, bytes]:
    """Return the files of a release's wheel for ``python`` on 64-bit Linux, but for its RECORD."""
    platform = ("--python-version", python, "--python-platform", "x86_64-manylinux_2_28")
    (wheel,) = _located(name, version, *platform)["wheels"]
    with zipfile.ZipFile(io.BytesIO(_fetch(wheel))) as archive:
        return {
            name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")
        }


def _located(name: str, version: str, *options: str) -> dict[str, Any]:
    command = [find_uv_bin(), "pip", "compile", "-q", "--no-deps", *options]
    located = subprocess.run(
        [*command, "--format", "pylock.toml", "-"],
        input=f"{name}=={version}".encode(),
        env=uv_environment(Index()),
        capture_output=True,
        check=True,
    )
    (package,) = tomllib.loads(located.stdout.decode())["packages"]
    return package


def _fetch(artifact: dict[str, Any]) -> bytes:
    with urlopen(artifact["url"]) as answer:
        data: bytes = answer.read()
    assert hashlib.sha256(data).hexdigest() == artifact["hashes"]["sha256"]
    return data
