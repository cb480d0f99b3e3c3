"""Challenges of servers (RFC 9110, 11.6.1), parsed as they really come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.registry.auth import parse_challenges


def parsed(header: str) -> list[tuple[str, dict[str, str]]]:
    return [(item.scheme, dict(item.parameters)) for item in parse_challenges(header)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("BASIC Realm = x", [("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://auth.test/token",service="r",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.test/token",
                        "service": "r",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            'Negotiate abc==, Basic realm="a, b", Bearer realm="c"',
            [("negotiate", {}), ("basic", {"realm": "a, b"}), ("bearer", {"realm": "c"})],
        ),
        ("Negotiate, Basic", [("negotiate", {}), ("basic", {})]),
        (r'Basic realm="say \"hi\""', [("basic", {"realm": 'say "hi"'})]),
        ('Basic realm="never ends', [("basic", {})]),
        ('Basic realm="first", realm="second"', [("basic", {"realm": "first"})]),
        ('="x"', []),
    ],
)
def test_challenges(header, expected):
    assert parsed(header) == expected


_words = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
_challenges = st.tuples(_words, st.dictionaries(_words, _values, min_size=1, max_size=4))


def written(challenges: list[tuple[str, dict[str, str]]]) -> str:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )


@given(st.lists(_challenges, max_size=4))
def test_what_is_written_by_the_grammar_is_read_back(challenges):
    assert parsed(written(challenges)) == challenges


@given(st.text(max_size=200))
def test_nothing_breaks_the_parser(header):
    parse_challenges(header)
