"""Images of a few megabytes whose layers ask for much only together, measured from outside."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from envbuilder.layers.chunked import most_table
from envbuilder.model.image import OCI_LAYER_GZIP, OCI_MANIFEST
from envbuilder.model.reference import Digest
from tests.outside import LARGEST_INPUT, measured

pytestmark = pytest.mark.integration

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
UNPACK = """
import sys
from pathlib import Path
from envbuilder.model.errors import BuildError
from envbuilder.model.progress import Silent
from envbuilder.registry.open_image import open_image
from envbuilder.runtime.trees import unpacked
from envbuilder.storage.store import Store

store = Store(Path(sys.argv[1]))
with open_image(sys.argv[2], "linux/amd64", store=store, registries=None) as opened:
    opened.bring_layers(store, Silent())
    try:
        unpacked(opened.image.layers, store=store, progress=Silent())
    except BuildError as error:
        print(error.message)
"""


class Layout:
    """An OCI layout that is written layer by layer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        self._layers: list[dict[str, object]] = []
        self._diff_ids: list[str] = []

    def layer(self, *pieces: bytes) -> None:
        """Add a layer whose tar is ``pieces``; large ones repeat."""
        plain, packed = hashlib.sha256(), []
        for piece in pieces:
            plain.update(piece)
            packed.append(compressed(piece))
        self._layers.append({"mediaType": OCI_LAYER_GZIP, **self._blob(b"".join(packed))})
        self._diff_ids.append(f"sha256:{plain.hexdigest()}")

    def end(self) -> str:
        """Write the documents; return how the command calls the image."""
        rootfs = {"type": "layers", "diff_ids": self._diff_ids}
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG_TYPE, **self._blob(json.dumps(config).encode())},
            "layers": self._layers,
        }
        entry = {"mediaType": OCI_MANIFEST, **self._blob(json.dumps(manifest).encode())}
        index = {"schemaVersion": 2, "manifests": [entry]}
        (self.folder / "index.json").write_text(json.dumps(index))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        assert sum(path.stat().st_size for path in self._blobs.iterdir()) <= LARGEST_INPUT
        return f"oci:{self.folder}"

    def _blob(self, data: bytes) -> dict[str, object]:
        digest = Digest.of(data)
        (self._blobs / digest.hex).write_bytes(data)
        return {"digest": str(digest), "size": len(data)}


@cache
def compressed(piece: bytes) -> bytes:
    return gzip.compress(piece, compresslevel=9, mtime=0)


END = bytes(1024)


def header(name: str, size: int = 0) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o755
    return info.tobuf(tarfile.PAX_FORMAT)


def empty_files(names: Iterable[str]) -> bytes:
    return b"".join(header(name) for name in names)


def inspected(image: str) -> str:
    return measured("-m", "envbuilder", "inspect", image)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "image")


def crowded(layout: Layout) -> str:
    """Write layers each of which is honest, and which are more than an image has."""
    files = empty_files(f"{number:x}" for number in range(50_000))
    for number in range(20):
        layout.layer(header(f"own{number}"), files, END)
    return layout.end()


def test_layers_that_only_together_have_too_many_members(layout: Layout) -> None:
    said = inspected(crowded(layout))
    assert "all its layers together: it has more members than any honest one of its size" in said


def test_they_are_not_unpacked_either(layout: Layout, tmp_path: Path) -> None:
    said = measured("-c", UNPACK, str(tmp_path / "store"), crowded(layout))
    assert "all its layers together: it has more members than any honest one of its size" in said


def test_layers_that_only_together_inflate_to_far_too_much(layout: Layout) -> None:
    piece = bytes(1 << 20)
    for _ in range(5):
        layout.layer(header("zeros", 1900 << 20), *[piece] * 1900, END)
    assert "all its layers together: it inflates to more" in inspected(layout.end())


def test_many_layers_that_each_look_at_all_below(layout: Layout) -> None:
    deep = "d/" * 126
    layout.layer(empty_files(f"{deep}{number:x}" for number in range(59_000)), END)
    for number in range(120):
        layout.layer(empty_files([f".wh.{number:x}", f"{deep}.wh.{number:x}"]), END)
    said = inspected(layout.end())
    assert "caches: none in any layer" in said


def test_a_layer_of_another_size_than_the_manifest_says(layout: Layout) -> None:
    layout.layer(header("file"), END)
    layout._layers[0]["size"] = 1 << 40
    said = inspected(layout.end())
    assert "bytes, and its manifest says 1099511627776" in said


READ_TABLE = """
import sys
from zstandard import ZstdCompressor
from envbuilder.layers.chunked import read_table
from envbuilder.model.errors import BuildError

piece, count = sys.argv[1].encode(), int(sys.argv[2])
plain = b'{"version":1,"entries":[' + (piece + b",") * (count - 1) + piece + b"]}"
try:
    print(len(read_table(ZstdCompressor().compress(plain), len(plain)).entries))
except BuildError as error:
    print(error.message)
"""


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('{"type":"dir","name":"a"}', "524288"),
        ("[]", "cannot be read"),
        ('{"type":"dir","name":"a","name":"b"}', "a key is there twice"),
    ],
)
def test_tables_of_contents_as_large_as_a_blob_of_ten_megabytes_may_have(
    entry: str, says: str
) -> None:
    count = most_table(LARGEST_INPUT) // (len(entry) + 1)
    assert says in measured("-c", READ_TABLE, entry, str(count))
