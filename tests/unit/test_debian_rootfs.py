"""A root file system's tar in its settled form: what goes, what stays, and to the byte."""

import hashlib
import io
import tarfile

import pytest

from envbuilder.layers.installed import system_facts
from envbuilder.model.errors import BuildError
from envbuilder.resolve.debian.cut import Cut
from envbuilder.resolve.debian.owners import Owners
from envbuilder.resolve.debian.rootfs import SLIM, settle

STATUS = """\
Package: base-files
Status: install ok installed
Version: 13.8

Package: half
Status: install ok half-configured
Version: 1
"""


def entry(name, content=b"", **facts):
    member = tarfile.TarInfo(f"./{name}" if name else ".")
    member.mtime, member.uname = 1234567890.5, "builder"
    member.size = len(content)
    for key, value in facts.items():
        setattr(member, key, value)
    return member, content


def directory(name, **facts):
    return entry(name, type=tarfile.DIRTYPE, mode=0o755, **facts)


def source(*entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in entries:
            tar.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def whole(write):
    """Take all into one layer."""
    return Cut([write], owners=Owners({}), places={})


def settled(*entries):
    out = io.BytesIO()
    documents = settle(source(*entries), whole(out.write))
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        return {member.name: member for member in tar}, documents


def test_neither_clock_nor_host_leave_a_trace():
    one = source(directory(""), entry("etc/x", b"content"))
    other = source(directory("", mtime=5), entry("etc/x", b"content", mtime=9, gname="wheel"))
    outs = [io.BytesIO(), io.BytesIO()]
    for stream, out in zip((one, other), outs, strict=True):
        settle(stream, whole(out.write))
    assert outs[0].getvalue() == outs[1].getvalue()


def test_owner_mode_and_links_stay():
    members, _ = settled(
        entry("etc/shadow", b"x", mode=0o640, gid=42),
        entry("usr/bin/su", b"suid", mode=0o4755),
        entry("usr/bin/perl5", type=tarfile.LNKTYPE, linkname="./usr/bin/su"),
        entry("bin", type=tarfile.SYMTYPE, linkname="usr/bin", mode=0o777),
    )
    assert (members["etc/shadow"].mode, members["etc/shadow"].gid) == (0o640, 42)
    assert members["usr/bin/su"].mode == 0o4755
    assert (members["usr/bin/perl5"].islnk(), members["usr/bin/perl5"].linkname) == (
        True,
        "usr/bin/su",
    )
    assert (members["bin"].issym(), members["bin"].linkname) == (True, "usr/bin")


def test_extended_attributes_stay_and_other_records_go():
    capability = "\x01\x00\x00\x02\x00\x20"
    records = {"SCHILY.xattr.security.capability": capability, "atime": "1", "comment": "hello"}
    members, _ = settled(entry("usr/bin/ping", b"x", pax_headers=records))
    kept = members["usr/bin/ping"].pax_headers
    assert kept == {"SCHILY.xattr.security.capability": capability}


def test_long_and_foreign_names_survive():
    names = [f"usr/{'long/' * 40}name", "etc/ssl/certs/Főtanúsítvány.pem"]
    members, _ = settled(*(entry(name, b"x") for name in names))
    assert list(members) == names


@pytest.mark.parametrize(
    "name",
    [
        "dev/null",
        "run/utmp",
        "tmp/x",
        "etc/hostname",
        "etc/resolv.conf",
        "etc/passwd-",
        "etc/apt/sources.list",
        "var/cache/apt/pkgcache.bin",
        "var/cache/debconf/config.dat-old",
        "var/cache/ldconfig/aux-cache",
        "var/lib/apt/lists/mirror_Packages",
        "var/lib/dpkg/status-old",
        "var/log/apt/history.log",
        "var/log/dpkg.log",
        "usr/share/man/man1/ls.1.gz",
        "usr/share/doc/bash/changelog.gz",
        "usr/share/locale/de/LC_MESSAGES/bash.mo",
    ],
)
def test_leftovers_go(name):
    assert settled(entry(name, b"x"), entry("etc/kept", b"x"))[0].keys() == {"etc/kept"}


@pytest.mark.parametrize(
    "name",
    [
        "run/lock",
        "etc/passwd",
        "etc/hosts",
        "var/cache/debconf/config.dat",
        "var/lib/dpkg/status.d",
        "usr/share/doc/bash/copyright",
        "usr/share/mangled",
        "usr/share/zoneinfo/UTC",
    ],
)
def test_what_is_used_stays(name):
    assert name in settled(entry(name, b"x"))[0]


def test_empty_folders_stay_where_programs_expect_them():
    folders = ["dev", "tmp", "run", "var/log/apt", "var/cache/apt", "usr/share/doc/bash"]
    assert list(settled(*map(directory, folders))[0]) == folders


def test_manual_folders_go():
    assert not settled(directory("usr/share/man/man1"), directory("usr/share/locale/de"))[0]


def test_a_device_outside_dev_is_refused():
    with pytest.raises(BuildError, match="srv/disk"):
        settled(entry("srv/disk", type=tarfile.BLKTYPE))


def test_keeps_what_tells_of_the_packages():
    path = "var/lib/dpkg/status"
    _, documents = settled(entry(path, STATUS.encode()), entry("etc/x", b"x"))
    assert documents == {path: STATUS.encode()}
    assert [deb.name for deb in system_facts(documents).debs or ()] == ["base-files"]


def test_reads_the_source_to_its_end():
    stream = source(entry("etc/x", b"x" * 3_000_000))
    stream.seek(0, io.SEEK_END)
    stream.write(bytes(1 << 20))
    stream.seek(0)
    settle(stream, whole(lambda _: None))
    assert not stream.read()


def test_a_cut_tar_is_no_tar():
    with pytest.raises(tarfile.ReadError):
        settle(io.BytesIO(), whole(lambda _: None))
    tar = source(entry("etc/x", b"x" * 3_000_000)).getvalue()
    with pytest.raises(tarfile.ReadError):
        settle(io.BytesIO(tar[:1_000_000]), whole(lambda _: None))


def test_the_settled_bytes_are_what_they_have_always_been():
    out = io.BytesIO()
    settle(
        source(
            directory("usr"),
            entry("usr/ü", b"content", mode=0o2755, gid=8),
            entry("usr/link", type=tarfile.SYMTYPE, linkname="x" * 120),
            entry("usr/cap", b"x", pax_headers={"SCHILY.xattr.user.a": "b"}),
        ),
        whole(out.write),
    )
    digest = hashlib.sha256(out.getvalue()).hexdigest()
    assert digest == "c90fe27dea9e54850e406e89700bc5bff189c40a61a119665011a4b4a19243f0"


def test_the_rules_are_dpkg_s_own():
    for line in SLIM.splitlines():
        assert line == "force-unsafe-io" or line.startswith(("path-exclude /", "path-include /"))
