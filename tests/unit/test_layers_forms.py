"""A layer in another form holds the same tar, says just what it does, and is the same anywhere."""

import base64
import gzip
import io
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from envbuilder.cli import options
from envbuilder.layers import chunked_writer, forms
from envbuilder.layers.chunked import PREFIX, prove_table, read_table
from envbuilder.layers.chunked_writer import NoTableError, rfc3339, table_entry
from envbuilder.layers.forms import FormedLayer, recompress
from envbuilder.layers.frames import PIECE, Frames, PackedText
from envbuilder.layers.tar_split import Checksum
from envbuilder.layers.untar import Untar, untar, untar_stream
from envbuilder.model.errors import BuildError
from envbuilder.model.image import OCI_LAYER_TAR, OCI_LAYER_ZSTD, Layer
from envbuilder.model.reference import Digest
from envbuilder.model.spec_words import COMPRESSIONS
from envbuilder.storage.store import Store
from tests.servers.samples import noise

LARGE = noise(PIECE + 5000) + bytes(PIECE) + b"end"
FILES = {
    "opt/small": b"hello",
    "opt/empty": b"",
    "opt/large": LARGE,
    "opt/" + "n" * 90 + "/" + "m" * 90: b"behind a PAX header",
    "opt/ünï": b"not ASCII",
    "opt/middle": noise(200_000, 7),
}
ODD = {"SCHILY.xattr.user.x": "value", "mtime": "1234567.25", "atime": "5.5"}


def member(name: str, **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.mtime = 946684800
    for key, value in more.items():
        setattr(made, key, value)
    return made


def tar_of(*more: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.PAX_FORMAT, **named) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind, **named) as made:
        for info, content in more:
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


def plain_tar() -> bytes:
    return tar_of(
        (member("opt/", type=tarfile.DIRTYPE, mode=0o755), b""),
        *((member(name), content) for name, content in FILES.items()),
        (member("opt/link", type=tarfile.SYMTYPE, linkname="small", mode=0o777), b""),
        (member("opt/same", type=tarfile.LNKTYPE, linkname="opt/small"), b""),
        (member("opt/pipe", type=tarfile.FIFOTYPE, uid=7, gid=8), b""),
        (member("opt/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
        (member("opt/odd", mode=0o4755, pax_headers=ODD), b"odd"),
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def layer_of(store: Store, plain: bytes) -> Layer:
    digest = store.add(gzip.compress(plain, 1, mtime=0))
    size = store.path(digest).stat().st_size
    return Layer(digest=digest, size=size, diff_id=Digest.of(plain), title="sample")


def formed(store: Store, layer: Layer, compression: str = "zstd:chunked", threads: int = 2):
    with ThreadPoolExecutor(threads) as pool:
        return recompress(store, layer, compression, pool=pool, advance=lambda _: None)


def unpacked(blob: bytes) -> bytes:
    reader = zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True)
    return b"".join(iter(lambda: reader.read(1 << 20), b""))


def part(store: Store, made: FormedLayer, name: str) -> tuple[bytes, int]:
    """Return what an annotation names of a blob, and the size that it is to have unpacked."""
    offset, size, plain = map(int, made.annotations[PREFIX + name].split(":")[:3])
    return store.read(made.layer.digest)[offset : offset + size], plain


def joined(split: bytes, contents: dict[str, bytes]) -> bytes:
    """Put a tar together as vbatts/tar-split does, checking each file's content."""
    found = b""
    for number, line in enumerate(map(json.loads, split.splitlines())):
        assert line.get("position", 0) == number
        payload = base64.b64decode(line["payload"] or "")
        if line["type"] == 2:
            found += payload
        elif line.get("size"):
            content = contents[line["name"]]
            assert payload == naive_crc(content[-1000:], content[:-1000]), line["name"]
            found += content
    return found


def naive_crc(content: bytes, before: bytes = b"") -> bytes:
    """Compute the CRC-64 of ISO 3309 bit by bit, but for what comes ``before``."""
    state = Checksum()
    state.update(before)
    value = int.from_bytes(state.digest(), "big") ^ ((1 << 64) - 1)
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xD800000000000000 if value & 1 else 0)
    return (value ^ ((1 << 64) - 1)).to_bytes(8, "big")


def test_the_checksum_is_the_published_one():
    made = Checksum()
    made.update(b"1234")
    made.update(b"56789")
    assert made.digest().hex() == "b90956c775a41001" == naive_crc(b"123456789").hex()


@pytest.mark.parametrize("compression", ["zstd", "zstd:chunked"])
def test_the_tar_is_the_same(store, compression):
    plain = plain_tar()
    made = formed(store, layer_of(store, plain), compression)
    assert made.layer.diff_id == Digest.of(plain)
    assert (made.layer.media_type, made.layer.title) == (OCI_LAYER_ZSTD, "sample")
    blob = store.read(made.layer.digest)
    assert len(blob) == made.layer.size
    assert unpacked(blob) == plain
    assert bool(made.annotations) == (made.table is not None) == (compression == "zstd:chunked")


def test_the_table_says_what_the_tar_does_and_where_it_lies(store):
    made = formed(store, layer_of(store, plain_tar()))
    packed, size = part(store, made, "manifest-position")
    assert Digest.of(packed) == made.table
    table = read_table(packed, size)
    path = store.path(made.layer.digest)
    with untar(path, made.layer.media_type, made.layer.diff_id) as opened:
        prove_table(opened, table)
    blob = store.read(made.layer.digest)
    found: dict[str, bytes] = {}
    for entry in table.entries:
        if entry.offset:
            content = zstandard.ZstdDecompressor().decompress(blob[entry.offset :])
            found[entry.name] = found.get(entry.name, b"") + content
            assert len(content) == (entry.chunk_size or entry.size)
    assert found == {name: data for name, data in FILES.items() if data} | {"opt/odd": b"odd"}
    pieces = [each for each in table.entries if each.name == "opt/large"]
    assert [each.chunk_offset for each in pieces] == [0, PIECE, 2 * PIECE]
    assert [each.chunk_type for each in pieces] == ["", "", ""]
    assert pieces[0].end_offset > pieces[2].offset > pieces[1].offset


def test_what_is_zero_need_not_be_fetched(store):
    plain = tar_of((member("zeros"), noise(PIECE) + bytes(PIECE)))
    packed, size = part(store, formed(store, layer_of(store, plain)), "manifest-position")
    kinds = [each.chunk_type for each in read_table(packed, size).entries]
    assert kinds == ["", "zeros"]


def test_the_split_tar_and_the_files_make_the_tar(store):
    plain = plain_tar() + bytes(5 << 20)
    made = formed(store, layer_of(store, plain))
    packed, size = part(store, made, "tarsplit-position")
    split = unpacked(packed)
    assert len(split) == size
    assert joined(split, FILES | {"opt/odd": b"odd"}) == plain
    table = read_table(*part(store, made, "manifest-position"))
    assert table.tar_split_digest == str(Digest.of(packed))


def test_the_footer_says_it_once_more(store):
    made = formed(store, layer_of(store, plain_tar()))
    footer = store.read(made.layer.digest)[-64:]
    words = [int.from_bytes(footer[at : at + 8], "little") for at in range(0, 56, 8)]
    manifest = made.annotations[f"{PREFIX}manifest-position"]
    split = made.annotations[f"{PREFIX}tarsplit-position"]
    assert f"{words[0]}:{words[1]}:{words[2]}:{words[3]}" == manifest
    assert f"{words[4]}:{words[5]}:{words[6]}" == split
    assert footer[56:] == b"GNUlInUx"


@pytest.mark.parametrize(
    ("compression", "digest"),
    [
        ("zstd", "087313347a64590feab0c0bcc922056ccc294e2b3881934d7d4f7dfeedd4713c"),
        ("zstd:chunked", "ed1929d800132698c1cf414c110a999ea5b7563a0418f15d94496c1f3e8a1dce"),
    ],
)
@pytest.mark.parametrize("threads", [1, 5])
def test_the_same_tar_gives_the_same_bytes_on_any_machine(store, compression, digest, threads):
    made = formed(store, layer_of(store, plain_tar()), compression, threads)
    assert made.layer.digest.hex == digest


def test_what_was_made_is_not_made_again(store):
    layer = layer_of(store, plain_tar())
    made = formed(store, layer)
    read: list[int] = []
    again = recompress(store, layer, "zstd:chunked", pool=None, advance=read.append)
    assert (again, read) == (made, [layer.size])
    store.discard(made.layer.digest)
    assert formed(store, layer) == made


def test_what_is_zstd_already_stays(store):
    blob = zstandard.compress(plain_tar())
    layer = Layer(
        digest=store.add(blob), size=len(blob), diff_id=Digest.of(plain_tar()),
        media_type=OCI_LAYER_ZSTD,
    )  # fmt: skip
    assert formed(store, layer, "zstd") == FormedLayer(layer=layer)
    assert formed(store, layer).layer.diff_id == layer.diff_id


GLOBAL = {"pax_headers": {"comment": "for all"}}


def sparse_tar() -> bytes:
    """Make a tar of a file of old GNU's sparse kind, with one hole and nothing behind it."""
    made = member("a", type=tarfile.GNUTYPE_SPARSE)
    return bytes(made.tobuf(tarfile.GNU_FORMAT)) + bytes(1024)


NO_TABLE = {
    "twice": tar_of((member("a"), b"1"), (member("b"), b""), (member("a"), b"2")),
    "'./etc/x' is there twice": tar_of((member("etc/x"), b"1"), (member("./etc/x"), b"2")),
    "'/etc/x' is there twice": tar_of((member("etc/x"), b"1"), (member("/etc/x"), b"2")),
    "'a/../b//c' is there twice": tar_of((member("b/c"), b"1"), (member("a/../b//c"), b"2")),
    "'a' is a sparse file": sparse_tar(),
    "'a' has a name that is not UTF-8": tar_of(
        (member("a", pax_headers={"SCHILY.xattr.user.ÿ": "1"}), b"1")
    ).replace("ÿ".encode(), b"\xff\xfe"),
    "follows its end mark": tar_of((member("a"), b"1")) + tar_of((member("b"), b"2")),
    "global headers": tar_of((member("a"), b"1"), **GLOBAL),
    "of a kind": tar_of((member("a", type=tarfile.CONTTYPE), b"1")),
    "not UTF-8": tar_of((member("a\udcff"), b"1"), kind=tarfile.USTAR_FORMAT,
                        errors="surrogateescape"),
    "no time": tar_of((member("a", pax_headers={"mtime": "-1.5"}), b"1")),
}  # fmt: skip


@pytest.mark.parametrize("why", NO_TABLE)
def test_a_tar_that_no_table_fits_travels_without(store, why):
    plain = NO_TABLE[why]
    layer = layer_of(store, plain)
    made = formed(store, layer)
    assert why in made.why_no_table
    assert (made.annotations, made.table) == ({}, None)
    assert unpacked(store.read(made.layer.digest)) == plain
    assert formed(store, layer) == made  # also as it is remembered


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({257: b"ustar  \0", 345: b"12345"}, "another format"),
        ({508: b"tar\0"}, "another format"),
        ({329: b"0000001\0"}, "a device number"),
        ({337: b"0000001\0", 156: b"5"}, "a device number"),
    ],
)
def test_headers_that_readers_take_differently_have_no_table(change, why):
    raw = bytearray(member("a").tobuf(tarfile.USTAR_FORMAT))
    for place, value in change.items():
        raw[place : place + len(value)] = value
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + 8 * ord(" ") + sum(raw[156:512]))
    plain = bytes(raw) + bytes(1024)
    size = len(plain)
    with untar_stream(io.BytesIO(plain), OCI_LAYER_TAR, Digest.of(plain), "x", size=size) as opened:
        opened.raw = bytearray()
        (found,) = opened.entries()
        with pytest.raises(NoTableError, match=why):
            table_entry(found, bytes(raw))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        ("0", "1970-01-01T00:00:00Z"),
        ("946684800", "2000-01-01T00:00:00Z"),
        ("1234567.25", "1970-01-15T06:56:07.25Z"),
        ("1.0000000019", "1970-01-01T00:00:01.000000001Z"),
        ("-1", "1969-12-31T23:59:59Z"),
    ],
)
def test_times_are_written_as_go_writes_them(seconds, text):
    assert rfc3339(seconds) == text


@pytest.mark.parametrize("damage", ["cut", "flipped", "another tar", "gone"])
@pytest.mark.parametrize("compression", ["zstd", "zstd:chunked"])
def test_of_a_damaged_layer_nothing_is_left(store, damage, compression):
    plain = plain_tar()
    layer = layer_of(store, plain)
    path = store.path(layer.digest)
    blob = bytearray(path.read_bytes())
    if damage == "gone":
        store.discard(layer.digest)
    elif damage == "another tar":
        path.write_bytes(gzip.compress(tar_of((member("evil"), b"1"))))
    else:
        blob[len(blob) // 2] ^= 1
        path.write_bytes(blob[: len(blob) // 2] if damage == "cut" else blob)
    before = store.ls()
    with pytest.raises(BuildError):
        formed(store, layer, compression)
    assert [each.digest for each in store.ls()] == [each.digest for each in before]
    assert list((store.root / "tmp").iterdir()) == []


def test_whoever_watches_may_give_up(store):
    layer = layer_of(store, plain_tar())

    def advance(amount: int) -> None:
        raise BuildError(f"given up after {amount} bytes")

    with ThreadPoolExecutor(1) as pool, pytest.raises(BuildError, match="given up"):
        recompress(store, layer, "zstd", pool=pool, advance=advance)
    assert [each.digest for each in store.ls()] == [layer.digest]


def test_whoever_watches_may_give_up_while_it_is_read_once_more(store, monkeypatch):
    """Once it is clear that there will be no table, the layer is read from its start again."""
    layer = layer_of(store, NO_TABLE["twice"])
    write_plain, again = forms._write_plain, []

    def noted(tar: Untar, frames: Frames) -> dict[str, str]:
        again.append(True)
        return write_plain(tar, frames)

    def advance(amount: int) -> None:
        if again:
            raise BuildError(f"given up, {amount} bytes more")

    monkeypatch.setattr(forms, "_write_plain", noted)
    with ThreadPoolExecutor(1) as pool, pytest.raises(BuildError, match="up, 0 bytes more"):
        recompress(store, layer, "zstd:chunked", pool=pool, advance=advance)
    assert [each.digest for each in store.ls()] == [layer.digest]


def test_without_a_table_a_layer_is_the_one_that_zstd_gives(store):
    layer = layer_of(store, NO_TABLE["twice"])
    plain = formed(store, layer, "zstd")
    read: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        made = recompress(store, layer, "zstd:chunked", pool=pool, advance=read.append)
    assert (made.layer, made.annotations) == (plain.layer, {})
    assert sum(read) == layer.size
    blob = zstandard.compress(NO_TABLE["twice"])
    kept = replace(
        layer, digest=store.add(blob), size=len(blob), media_type=OCI_LAYER_ZSTD,
        diff_id=Digest.of(NO_TABLE["twice"]),
    )  # fmt: skip
    store.discard(made.layer.digest)
    assert formed(store, kept).layer == kept


def test_a_table_is_no_larger_than_podman_takes(store, monkeypatch):
    """Releases of early 2025 and before take 50 MiB."""
    assert chunked_writer.TABLE_LIMIT == 50 << 20
    monkeypatch.setattr(chunked_writer, "TABLE_LIMIT", 1000)
    made = formed(store, layer_of(store, plain_tar()))
    assert "more than" in made.why_no_table


def test_frames_lie_in_the_order_they_were_put():
    out: list[bytes] = []
    order: list[str] = []
    contents = [noise(size, size) for size in (300_000, 10, 200_000, 0, 5_000_000, 20)]
    with ThreadPoolExecutor(3) as pool:
        frames = Frames(out.append, pool)
        pieces = []
        for number, content in enumerate(contents):
            pieces.append(frames.put(content))
            frames.then(lambda number=number: order.append(str(pieces[number].offset)))
        at = frames.skippable(b"aside")
        frames.finish()
    blob = b"".join(out)
    assert order == [str(piece.offset) for piece in pieces]
    assert [piece.size for piece in pieces] == [len(each) for each in contents]
    assert [piece.digest for piece in pieces] == [str(Digest.of(each)) for each in contents]
    assert blob[at : at + 5] == b"aside"
    assert (len(blob), unpacked(blob)) == (frames.size, b"".join(contents))


def test_a_text_is_packed_as_it_grows():
    text = PackedText()
    for number in range(1000):
        text.write(b"%d," % number)
    whole = b"".join(b"%d," % number for number in range(1000))
    assert text.size == len(whole)
    packed = text.finish()
    assert unpacked(packed) == whole
    assert len(packed) < len(whole) / 2


def test_the_command_line_offers_what_the_spec_does():
    assert options.COMPRESSIONS == COMPRESSIONS
