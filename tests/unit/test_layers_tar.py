"""Tar headers and gzip members, read back by Python's own tarfile, gzip and zlib."""

import gzip
import io
import tarfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.layers import tar
from envbuilder.layers.deflate import PIECE, DeflateError, inflate, stored

PART = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=90
).filter(lambda part: part not in {".", ".."})
PATH = st.lists(PART, min_size=1, max_size=6).map("/".join)


def read(data: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(data + tar.END)) as archive:
        (info,) = archive.getmembers()
    return info


@given(path=PATH, mode=st.sampled_from([0o644, 0o755]), size=st.integers(0, 2000))
def test_a_file_header_reads_back(path: str, mode: int, size: int) -> None:
    info = read(tar.header(path, mode=mode, size=size) + bytes(size) + tar.padding(size))
    assert (info.name, info.mode, info.size) == (path, mode, size)
    assert (info.uid, info.gid, info.uname, info.gname) == (0, 0, "", "")
    assert info.mtime == tar.MTIME
    assert info.isreg()


@given(path=PATH, target=PATH)
def test_a_link_header_reads_back(path: str, target: str) -> None:
    info = read(tar.header(path, mode=0o777, kind=tar.SYMLINK, link=target))
    assert (info.name, info.linkname, info.issym()) == (path, target, True)


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 2**40])
def test_a_size_beyond_eight_gibibytes_reads_back(size: int) -> None:
    header = tar.header("big", mode=0o644, size=size)
    assert tarfile.open(fileobj=io.BytesIO(header)).next().size == size  # noqa: SIM115


@pytest.mark.parametrize("owner", [(8**7 - 1, 8**7 - 1), (8**7, 0), (0, 8**7), (2**31 - 2,) * 2])
def test_an_owner_beyond_seven_octal_digits_reads_back(owner: tuple[int, int]) -> None:
    header = tar.header("home/", mode=0o755, kind=tar.DIRECTORY, owner=owner)
    info = read(header)
    assert (info.name, info.uid, info.gid) == ("home", *owner)
    assert (len(header) == tar.BLOCK) == (max(owner) < 8**7)


def test_an_extended_header_stands_only_where_it_must() -> None:
    assert len(tar.header("a" * 100, mode=0o644)) == tar.BLOCK
    assert len(tar.header("a" * 101, mode=0o644)) == 3 * tar.BLOCK
    assert len(tar.header("ä", mode=0o644)) == 3 * tar.BLOCK


def test_parents_come_outermost_first() -> None:
    assert list(tar.parents("opt/venv/bin/x")) == ["opt/", "opt/venv/", "opt/venv/bin/"]
    assert list(tar.parents("opt/venv/")) == ["opt/"]
    assert list(tar.parents("x")) == []


@given(st.binary(max_size=300) | st.integers(0, 200_000).map(bytes))
def test_stored_members_are_gzip(data: bytes) -> None:
    assert gzip.decompress(stored(data) + stored(data)) == data + data


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(data=st.binary(max_size=3000), piece=st.integers(1, 500))
def test_inflating_gives_both_sides_in_order(data: bytes, piece: int) -> None:
    packed = raw(data)
    pairs = list(inflate(iter(cut(packed, piece)), len(data)))
    assert b"".join(one for one, _ in pairs) == packed
    assert b"".join(two for _, two in pairs) == data


def test_what_is_packed_well_comes_in_bounded_pieces() -> None:
    data = bytes(50_000_000)
    sizes = [len(plain) for _, plain in inflate(iter([raw(data)]), len(data))]
    assert sum(sizes) == len(data)
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        (raw(b"hello"), 4),
        (raw(b"hello"), 6),
        (raw(b"hello")[:-1], 5),
        (raw(b"hello") + b"x", 5),
        (b"\xff\xff\xff", 5),
        (b"", 0),
        (raw(bytes(9_000_000)), 8_999_999),
    ],
)
@pytest.mark.parametrize("piece", [1, 1000])
def test_a_deflate_stream_that_lies_is_refused(packed: bytes, size: int, piece: int) -> None:
    with pytest.raises(DeflateError):
        list(inflate(iter(cut(packed, piece)), size))


def test_the_end_mark_is_two_blocks_of_zeros():
    assert (len(tar.END), tar.END.strip(b"\0")) == (1024, b"")


def test_a_stream_may_say_its_end_after_all_its_content():
    """An empty block follows what fills the last piece to its last byte."""
    packer = zlib.compressobj(wbits=-15)
    data = bytes(PIECE)
    raw = packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH) + packer.flush()
    assert b"".join(content for _, content in inflate(iter([raw]), len(data))) == data
