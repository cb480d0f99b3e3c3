"""Addresses in a source's requirements: none is ever handed to a resolver."""

import pytest
from packaging.requirements import Requirement

from envbuilder.model.errors import ResolutionError
from envbuilder.resolve.git.direct_references import without_addresses
from envbuilder.resolve.python.requirements import PythonTarget

MARKERS = PythonTarget(python="3.11", platform="linux/amd64", glibc=36).markers()
KENLM = "kenlm@ git+https://github.com/kpu/kenlm@master"


def taken(line, *, pinned=(), extras=()):
    return without_addresses([line], pinned=pinned, extras=extras, markers=MARKERS)


@pytest.mark.parametrize("line", ["torch>=2", "torch>=2; extra == 'gpu'", "ray[default]==2.47.1"])
def test_a_requirement_without_an_address_stays_as_it_is(line):
    assert taken(line) == (line,)


@pytest.mark.parametrize(
    ("line", "extras"),
    [
        (f"{KENLM} ; extra == 'audio'", ()),
        (f"{KENLM} ; extra == 'audio'", ("video",)),
        (f"{KENLM} ; sys_platform == 'win32'", ()),
        (f"{KENLM} ; extra == 'audio' and sys_platform == 'darwin'", ("audio",)),
        (f"{KENLM} ; python_version < '3.9'", ()),
    ],
)
def test_one_that_nobody_asks_for_can_be_met_by_nothing(line, extras):
    """A resolver that is asked for it after all says so, and takes nothing from an index."""
    (found,) = map(Requirement, taken(line, extras=extras))
    assert found.url is None
    assert found.marker == Requirement(line).marker
    assert not any(found.specifier.contains(each) for each in ("0", "1.0", "0+cpu", "2024.1"))


@pytest.mark.parametrize(
    ("line", "extras"),
    [
        (KENLM, ()),
        (f"{KENLM} ; extra == 'audio'", ("audio",)),
        (f"{KENLM} ; extra == 'audio' or python_version >= '3.9'", ()),
        (f"{KENLM} ; python_version >= '3.9'", ("other",)),
        ("evil @ http://127.0.0.1:1/evil.whl", ()),
        ("evil @ file:///etc/passwd", ()),
    ],
)
def test_one_that_applies_is_refused_with_the_key_to_add(line, extras):
    name = Requirement(line).name
    with pytest.raises(ResolutionError, match=r"its requirement .* names an address") as caught:
        taken(line, extras=extras)
    assert f"{name}: " in caught.value.hint
    if name == "kenlm":
        assert "{git: https://github.com/kpu/kenlm, tag: master}" in caught.value.hint


def test_logins_of_addresses_are_not_shown():
    with pytest.raises(ResolutionError) as caught:
        taken("private @ git+https://me:secret@git.example.org/private")
    assert "secret" not in caught.value.message + caught.value.hint
    assert "https://git.example.org/private" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (KENLM, "kenlm"),
        (f"{KENLM} ; extra == 'audio'", 'kenlm; extra == "audio"'),
        ("KenLM[all] @ https://example.org/k.whl", "KenLM[all]"),
    ],
)
def test_what_the_spec_pins_is_taken_from_the_spec(line, expected):
    assert taken(line, pinned={"kenlm"}, extras=("audio",)) == (expected,)
