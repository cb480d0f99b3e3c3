"""Wheels made by the tests: whole ones by their fields, broken ones by hand."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envbuilder.layers.wheel import WheelInput
from envbuilder.model.reference import Digest

_MOMENT = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A wheel to be: ``files`` without its metadata; ``modes`` where not 0644."""

    name: str = "demo"
    version: str = "1.0"
    files: Mapping[str, bytes] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    stored: frozenset[str] = frozenset()
    requires: tuple[str, ...] = ()
    entry_points: str = ""
    record: Iterable[tuple[str, str, str]] | None = None
    tag: str = "py3-none-any"

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-{self.tag}.whl"

    @property
    def info(self) -> str:
        return f"{self.name}-{self.version}.dist-info"

    def contents(self) -> dict[str, bytes]:
        """Return every member with the metadata that a wheel must have."""
        files = dict(self.files)
        text = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        text += "".join(f"Requires-Dist: {each}\n" for each in self.requires)
        files[f"{self.info}/METADATA"] = text.encode()
        files[f"{self.info}/WHEEL"] = (
            f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {self.tag}\n"
        ).encode()
        if self.entry_points:
            files[f"{self.info}/entry_points.txt"] = self.entry_points.encode()
        files[f"{self.info}/RECORD"] = self._record(files)
        return files

    def _record(self, files: Mapping[str, bytes]) -> bytes:
        rows = self.record
        if rows is None:
            rows = [
                (name, hash_of(data), str(len(data)))
                for name, data in files.items()
                if not name.endswith("/")
            ]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*rows, (f"{self.info}/RECORD", "", "")])
        return text.getvalue().encode()


def hash_of(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
    return f"sha256={digest.rstrip('=')}"


def write_wheel(folder: Path, recipe: Recipe) -> Path:
    """Write the wheel; only its bytes after compression depend on zlib."""
    path = folder / recipe.filename
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in recipe.contents().items():
            archive.writestr(member(name, recipe), data)
    return path


def member(name: str, recipe: Recipe) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _MOMENT)
    info.create_system = 3
    kind, mode = (0o040000, 0o755) if name.endswith("/") else (0o100000, 0o644)
    info.external_attr = (kind | recipe.modes.get(name, mode)) << 16
    plain = name in recipe.stored or name.endswith("/")
    info.compress_type = zipfile.ZIP_STORED if plain else zipfile.ZIP_DEFLATED
    return info


def as_wheel(path: Path, **options: object) -> WheelInput:
    """Name the wheel file at ``path`` with the hash that it has."""
    sha256 = Digest.of(path.read_bytes())
    return WheelInput(filename=path.name, sha256=sha256, path=path, **options)  # type: ignore[arg-type]
