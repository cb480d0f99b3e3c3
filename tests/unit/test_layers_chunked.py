"""A table of contents counts if it says just what the tar does, and nothing else."""

import base64
import hashlib
import io
import json
import tarfile

import pytest
import zstandard

from envbuilder.layers.chunked import prove_table, read_table
from envbuilder.layers.untar import untar_stream
from envbuilder.model.errors import BuildError
from envbuilder.model.image import OCI_LAYER_TAR
from envbuilder.model.reference import Digest

BIG = bytes(range(256)) * 20 + bytes(3000) + b"end"
PIECES = [(0, 5120), (5120, 3000), (8120, 3)]


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, kind, content, more in [
            ("opt/", tarfile.DIRTYPE, b"", {"mode": 0o755}),
            ("opt/small", tarfile.REGTYPE, b"hello", {"uid": 7, "mtime": 5}),
            ("opt/empty", tarfile.REGTYPE, b"", {}),
            ("opt/big", tarfile.REGTYPE, BIG, {"pax_headers": {"SCHILY.xattr.user.x": "value"}}),
            ("opt/link", tarfile.SYMTYPE, b"", {"linkname": "small", "mode": 0o777}),
            ("opt/same", tarfile.LNKTYPE, b"", {"linkname": "opt/small"}),
        ]:
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(content)
            for key, value in more.items():
                setattr(member, key, value)
            out.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def entries() -> list[dict]:
    """List the tar as containers/storage does: what is zero or empty is left out."""
    chunks = [
        {"chunkSize": size, "chunkOffset": at, "chunkDigest": sha(BIG[at : at + size])}
        for at, size in PIECES
    ]
    zero = "1970-01-01T00:00:00Z"
    first = {k: v for k, v in chunks[0].items() if v}
    return [
        {"type": "dir", "name": "opt/", "mode": 0o755, "modtime": zero},
        {"type": "reg", "name": "opt/small", "mode": 0o644, "size": 5, "uid": 7,
         "modtime": "1970-01-01T00:00:05Z", "digest": sha(b"hello"), "offset": 9, "endOffset": 20},
        {"type": "reg", "name": "opt/empty", "mode": 0o644, "modtime": zero},
        {"type": "reg", "name": "opt/big", "mode": 0o644, "size": len(BIG), "modtime": zero,
         "digest": sha(BIG), "xattrs": {"user.x": base64.b64encode(b"value").decode()}, **first},
        {"type": "chunk", "name": "opt/big", "chunkType": "zeros",
         "chunkSize": 3000, "chunkOffset": 5120},
        {"type": "chunk", "name": "opt/big", **chunks[2], "chunkSize": 0},
        {"type": "symlink", "name": "opt/link", "linkName": "small", "mode": 0o777,
         "modtime": zero},
        {"type": "hardlink", "name": "opt/same", "linkName": "opt/small", "mode": 0o644,
         "modtime": zero},
    ]  # fmt: skip


def prove(listed: list[dict], **more) -> None:
    text = json.dumps({"version": 1, "entries": listed, **more}).encode()
    table = read_table(zstandard.compress(text), len(text))
    plain = tar()
    with untar_stream(
        io.BytesIO(plain), OCI_LAYER_TAR, Digest.of(plain), "x", size=len(plain)
    ) as opened:
        prove_table(opened, table)


def test_what_says_the_same_is_proven():
    prove(entries())
    prove(entries(), tarSplitDigest=sha(b"split"))


def test_zeros_may_have_their_hash():
    listed = entries()
    listed[4]["chunkDigest"] = sha(bytes(3000))
    prove(listed)


def changed(number: int, **more):
    return lambda listed: listed[number].update(more)


def without(number: int, *names: str):
    return lambda listed: [listed[number].pop(name) for name in names]


ATTACKS = {
    "other content": changed(1, digest=sha(b"evil!")),
    "content that is not hashed": without(1, "digest"),
    "more content": changed(1, size=6),
    "content of what is empty": changed(2, digest=sha(b"evil")),
    "other mode": changed(1, mode=0o4755),
    "other owner": changed(1, uid=0),
    "other group": changed(1, gid=7),
    "other time": changed(1, modtime="1970-01-01T00:00:06Z"),
    "no time": changed(1, modtime="soon"),
    "other link": changed(6, linkName="/etc/shadow"),
    "other hard link": changed(7, linkName="opt/big"),
    "other kind": changed(6, type="hardlink"),
    "a device": changed(2, type="char", devMajor=1),
    "a device number": changed(2, devMajor=1),
    "other attributes": changed(3, xattrs={}),
    "more attributes": changed(1, xattrs={"security.capability": "AAAA"}),
    "other name": changed(1, name="opt/evil"),
    "an entry more": lambda listed: listed.append({**listed[2], "name": "opt/evil"}),
    "an entry fewer": lambda listed: listed.pop(),
    "an entry twice": lambda listed: listed.insert(2, listed[1]),
    "other order": lambda listed: listed.reverse(),
    "nothing": lambda listed: listed.clear(),
    "other piece": changed(5, chunkDigest=sha(b"evl")),
    "other first piece": changed(3, chunkDigest=sha(b"evil")),
    "pieces, another whole": changed(3, digest=sha(b"evil")),
    "a piece that is not hashed": without(5, "chunkDigest"),
    "a first piece that is not hashed": without(3, "chunkDigest"),
    "a piece of another file": changed(5, name="opt/small"),
    "pieces with a gap": changed(5, chunkOffset=8121),
    "pieces that overlap": changed(4, chunkOffset=5119),
    "a piece too long": changed(5, chunkSize=4),
    "a piece fewer": lambda listed: listed.pop(5),
    "a negative piece": changed(4, chunkSize=-1),
    "zeros that are none": changed(5, chunkType="zeros"),
    "another kind of piece": changed(4, chunkType="holes"),
    "zeros of other content": changed(4, chunkDigest=sha(b"evil")),
    "zeros that are none, with their hash": changed(5, chunkType="zeros", chunkDigest=sha(b"end")),
    "content of a piece as of a whole": changed(5, digest=sha(b"evil")),
    "content of a piece of zeros": changed(4, digest=sha(b"evil")),
    "content of a folder": changed(0, digest=sha(b"evil")),
    "a piece's content of a folder": changed(0, chunkDigest=sha(b"evil")),
    "content of a link": changed(6, digest=sha(b"small")),
    "content of a hard link": changed(7, digest=sha(b"hello")),
    "a piece of a folder": lambda listed: listed.insert(1, {"type": "chunk", "name": "opt/"}),
    "a piece first": lambda listed: listed.insert(0, {"type": "chunk", "name": "opt/"}),
    "an unknown key": changed(1, evil=1),
    "a key in another case": changed(1, Digest=sha(b"evil!")),
    "a text for a number": changed(1, size="5"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_says_anything_else_is_refused(attack):
    listed = entries()
    ATTACKS[attack](listed)
    with pytest.raises(BuildError):
        prove(listed)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b'{"version": 2, "entries": []}', b"[" * 9999,
        b'{"version": 1, "entries": [], "entries": []}', b'{"version": 1, "entries": []} {}',
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(text):
    with pytest.raises(BuildError, match="its table"):
        read_table(zstandard.compress(text), len(text))


def test_a_table_unpacks_to_what_is_stated():
    text = b'{"version": 1, "entries": []}'
    packed = zstandard.compress(text)
    assert read_table(packed, len(text)).entries == ()
    bomb = zstandard.compress(bytes(1 << 24))
    for wrong, size in [
        (packed, len(text) - 1), (packed, len(text) + 1), (packed + packed, len(text)),
        (packed + b"junk", len(text)), (packed[:-3], len(text)), (b"junk", 4), (bomb, 100),
    ]:  # fmt: skip
        with pytest.raises(BuildError, match="its table"):
            read_table(wrong, size)
