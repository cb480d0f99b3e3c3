"""Strict decoding: what does not fit is named by its place."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import Struct

from envbuilder.model.codec import MisfitError, any_json, from_json, from_plain, to_json, to_plain
from envbuilder.model.lock import Wheel
from envbuilder.model.reference import Digest

ROOT = Path(__file__).parents[2]


class Box(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    wheels: tuple[Wheel, ...]
    note: str = ""


WHEEL = Wheel(name="a", version="1", filename="a-1.whl", size=3, sha256=Digest.of(b"a"))
BOX = Box(wheels=(WHEEL,))
PLAIN = {
    "wheels": [
        {
            "name": "a",
            "version": "1",
            "filename": "a-1.whl",
            "size": 3,
            "sha256": str(Digest.of(b"a")),
        }
    ],
    "note": "",
}


def test_what_is_written_reads_back():
    assert json.loads(json.dumps(to_plain(BOX))) == PLAIN
    assert from_plain(PLAIN, Box) == from_json(to_json(BOX), Box) == BOX


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": True}, r"top\.wheels\[0\]\.size: expected int, found bool"),
        ({"sha256": "md5:1"}, r"top\.wheels\[0\]\.sha256: 'md5:1' is not a digest"),
        ({"sha256": 1}, r"top\.wheels\[0\]\.sha256: expected a digest, found int"),
        ({"filename": "/etc/x.whl"}, r"top\.wheels\[0\]: '/etc/x.whl' is not the file name"),
    ],
)
def test_an_error_names_the_place(change, says):
    broken = {**PLAIN, "wheels": [{**PLAIN["wheels"][0], **change}]}
    with pytest.raises(MisfitError, match=says):
        from_plain(broken, Box, place="top")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{}", "lacks wheels"),
        (b'{"wheels": [], "more": 1}', "has an unknown key more"),
        (b'{"wheels": ' + b"[" * 200_000, "wheels|recursion"),
        (b'{"wheels": [', "truncated"),
        (b'{"wheels": [], "note": "\\ud800"}', "truncated"),
        (b'{"wheels": [], "note": "\xff"}', "utf-8|UTF-8"),
    ],
)
def test_no_document_brings_it_down(text, says):
    with pytest.raises(MisfitError, match=says):
        from_json(text, Box)


def test_a_digest_is_a_value():
    one, same, other = Digest.of(b"a"), Digest.of(b"a"), Digest.of(b"b")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != one.hex
    assert sorted([one, other], key=str) == sorted([one, other])
    assert (one < other) is (other > one) is (one <= other)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert repr(one) == f"Digest({one.hex!r})"
    with pytest.raises(AttributeError, match="does not change"):
        one.hex = other.hex


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, '{"a":' * 100_000, "1" * 5000, b"\xff", b"\xef\xbb\xbf1 1"]
)
def test_what_is_no_json_has_one_error(text):
    with pytest.raises(MisfitError):
        any_json(text)


def test_types_are_learnt_by_one_thread_at_a_time():
    """msgspec 0.22 crashed when two threads decoded a type for the first time: each run is new."""
    code = """
import sys, threading
from pathlib import Path
from envbuilder.model.pylock import read_lock
from envbuilder.model.spec_file import load
sys.setswitchinterval(1e-6)
start = threading.Barrier(4)
def work():
    start.wait()
    load(Path("lockfiles/omni-cpu.yaml"))
    read_lock(Path("lockfiles/pylock.omni-cpu.toml"))
threads = [threading.Thread(target=work) for _ in range(4)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
        assert done.returncode == 0


def test_half_a_surrogate_where_something_else_is_expected_is_a_misfit():
    with pytest.raises(MisfitError, match="surrogates not allowed"):
        from_plain({"wheels": "\ud800"}, Box)
