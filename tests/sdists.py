"""Sdists made by the tests: sound ones with a backend of their own, broken ones by hand."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Mapping

_PYPROJECT = """\
[build-system]
requires = {needs}
build-backend = "backend"
backend-path = ["."]
"""
_BACKEND = """\
import base64, hashlib, json, zipfile
from pathlib import Path

META = json.loads(Path("meta.json").read_text())
exec(META["first"])


def build_wheel(folder, settings=None, metadata=None):
    exec(META["build"])
    stem = META["name"] + "-" + META["version"]
    text = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n".format(**META)
    text += "".join("Requires-Dist: " + each + "\\n" for each in META["requires"])
    files = {
        META["name"] + ".py": Path("code.py").read_text(),
        stem + ".dist-info/METADATA": text,
        stem + ".dist-info/WHEEL": "Wheel-Version: 1.0\\nTag: py3-none-any\\n",
    }
    record = "".join(line(name, content.encode()) for name, content in files.items())
    files[stem + ".dist-info/RECORD"] = record + stem + ".dist-info/RECORD,,\\n"
    with zipfile.ZipFile(folder + "/" + stem + "-py3-none-any.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return stem + "-py3-none-any.whl"


def line(name, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return name + ",sha256=" + digest + "," + str(len(content)) + "\\n"
"""


def project(
    name: str,
    version: str = "1.0",
    *,
    requires: tuple[str, ...] = (),
    first: str = "",
    build: str = "",
    code: str = "x = 1\n",
    needs: tuple[str, ...] = (),
) -> dict[str, bytes]:
    """Return the files of a project that needs nothing, or what it ``needs``, to be built.

    ``first`` runs as soon as anything is asked of it, ``build`` when it makes a wheel.
    """
    meta = {
        "name": name, "version": version, "requires": requires, "first": first, "build": build,
    }  # fmt: skip
    return {
        "pyproject.toml": _PYPROJECT.format(needs=json.dumps(needs)).encode(),
        "backend.py": _BACKEND.encode(),
        "meta.json": json.dumps(meta).encode(),
        "code.py": code.encode(),
    }


def sdist(root: str, files: Mapping[str, bytes]) -> bytes:
    """Return the tar.gz of ``files`` below the folder ``root``."""
    return packed(entry(f"{root}/{path}", data) for path, data in files.items())


def entry(
    path: str,
    data: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    target: str = "",
    mode: int = 0o644,
) -> tuple[tarfile.TarInfo, bytes]:
    """Return one member of a tar, as hostile as may be."""
    info = tarfile.TarInfo(path)
    info.size, info.type, info.linkname, info.mode = len(data), kind, target, mode
    info.mtime = 1_600_000_000
    return info, data


def packed(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Return a tar.gz of ``members``, in this order."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0)


def zipped(root: str, files: Mapping[str, bytes]) -> bytes:
    """Return the zip of ``files`` below the folder ``root``, as sdists came long ago."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(f"{root}/{path}", data)
    return content.getvalue()
