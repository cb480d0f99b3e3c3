"""Layers unpacked: what Docker's rules make of each kind of entry, and what hostile ones try."""

import errno
import gzip
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envbuilder.layers import bounds
from envbuilder.layers.deflate import stored
from envbuilder.layers.unpack import unpack
from envbuilder.model.errors import BuildError, EnvbuilderError
from envbuilder.model.image import DOCKER_LAYER_GZIP, OCI_LAYER_GZIP, OCI_LAYER_TAR, OCI_LAYER_ZSTD
from envbuilder.model.reference import Digest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")
CAP_SYS_ADMIN = "\x01\x00\x00\x02\x00\x00\x20\x00" + "\x00" * 12  # as setcap(8) writes it


def entry(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o644, 1_000_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def folder(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=kind, linkname=target)


def tarred(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def unpacked(tmp_path: Path, plain: bytes, kind: str = OCI_LAYER_TAR, blob: bytes = b"") -> Path:
    file, into = tmp_path / "blob", tmp_path / "outer" / "into"
    file.write_bytes(blob or plain)
    into.mkdir(parents=True)
    unpack(file, kind, into, diff_id=Digest.of(plain))
    return into


@pytest.mark.parametrize(
    ("kind", "pack"),
    [
        (OCI_LAYER_TAR, bytes),
        (OCI_LAYER_GZIP, gzip.compress),
        (DOCKER_LAYER_GZIP, lambda data: stored(data[:700]) + gzip.compress(data[700:])),
        (OCI_LAYER_ZSTD, lambda d: zstandard.compress(d[:700]) + zstandard.compress(d[700:])),
    ],
)
def test_every_compression(tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]) -> None:
    plain = tarred(folder("a"), entry("a/b", b"x" * 3_000_000, mode=0o755), entry("c"))
    into = unpacked(tmp_path, plain, kind, pack(plain))
    assert (into / "a" / "b").read_bytes() == b"x" * 3_000_000
    assert stat.S_IMODE((into / "a" / "b").stat().st_mode) == 0o755
    assert (into / "c").stat().st_mtime == 1_000_000_000
    assert (into / "a").stat().st_mtime == 1_000_000_000


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(tmp_path: Path, form: int) -> None:
    name = "/".join(["ä" * 60] * 4)
    plain = tarred(entry(name, b"1"), link("l", "t" * 150), form=form)
    into = unpacked(tmp_path, plain)
    assert (into / name).read_bytes() == b"1"
    assert (into / "l").readlink() == Path("t" * 150)


def test_links(tmp_path: Path) -> None:
    into = unpacked(
        tmp_path,
        tarred(
            entry("usr/bin/tool", b"1"),
            link("bin", "usr/bin"),
            link("usr/bin/hard", "bin/tool", tarfile.LNKTYPE),
            entry("bin/other", b"2"),
        ),
    )
    assert (into / "bin").readlink() == Path("usr/bin")
    assert (into / "usr/bin/other").read_bytes() == b"2", "written through the link, as Docker does"
    assert (into / "usr/bin/hard").stat().st_ino == (into / "usr/bin/tool").stat().st_ino


def test_the_later_entry_counts(tmp_path: Path) -> None:
    into = unpacked(
        tmp_path,
        tarred(
            entry("file", b"1"),
            entry("file", b"2"),
            folder("a"),
            entry("a/x", b"1"),
            link("a", "elsewhere"),
            link("b", "elsewhere"),
            folder("b"),
            entry("b/x", b"3"),
        ),
    )
    assert (into / "file").read_bytes() == b"2"
    assert (into / "a").readlink() == Path("elsewhere")
    assert (into / "b/x").read_bytes() == b"3"
    assert not (into / "elsewhere").exists()


def test_replacing_a_hard_link_leaves_its_twin(tmp_path: Path) -> None:
    twin = link("two", "one", tarfile.LNKTYPE)
    into = unpacked(tmp_path, tarred(entry("one", b"1"), twin, entry("two", b"2")))
    assert (into / "one").read_bytes() == b"1"


def test_a_read_only_directory_is_filled(tmp_path: Path) -> None:
    into = unpacked(tmp_path, tarred(folder("a", 0o555), entry("a/x", b"1"), folder("./", 0o711)))
    assert stat.S_IMODE((into / "a").stat().st_mode) == 0o555
    assert stat.S_IMODE(into.stat().st_mode) == 0o711


def test_whiteouts_stay_as_files(tmp_path: Path) -> None:
    into = unpacked(tmp_path, tarred(entry("a/.wh.x"), entry("b/.wh..wh..opq")))
    assert (into / "a/.wh.x").stat().st_size == 0
    assert (into / "b/.wh..wh..opq").exists()


@needs_root
def test_owners_and_harmless_attributes_are_kept(tmp_path: Path) -> None:
    file = entry("file", b"x", uid=1234, gid=4321, mode=0o640)
    file[0].pax_headers = {
        "SCHILY.xattr.user.note": "kept",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.security.capability": CAP_SYS_ADMIN,
    }
    into = unpacked(tmp_path, tarred(file))
    facts = (into / "file").stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (1234, 4321, 0o640)
    assert os.listxattr(into / "file") == ["user.note"]


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711, 0o7777])
def test_no_file_on_this_host_is_set_id(tmp_path: Path, mode: int) -> None:
    first = entry("su", b"x", mode=mode)
    twin = entry("twin", type=tarfile.LNKTYPE, linkname="su", mode=mode)
    into = unpacked(tmp_path, tarred(first, twin))
    for name in ("su", "twin"):
        assert stat.S_IMODE((into / name).stat().st_mode) == mode & 0o1777


def test_directories_keep_their_group_bit(tmp_path: Path) -> None:
    into = unpacked(tmp_path, tarred(entry("staff", type=tarfile.DIRTYPE, mode=0o2775)))
    assert stat.S_IMODE((into / "staff").stat().st_mode) == 0o2775


@pytest.mark.parametrize("kind", [tarfile.BLKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"s"])
def test_special_files_are_deleted_paths_instead(tmp_path: Path, kind: bytes) -> None:
    """Whoever stacks the layers then sees nothing there, nor what a lower layer has there."""
    entries = (
        entry("dev/disk", b"was a file"),
        entry("dev/disk", type=kind, devmajor=7, devminor=0),
        entry("twin", type=tarfile.LNKTYPE, linkname="dev/disk"),
        entry("again", type=kind),
        entry("again", b"a file"),
        entry("n" * 255, type=kind),
    )
    into = unpacked(tmp_path, tarred(*entries))
    found = {str(path.relative_to(into)) for path in into.rglob("*")}
    assert found == {"dev", "dev/.wh.disk", ".wh.twin", ".wh.again", "again"}
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in into.rglob("*") if path.name != "dev")


@pytest.mark.parametrize(
    "entries",
    [
        [link("etc", "/"), entry("etc/evil")],
        [link("up", "../.."), entry("up/evil")],
        [link("a", "b"), link("b", "../../.."), entry("a/evil")],
        [entry("/evil")],
        [entry("./evil")],
    ],
)
def test_links_lead_nowhere_outside(
    tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    into = unpacked(tmp_path, tarred(*entries))
    assert (into / "evil").exists(), "resolved as after a chroot"
    assert [each.name for each in (tmp_path / "outer").iterdir()] == ["into"]
    assert not Path("/evil").exists()


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../evil")],
        [entry("a/../../evil")],
        [link("hard", "../../blob", tarfile.LNKTYPE)],
        [link("hard", "missing", tarfile.LNKTYPE)],
        [link("a", "b"), link("b", "a"), entry("a/x")],
        [entry("sparse", type=tarfile.GNUTYPE_SPARSE)],
    ],
)
def test_what_is_refused(tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(BuildError):
        unpacked(tmp_path, tarred(*entries))
    assert not (tmp_path / "evil").exists()
    assert [each.name for each in (tmp_path / "outer").iterdir()] == ["into"]


LOOPS = [link(f"l{n}", "x/../" * 780 + f"l{n + 1}") for n in range(40)]
DEEP = "/".join(f"d{n}" for n in range(120))


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([*LOOPS, entry("l0/f")], "too many symbolic links"),
        ([link("a", "b" * 4096)], "4096 bytes"),
        ([link("a", "あ" * 1400)], "4200 bytes"),
        ([link("a", "b/" * 1000, tarfile.LNKTYPE)], "folders deep"),
        ([link("a", "b/" * 1000), entry("a/c")], "folders deep"),
    ],
)
def test_paths_that_lead_through_far_too_much(
    tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]], why: str
) -> None:
    with pytest.raises(BuildError, match=f"layer blob: .*{why}") as caught:
        unpacked(tmp_path, tarred(*entries))
    assert caught.value.hint == "it is damaged or hostile"


def test_what_is_replaced_costs_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is looked up once, however many files are written into it and replaced there."""
    monkeypatch.setattr(bounds, "STEPS", 130)
    into = unpacked(tmp_path, tarred(*[entry(f"{DEEP}/f", b"%d" % n) for n in range(50)]))
    assert (into / DEEP / "f").read_bytes() == b"49"


def test_lookups_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is replaced may lead elsewhere now, so all is looked up again."""
    monkeypatch.setattr(bounds, "STEPS", 200)
    again = [each for n in range(3) for each in (link("l", f"to{n}"), entry(f"l/{DEEP[:300]}/f"))]
    with pytest.raises(BuildError, match="more folders and links than any honest ones"):
        unpacked(tmp_path, tarred(*again))


def test_a_path_through_a_replaced_link_leads_where_the_new_one_does(tmp_path: Path) -> None:
    moved = (link("l", "a"), entry("l/x"), link("l", "b"), entry("l/x"))
    into = unpacked(tmp_path, tarred(*moved))
    assert (into / "a/x").exists()
    assert (into / "b/x").exists()


def test_what_is_made_on_the_way_counts_as_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MEMBERS", 100)
    with pytest.raises(BuildError, match="more members than any honest one"):
        unpacked(tmp_path, tarred(entry(f"{DEEP}/f")))


def attribute(name: str, size: int) -> tuple[tarfile.TarInfo, bytes]:
    return entry("file", pax_headers={f"SCHILY.xattr.{name}": "v" * size})


@pytest.mark.parametrize(
    "entries",
    [
        [attribute("user.large", 66_000)],
        [attribute(f"user.{'n' * 300}", 1)],
        [folder("d"), link("file", "d", tarfile.LNKTYPE)],
        [link("file", "missing", tarfile.LNKTYPE)],
        [entry("file" + "n" * 252)],
        [entry("a"), entry("a/file")],
        [entry("file", type=tarfile.SYMTYPE, pax_headers={"linkpath": "nul\0"})],
        [entry("file", pax_headers={"mtime": "nan"})],
        [entry("file", pax_headers={"mtime": "1e300"})],
        pytest.param([entry("file", pax_headers={"uid": str(1 << 40)})], marks=needs_root),
    ],
)
def test_what_no_file_system_holds_is_the_entrys_fault(
    tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    with pytest.raises(
        BuildError, match=r"layer blob: entry '(a/)?file.*' cannot be made: ."
    ) as caught:
        unpacked(tmp_path, tarred(*entries))
    assert type(caught.value) is BuildError, "not the disk's"
    assert caught.value.hint == "it is damaged or hostile"


def test_no_room_beside_a_file_is_no_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(os, "setxattr", refuse)
    with pytest.raises(BuildError, match=r"'user.x' of 60000 bytes: No space") as caught:
        unpacked(tmp_path, tarred(attribute("user.x", 60_000)))
    assert type(caught.value) is BuildError


@pytest.mark.parametrize(
    ("name", "number"),
    [("open", errno.ENOSPC), ("mkdir", errno.EDQUOT), ("chmod", errno.EROFS), ("chmod", errno.EIO)],
)
def test_what_the_disk_refuses_is_the_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    def refuse(path: str, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), path)

    plain = tarred(folder("a"), entry("a/b"))
    (tmp_path / "blob").write_bytes(plain)
    (tmp_path / "into").mkdir()
    real = getattr(os, name)

    def only_there(path: str, *args: object, **options: object) -> object:
        chosen = refuse if str(path).startswith(str(tmp_path / "into")) else real
        return chosen(path, *args, **options)

    monkeypatch.setattr(os, name, only_there)
    with pytest.raises(BuildError, match=r"the disk that holds|cannot write at"):
        unpack(tmp_path / "blob", OCI_LAYER_TAR, tmp_path / "into", diff_id=Digest.of(plain))


@pytest.mark.parametrize("size", [-1, -512])
def test_a_size_below_nothing(tmp_path: Path, size: int) -> None:
    lying = entry("a", pax_headers={"size": str(size)})
    with pytest.raises(BuildError, match=f"'a' states a size of {size} bytes"):
        unpacked(tmp_path, tarred(lying, entry("b")))


def test_another_tar_than_promised(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(tarred(entry("a")))
    with pytest.raises(BuildError, match="not sha256:") as caught:
        unpack(tmp_path / "blob", OCI_LAYER_TAR, tmp_path, diff_id=Digest.of(b"another"))
    assert "cache repair" in caught.value.hint


def test_an_unknown_media_type(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="application/x-rar"):
        unpacked(tmp_path, b"x", "application/x-rar")


WHOLE = gzip.compress(tarred(folder("a"), entry("a/b", b"x" * 2000), link("l", "a")), mtime=0)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255), cut=st.booleans())
def test_any_damage_is_named(
    at: int, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    blob = WHOLE[:at] if cut else WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :]
    (folder / "blob").write_bytes(blob)
    (folder / "into").mkdir()
    try:
        diff_id = Digest.of(gzip.decompress(WHOLE))
        unpack(folder / "blob", OCI_LAYER_GZIP, folder / "into", diff_id=diff_id)
    except EnvbuilderError:
        return
    assert (folder / "into" / "a" / "b").read_bytes() == b"x" * 2000
