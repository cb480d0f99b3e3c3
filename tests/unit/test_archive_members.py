"""What a stranger's sdist may do to us: nothing. And what an honest one holds comes out whole."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile

import pytest

from envbuilder.layers import bounds
from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest
from envbuilder.resolve.archives.archive import Archive
from envbuilder.resolve.archives.members import is_archive, stays_inside
from tests.sdists import entry, packed, sdist, zipped

FILES = {"pyproject.toml": b"[project]\n", "src/mine/__init__.py": b"", "src/run.sh": b"echo\n"}
LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE


def archive(tmp_path, data: bytes) -> Archive:
    path = tmp_path / "file"
    path.write_bytes(data)
    return Archive(
        path=path, filename="mine-1.0.tar.gz", sha256=Digest.of(data), time=1_500_000_000
    )


def written(tmp_path, data: bytes) -> dict[str, bytes]:
    folder = tmp_path / "out"
    archive(tmp_path, data).write(folder)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def plain(data: bytes) -> bytes:
    return gzip.decompress(data)


@pytest.mark.parametrize(
    "data",
    [
        sdist("mine-1.0", FILES),
        plain(sdist("mine-1.0", FILES)),
        bz2.compress(plain(sdist("mine-1.0", FILES))),
        lzma.compress(plain(sdist("mine-1.0", FILES))),
        zipped("mine-1.0", FILES),
    ],
    ids=["gzip", "tar", "bzip2", "xz", "zip"],
)
def test_every_form_of_sdist_gives_the_same_files(tmp_path, data):
    assert is_archive(data)
    assert written(tmp_path, data) == FILES
    found = archive(tmp_path, data)
    assert found.read("pyproject.toml") == b"[project]\n"
    assert found.read("src/mine/__init__.py") == b""
    assert found.read("src") is found.read("other") is None


def test_modes_times_and_links_that_stay_inside(tmp_path):
    members = [
        entry("mine-1.0/", kind=tarfile.DIRTYPE, mode=0o700),
        entry("mine-1.0/a/b", b"b", mode=0o100777),
        entry("mine-1.0/a/c", kind=HARD, target="mine-1.0/a/b"),
        entry("mine-1.0/a/up", kind=LINK, target="../README"),
        entry("mine-1.0/README", b"text", mode=0o600),
        entry("mine-1.0/README", b"later"),
    ]
    found = archive(tmp_path, packed(members))
    found.write(folder := tmp_path / "out")
    assert (folder / "a/c").read_bytes() == found.read("a/c") == b"b"
    assert (folder / "a/up").read_bytes() == found.read("README") == b"later"
    assert stat.S_IMODE((folder / "a/c").stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "README").stat().st_mode) == 0o644
    assert {path.lstat().st_mtime for path in folder.rglob("*")} == {1_500_000_000}
    assert found.youngest() == 1_600_000_000


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([entry("../evil", b"x")], "has the path '../evil'"),
        ([entry("/etc/evil", b"x")], "has the path '/etc/evil'"),
        ([entry("m/../../evil", b"x")], "has the path"),
        ([entry("m/a", b"x"), entry("other/a", b"x")], "'other' beside 'm', not one folder"),
        ([entry("alone", b"x")], "outside of its folder"),
        ([entry("m/a", kind=LINK, target="/etc/passwd")], "link to '/etc/passwd', outside"),
        ([entry("m/a", kind=LINK, target="../b")], "link to '../b', outside"),
        ([entry("m/d/a", kind=LINK, target="x/../../../b")], "outside"),
        ([entry("m/a", kind=HARD, target="/etc/passwd")], "has the path '/etc/passwd'"),
        ([entry("m/a", kind=HARD, target="other/b")], "outside of its folder"),
        ([entry("m/a", kind=HARD, target="m/b")], "repeats 'b', which is missing"),
        ([entry("m/a", kind=tarfile.CHRTYPE)], "a device, a pipe"),
        ([entry("m/a", kind=tarfile.FIFOTYPE)], "a device, a pipe"),
        ([entry("m/a", b"x"), entry("m/a/b", b"x")], "is a file and a folder"),
        ([entry("m/a/b", b"x"), entry("m/a", b"x")], "there twice"),
        ([entry("m/a", kind=LINK, target="b"), entry("m/a/c", b"x")], "there twice"),
        ([entry("m/d/x", b""), entry("m/a", kind=LINK, target="d"),
          entry("m/a/c", kind=LINK, target="b")], "lies below a link"),
        ([entry("m/" + "d/" * 200 + "a", b"x")], "folders deep"),
    ],
)  # fmt: skip
def test_what_no_honest_sdist_has_is_refused_and_nothing_lies_outside(tmp_path, members, why):
    with pytest.raises(BuildError, match=r"mine-1\.0\.tar\.gz is refused: ") as caught:
        written(tmp_path, packed(members))
    assert why in caught.value.message
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "out"}


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>log in</html>" * 40, sdist("m", FILES)[:-40], b"PK\x03\x04 and no more"],
    ids=["empty", "page", "cut", "zip"],
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path, data):
    with pytest.raises(BuildError, match=r"no sound archive|is refused"):
        written(tmp_path, data)


@pytest.mark.parametrize("form", [sdist, zipped], ids=["tar", "zip"])
def test_an_archive_that_inflates_without_end_is_refused(tmp_path, form, monkeypatch):
    monkeypatch.setattr(bounds, "FLOOR", 1 << 20)
    with pytest.raises(BuildError, match="inflates to more than"):
        archive(tmp_path, form("m", {"zeros": bytes(8 << 20)})).youngest()


def test_a_zip_with_links_and_devices(tmp_path):
    def made(kind: int, data: bytes) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as opened:
            info = zipfile.ZipInfo("m/a")
            info.external_attr = (kind | 0o777) << 16
            opened.writestr("m/b", b"b")
            opened.writestr(info, data)
        return content.getvalue()

    assert written(tmp_path, made(stat.S_IFLNK, b"b")) == {"a": b"b", "b": b"b"}
    for kind, data in ((stat.S_IFLNK, b"/etc/passwd"), (stat.S_IFCHR, b"")):
        with pytest.raises(BuildError, match="is refused"):
            archive(tmp_path, made(kind, data)).youngest()


@pytest.mark.parametrize(
    ("path", "target", "inside"),
    [
        ("a", "b", True), ("d/a", "../b", True), ("d/a", "./../b/c", True), ("a", "../b", False),
        ("d/a", "../../b", False), ("d/e/a", "f/../b", False), ("a", "/b", False), ("a", "", False),
    ],
)  # fmt: skip
def test_where_links_lead(path, target, inside):
    assert stays_inside(path, target) is inside
