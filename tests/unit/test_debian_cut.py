"""A root file system cut by owner: each part is a whole tar, together the same tree."""

import io
import tarfile

from envbuilder.layers.tar import DIRECTORY, HARDLINK, header, padding
from envbuilder.resolve.debian.cut import Cut
from envbuilder.resolve.debian.owners import Owners

OWNERS = Owners({"usr/bin/perl": "perl", "usr/bin/sh": "dash", "srv": "dash", "opt/empty": "perl"})
PLACES = {"perl": 0, "dash": 1}


def cut(*entries):
    """Cut entries of (path, content), (folder/, mode) and (path, link to another) into three."""
    outs = [io.BytesIO() for _ in range(3)]
    parts = Cut([out.write for out in outs], owners=OWNERS, places=PLACES)
    for path, what in entries:
        if path.endswith("/"):
            parts.folder(path[:-1], header(path, mode=what, kind=DIRECTORY))
        elif isinstance(what, bytes):
            write = parts.file(path, header(path, mode=0o644, size=len(what)))
            write(what)
            write(padding(len(what)))
        else:
            parts.file(path, header(path, mode=0o644, kind=HARDLINK, link=what), link=what)
    parts.finish()
    return [read(out.getvalue()) for out in outs]


def read(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {each.name: oct(each.mode) if each.isdir() else each.size for each in tar}


def test_each_file_goes_to_its_owner_and_the_rest_to_the_last():
    perl, dash, rest = cut(
        ("etc/", 0o755),
        ("etc/passwd", b"x"),
        ("usr/", 0o755),
        ("usr/bin/", 0o711),
        ("usr/bin/perl", b"perl"),
        ("usr/bin/sh", b"sh"),
    )
    assert perl == {"usr": "0o755", "usr/bin": "0o711", "usr/bin/perl": 4}
    assert dash == {"usr": "0o755", "usr/bin": "0o711", "usr/bin/sh": 2}
    assert rest == {"etc": "0o755", "etc/passwd": 1}


def test_a_package_that_the_plan_does_not_know_is_nobody_s():
    perl, dash, rest = cut(("usr/bin/perl", b"x"), ("usr/bin/ls", b"y"))
    assert (list(perl), list(dash), list(rest)) == (["usr/bin/perl"], [], ["usr/bin/ls"])


def test_a_hard_link_lies_beside_its_target():
    perl, dash, _ = cut(("usr/bin/perl", b"x"), ("usr/bin/sh", "usr/bin/perl"))
    assert list(perl) == ["usr/bin/perl", "usr/bin/sh"]
    assert not dash


def test_an_empty_folder_goes_to_its_owner_once():
    perl, dash, rest = cut(
        ("opt/", 0o755), ("opt/empty/", 0o700), ("srv/", 0o2775), ("tmp/", 0o1777)
    )
    assert perl == {"opt": "0o755", "opt/empty": "0o700"}
    assert dash == {"srv": "0o2775"}
    assert rest == {"tmp": "0o1777"}
