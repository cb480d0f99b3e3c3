"""Debian packages of a few megabytes that ask for gigabytes: what they get, from outside."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path

import pytest

from tests.integration.test_bounds_of_images import END, compressed, empty_files, header
from tests.outside import LARGEST_INPUT, measured

pytestmark = pytest.mark.integration

READ = """
import sys
from pathlib import Path
from envbuilder.model.errors import BuildError
from envbuilder.model.lock import DebPackage
from envbuilder.resolve.debian.deb_repository import write_repository
from envbuilder.resolve.debian.system_python import find_distributions
from envbuilder.storage.store import Store

content, store = Path(sys.argv[1]).read_bytes(), Store(Path(sys.argv[2]))
deb = DebPackage(
    name="x", version="1", architecture="amd64", filename="x.deb", size=len(content),
    sha256=store.add(content),
)
try:
    print(len(find_distributions([deb], store=store)))
    write_repository(store.root, [deb], suite="trixie", architecture="amd64", store=store)
    print("an index has it")
except BuildError as error:
    print(error.message)
"""
METADATA = "usr/lib/python3/dist-packages/x-1.dist-info/METADATA"
MEBIBYTE = bytes(1 << 20)


def file(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + content + bytes(-len(content) % 512)


CONTROL = file("./control", b"Package: x\nVersion: 1\nArchitecture: amd64\n")
SUMS = file("./md5sums", f"{'0' * 32}  {METADATA}\n".encode())
HONEST = file(f"./{METADATA}", b"Name: x\nVersion: 1\n") + END


def archive(*members: tuple[str, bytes]) -> bytes:
    """Write what ``ar`` writes."""
    pieces = [b"!<arch>\n"]
    for name, data in members:
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        pieces += [head.encode(), data, b"\n" * (len(data) % 2)]
    return b"".join(pieces)


def packed(tar: bytes) -> tuple[str, bytes]:
    return "data.tar.gz", compressed(tar)


def read(
    folder: Path, data: tuple[str, bytes] = packed(HONEST), *, control: bytes = CONTROL + SUMS + END
) -> str:
    """Return what is said of a package of these contents."""
    format_version, about = ("debian-binary", b"2.0\n"), ("control.tar.gz", compressed(control))
    deb = archive(format_version, about, data)
    assert len(deb) <= LARGEST_INPUT
    (folder / "x.deb").write_bytes(deb)
    return measured("-c", READ, str(folder / "x.deb"), str(folder / "store"))


def test_an_honest_one(tmp_path: Path) -> None:
    assert read(tmp_path) == "1\nan index has it\n"


def test_a_file_of_gigabytes_before_the_one_that_is_wanted(tmp_path: Path) -> None:
    name, rest = packed(HONEST)
    zeros = compressed(header("zeros", 4 << 30)) + compressed(MEBIBYTE) * 4096
    said = read(tmp_path, (name, zeros + rest))
    assert "the Debian package x 1 cannot be read: it inflates to more than 100 times" in said


def test_members_without_end(tmp_path: Path) -> None:
    files = empty_files(f"{number:x}" for number in range(70_000))
    assert "more members than any honest one" in read(tmp_path, control=files + SUMS + END)


@pytest.mark.parametrize("line", [b"\n", b"ab\n", b"0  " + METADATA.encode() + b"\n"])
def test_a_list_of_files_as_long_as_may_be(tmp_path: Path, line: bytes) -> None:
    sums = file("./md5sums", line * ((16 << 20) // len(line)))
    assert "an index has it" in read(tmp_path, control=CONTROL + sums + END)


@pytest.mark.parametrize("line", [b"a:b\n", b"Name: x\n", b"\n"])
def test_a_document_as_long_as_may_be(tmp_path: Path, line: bytes) -> None:
    text = b"Name: x\nVersion: 1\n" + line * ((4 << 20) // len(line) - 20)
    assert "an index has it" in read(tmp_path, packed(file(f"./{METADATA}", text) + END))


def test_a_control_file_of_megabytes(tmp_path: Path) -> None:
    control = file("./control", b"Package: x\n" + b"A: b\n" * 500_000)
    assert "'./control' has 2500011 bytes, more than" in read(tmp_path, control=control + END)


def wide(plain: bytes, times: int) -> bytes:
    """Pack ``plain`` as often as said in xz whose header asks for a dictionary of 1.5 GiB."""
    packer = lzma.LZMACompressor(preset=0)
    packed = bytearray(b"".join(packer.compress(plain) for _ in range(times)) + packer.flush())
    size = (packed[12] + 1) * 4  # of the block's header, behind the stream's own 12 bytes
    assert packed[14] == 0x21, "LZMA2 is the one filter"
    packed[16] = 37  # (2 | 1) << (37 // 2 + 11) bytes, section 5.3.1 of the file format
    packed[12 + size - 4 : 12 + size] = zlib.crc32(packed[12 : 12 + size - 4]).to_bytes(4, "little")
    return bytes(packed)


def test_a_dictionary_of_gigabytes(tmp_path: Path) -> None:
    assert "memory" in read(tmp_path, ("data.tar.xz", wide(MEBIBYTE, 600)))
