"""What a layer may ask for, with small limits; ``test_bounds_of_layers`` measures what it takes."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from pathlib import Path

import pytest

from envbuilder.layers import bounds
from envbuilder.layers.contents import scan
from envbuilder.layers.untar import untar
from envbuilder.model.errors import BuildError
from envbuilder.model.image import OCI_LAYER_GZIP
from envbuilder.model.reference import Digest


def layer_of(names: list[str], tmp_path: Path, content: bytes = b"") -> tuple[Path, Digest]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path = tmp_path / "blob"
    path.write_bytes(gzip.compress(buffer.getvalue()))
    return path, Digest.of(buffer.getvalue())


def test_what_links_name_counts_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "NAMES", 20_000)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(10):
            info = tarfile.TarInfo(str(number))
            info.type, info.linkname = tarfile.SYMTYPE, "t" * 4000
            tar.addfile(info)
    path = tmp_path / "blob"
    path.write_bytes(gzip.compress(buffer.getvalue()))
    opened = untar(path, OCI_LAYER_GZIP, Digest.of(buffer.getvalue()))
    with pytest.raises(BuildError, match="paths alone"), opened as entries:
        scan(entries)


@pytest.mark.parametrize(
    ("limits", "names", "why"),
    [
        ({"FEW_MEMBERS": 1, "MEMBER": 1 << 20}, ["a", "b"], "more members than any honest one"),
        ({"MEMBERS": 2}, ["a", "b", "c"], "more members than any honest one"),
        ({"NAMES": 300}, ["a", "b", "c"], "paths alone"),
        ({"NAMES": 500}, ["a/b/c/d/e"], "paths alone"),
        ({}, ["a/" * 60 + "n" * 4000], "4120 bytes"),
        ({}, ["a/" * 60 + "\u3042" * 1000], "3120 bytes"),
        ({}, ["a/" * 200 + "b"], "folders deep"),
    ],
)
def test_what_a_layer_may_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limits: dict[str, int],
    names: list[str],
    why: str,
) -> None:
    for limit, value in limits.items():
        monkeypatch.setattr(bounds, limit, value)
    path, diff_id = layer_of(names, tmp_path)
    with pytest.raises(BuildError, match=why), untar(path, OCI_LAYER_GZIP, diff_id) as tar:
        scan(tar)


def test_what_a_layer_may_inflate_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FLOOR", 1 << 20)
    path, diff_id = layer_of(["zeros"], tmp_path, bytes(8 << 20))
    with pytest.raises(BuildError, match="100 times"), untar(path, OCI_LAYER_GZIP, diff_id) as tar:
        scan(tar)


def test_honest_ratios_are_far_away() -> None:
    text = b"".join(b"def function_%d():\n    return %d\n" % (n, n) for n in range(10_000))
    assert len(text) / len(zlib.compress(text)) < bounds.RATIO / 5
