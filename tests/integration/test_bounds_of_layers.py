"""Inputs of a few megabytes that ask for gigabytes: what they get, measured from outside."""

from __future__ import annotations

import gzip
import hashlib
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from envbuilder.model.reference import Digest
from tests.outside import LARGEST_INPUT, measured
from tests.wheels import Recipe

pytestmark = pytest.mark.integration

PROGRAM = """
import sys
from pathlib import Path
from envbuilder.layers.contents import scan, stacked
from envbuilder.layers.install import Target
from envbuilder.layers.unpack import unpack
from envbuilder.layers.untar import untar
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.model.errors import BuildError
from envbuilder.model.image import OCI_LAYER_GZIP
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

what, path = sys.argv[1], Path(sys.argv[2])
try:
    if what == "wheel":
        wheel = WheelInput(filename=path.name, sha256=Digest(sys.argv[3]), path=path)
        store = Store(path.parent / "store")
        wheel_layer(store, [wheel], target=Target(python="3.11"), title="hostile")
    elif what == "scan":
        with untar(path, OCI_LAYER_GZIP, Digest(sys.argv[3])) as tar:
            contents = scan(tar)
        stacked([contents, contents])
    else:
        (path.parent / "into").mkdir()
        unpack(path, OCI_LAYER_GZIP, path.parent / "into", diff_id=Digest(sys.argv[3]))
    print("done")
except BuildError as error:
    print(error.message)
"""


def read(what: str, path: Path, digest: Digest) -> str:
    """Let another process read ``path``; return what it says, if it kept the bounds."""
    assert path.stat().st_size <= LARGEST_INPUT
    return measured("-c", PROGRAM, what, str(path), digest.hex)


def zeros(count: int, text: bytes = b"\0") -> Iterator[bytes]:
    piece = (text * (1 << 20))[: 1 << 20]
    yield from (piece for _ in range(count))


def wheel(tmp_path: Path, name: str, content: Callable[[], Iterator[bytes]]) -> Path:
    """Write a wheel whose member ``name`` is what ``content`` yields, packed well."""
    recipe = Recipe()
    path = tmp_path / recipe.filename
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for other, data in recipe.contents().items():
            if not other.endswith(f"/{name}"):
                archive.writestr(other, data)
        with archive.open(f"{recipe.info}/{name}", "w", force_zip64=True) as file:
            for piece in content():
                file.write(piece)
    return path


def digest_of(path: Path) -> Digest:
    return Digest.of(path.read_bytes())


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("WHEEL", b"\0", "sensible"),
        ("RECORD", b",,\n", "sensible"),
        ("entry_points.txt", b"a=b:c\n", "sensible"),
    ],
)
def test_metadata_of_a_wheel_that_inflates_to_far_more(
    tmp_path: Path, name: str, text: bytes, why: str
) -> None:
    path = wheel(tmp_path, name, lambda: zeros(450, text))
    assert why in read("wheel", path, digest_of(path))


@pytest.mark.parametrize(
    ("name", "text", "size", "why"),
    [
        ("RECORD", b",,\n", 15, "rows"),
        ("RECORD", b'"', 15, "RECORD cannot be read"),
        ("entry_points.txt", b"[x]\n", 0.9, "cannot be read"),
        ("METADATA", b"A: b\n", 15, "done"),
    ],
)
def test_metadata_as_large_as_is_allowed(
    tmp_path: Path, name: str, text: bytes, size: float, why: str
) -> None:
    whole = text * (int(size * (1 << 20)) // len(text))
    path = wheel(tmp_path, name, lambda: iter([whole]))
    assert why in read("wheel", path, digest_of(path))


def test_fifty_thousand_entry_points(tmp_path: Path) -> None:
    lines = "".join(f"x{number}=a:b\n" for number in range(50_000))
    path = wheel(
        tmp_path, "entry_points.txt", lambda: iter([b"[console_scripts]\n" + lines.encode()])
    )
    assert "50000 scripts" in read("wheel", path, digest_of(path))


def test_a_thousand_scripts_that_are_rewritten(tmp_path: Path) -> None:
    recipe = Recipe(
        files={f"demo-1.0.data/scripts/x{n}": b"#!python\n" + bytes(4 << 20) for n in range(40)}
    )
    path = tmp_path / recipe.filename
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in recipe.contents().items():
            archive.writestr(name, data)
    assert "documents have more bytes together" in read("wheel", path, digest_of(path))


def test_a_directory_full_of_empty_members(tmp_path: Path) -> None:
    recipe = Recipe()
    path = tmp_path / recipe.filename
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in recipe.contents().items():
            archive.writestr(name, data)
        for number in range(60_000):
            archive.writestr(zipfile.ZipInfo(f"{number:x}"), b"")
    assert read("wheel", path, digest_of(path)) == "done\n"


@cache
def packed(piece: bytes) -> bytes:
    return gzip.compress(piece, compresslevel=6, mtime=0)


class Layer:
    """A gzip file and the hash of its content, written in pieces of which large ones repeat."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._hash = hashlib.sha256()

    def add(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._hash.update(piece)
            self._file.write(packed(piece))

    def entry(self, name: str, size: int, **fields: object) -> None:
        info = tarfile.TarInfo(name)
        info.size = size
        for key, value in fields.items():
            setattr(info, key, value)
        self.add(info.tobuf(tarfile.PAX_FORMAT))

    def end(self) -> tuple[Path, Digest]:
        self.add(bytes(1024))
        self._file.close()
        return self.path, Digest(self._hash.hexdigest())


PIECE = bytes(1 << 20)


def test_many_metadata_of_sixty_megabytes(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "blob")
    for number in range(8):
        layer.entry(f"lib/python3.11/site-packages/x{number}.dist-info/METADATA", 60 << 20)
        layer.add(*[PIECE] * 60)
    assert "more than the 4194304 that are sensible" in read("scan", *layer.end())


def test_many_metadata_as_large_as_is_allowed(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "blob")
    for number in range(100):
        layer.entry(f"lib/python3.11/site-packages/x{number}.dist-info/METADATA", 4 << 20)
        layer.add(*[PIECE] * 4)
    assert "documents have more bytes together" in read("scan", *layer.end())


def test_bytecode_of_more_than_memory_is_for(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "blob")
    layer.entry("a/__pycache__/x.cpython-311.pyc", 450 << 20)
    layer.add(*[PIECE] * 450)
    assert read("scan", *layer.end()) == "done\n"


def add_attribute(layer: Layer, key: str, size: int) -> None:
    """Add an extended header whose one record has ``size`` bytes."""
    start = f"{size} SCHILY.xattr.user.{key}=".encode()
    most = b"v" * (size - 100)
    layer.entry("x", size, type=tarfile.XHDTYPE)
    layer.add(start + b"v" * (99 - len(start)), most, b"\n" + bytes(-size % 512))


@pytest.mark.parametrize("what", ["scan", "unpack"])
def test_many_extended_headers_before_one_entry(tmp_path: Path, what: str) -> None:
    layer = Layer(tmp_path / "blob")
    for number in range(500):
        add_attribute(layer, f"k{number}", (1 << 20) - 512)
    layer.entry("file", 0)
    assert "headers of one entry" in read(what, *layer.end())


@pytest.mark.parametrize("what", ["scan", "unpack"])
def test_extended_headers_of_the_shortest_records(tmp_path: Path, what: str) -> None:
    layer = Layer(tmp_path / "blob")
    records = b"6 a=b\n" * 150_000  # each half copied for the next, a header took four seconds
    for number in range(100):
        layer.entry("x", len(records), type=tarfile.XHDTYPE)
        layer.add(records + bytes(-len(records) % 512))
        layer.entry(f"f{number}", 0)
    assert "more extended records" in read(what, *layer.end())


@pytest.mark.parametrize(
    "record", [b"6 a=bc\n", b"6a=b\n", b" a=b\n", b"0 \n", b"9" * 20, b"-6 a=b\n"]
)
def test_a_record_that_is_none(tmp_path: Path, record: bytes) -> None:
    layer = Layer(tmp_path / "blob")
    layer.entry("x", len(record), type=tarfile.XHDTYPE)
    layer.add(record + bytes(512 - len(record)))
    layer.entry("file", 0)
    assert "is damaged" in read("scan", *layer.end())


def test_many_directories_with_large_attributes(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "blob")
    for number in range(4500):
        add_attribute(layer, "k", 100_000)
        layer.entry(f"d{number}", 0, type=tarfile.DIRTYPE, mode=0o755)
    assert "documents have more bytes together" in read("unpack", *layer.end())


def crowded(tmp_path: Path, names: Iterable[str], kind: bytes, *, size: int) -> tuple[Path, Digest]:
    """Write a layer of entries without content behind ``size`` bytes of noise."""
    noise = tarfile.TarInfo("noise")
    noise.size = size - size % 512
    blocks = [noise.tobuf(), random.Random(0).randbytes(noise.size)]
    for name in names:
        info = tarfile.TarInfo(name)
        info.type, info.mode = kind, 0o755
        blocks.append(info.tobuf(tarfile.USTAR_FORMAT))
    data = b"".join([*blocks, bytes(1024)])
    path = tmp_path / "blob"
    path.write_bytes(gzip.compress(data, compresslevel=6))
    return path, Digest.of(data)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("what", ["scan", "unpack"])
def test_more_entries_than_honest_bytes_have(tmp_path: Path, what: str, kind: bytes) -> None:
    names = (f"{number:x}" for number in range(100_000))
    path, diff_id = crowded(tmp_path, names, kind, size=LARGEST_INPUT - (2 << 20))
    assert "more members than any honest one" in read(what, path, diff_id)


@pytest.mark.parametrize("what", ["scan", "unpack"])
def test_folders_that_no_two_paths_share(tmp_path: Path, what: str) -> None:
    names = (f"{number:x}/" + "d/" * 100 + "f" for number in range(50_000))
    path, diff_id = crowded(tmp_path, names, tarfile.REGTYPE, size=LARGEST_INPUT - (2 << 20))
    said = read(what, path, diff_id)
    assert "paths alone" in said or "more members than any honest one" in said
