"""Debian's versions are sorted as dpkg itself sorts them."""

import subprocess
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from envbuilder.model.debian_version import version_key

ORDERED = ["1.0~~", "1.0~~a", "1.0~", "1.0", "1.0-0.1", "1.0-1~bpo1", "1.0-1", "1.0-1+b1",
           "1.0-1+deb13u1", "1.0-1.1", "1.0a", "1.0+dfsg-1", "1.0.1", "1.2", "1.10", "2", "1:0.1",
           "10:0"]  # fmt: skip

versions = st.from_regex(r"([0-9]:)?[0-9][0-9a-b.+~]{0,6}(-[0-9a-b.+~]{1,4})?", fullmatch=True)


def test_a_list_in_its_order():
    mixed = ORDERED[1::2] + ORDERED[::2]
    assert sorted(mixed, key=version_key) == ORDERED
    assert all(version_key(one) < version_key(other) for one, other in pairwise(ORDERED))


def test_what_is_equal():
    for one, other in [("1.0", "1.0-0"), ("1.0", "0:1.0"), ("1.01", "1.1"), ("1.", "1.0")]:
        assert version_key(one) == version_key(other)


@settings(max_examples=300)
@given(versions, versions)
def test_dpkg_says_the_same(one, other):
    for operator, ours in [
        ("lt", version_key(one) < version_key(other)),
        ("eq", version_key(one) == version_key(other)),
    ]:
        done = subprocess.run(["dpkg", "--compare-versions", one, operator, other], check=False)
        assert (done.returncode == 0) is ours, (one, operator, other)


@given(st.text(max_size=20))
def test_any_text_has_a_place(text):
    assert version_key(text) == version_key(text)
    assert isinstance(version_key(text) < version_key("1.0"), bool)
