"""Whose a file is, by what dpkg wrote down: lists, the merged /usr, diversions, bytecode."""

import io
import tarfile

import pytest

from envbuilder.resolve.debian.owners import read_owners

LISTS = {
    "bash.list": "/.\n/bin\n/bin/bash\n/etc/bash.bashrc\n/usr/share/doc\n",
    "libc6:amd64.list": "/lib/x86_64-linux-gnu/libc.so.6\n/usr/share/doc\n",
    "python3-six.list": "/usr/lib/python3/dist-packages/six.py\n",
    "dash.list": "/usr/bin/sh\n",
    "newsh.list": "/usr/bin/sh\n",
}
DIVERSIONS = "/usr/bin/sh\n/usr/bin/sh.distrib\nnewsh\n/etc/x\n/etc/x.old\n:\n"


def records(**more):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        files = {f"info/{name}": text for name, text in LISTS.items()}
        for name, text in (files | {"diversions": DIVERSIONS} | more).items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("etc/bash.bashrc", "bash"),
        ("usr/bin/bash", "bash"),  # listed as /bin/bash
        ("bin", "bash"),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", "libc6"),
        ("usr/share/doc", "bash"),  # shared: the first by name
        ("usr/bin/sh", "newsh"),
        ("usr/bin/sh.distrib", "dash"),
        ("usr/lib/python3/dist-packages/__pycache__/six.cpython-313.pyc", "python3-six"),
        ("usr/lib/python3/dist-packages/__pycache__/six.cpython-313.opt-1.pyc", "python3-six"),
        ("var/lib/dpkg/info/libc6:amd64.md5sums", "libc6"),
        ("var/lib/dpkg/info/gcc-14-base.list", "gcc-14-base"),
        ("var/lib/dpkg/status", None),
        ("etc/ld.so.cache", None),
    ],
)
def test_owner(path, owner):
    assert read_owners(records()).of(path) == owner


def test_a_name_may_hold_what_ends_a_line_elsewhere():
    names = [f"usr/share/a{sign}b" for sign in ("\u2028", "\x85", "\x0c", "\r")]
    listed = "".join(f"/{name}\n" for name in names)
    owners = read_owners(records(**{"info/odd.list": listed, "diversions": ""}))
    assert [owners.of(name) for name in names] == ["odd"] * 4
    assert owners.of("b") is None


def test_the_order_of_the_lists_does_not_matter():
    turned = io.BytesIO()
    with tarfile.open(fileobj=records()) as tar, tarfile.open(fileobj=turned, mode="w") as out:
        for member in reversed(tar.getmembers()):
            out.addfile(member, tar.extractfile(member))
    turned.seek(0)
    assert read_owners(turned) == read_owners(records())


def test_no_tar_is_said():
    with pytest.raises(tarfile.ReadError):
        read_owners(io.BytesIO(b"no tar"))
