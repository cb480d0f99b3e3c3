"""Whatever a value holds, it stays one value."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuilder.engines.dockerfile_quoting import Quoted, document, exec_form, quote, script
from envbuilder.model.errors import SpecError

from .dockerfiles import NASTY, heredocs, instructions, sh_words

values = st.lists(st.sampled_from(NASTY) | st.text(max_size=5), max_size=8).map("".join)
lines = values.filter(lambda text: not any(ord(char) < 32 and char != "\t" for char in text))
texts = st.lists(lines, min_size=1, max_size=5).map("\n".join)


def storable(text: str) -> bool:
    return "\x7f" not in text and text.encode("utf-8", "ignore").decode() == text


@pytest.mark.parametrize("value", ["1.2.3", "a=b", "/opt/venv", "ffmpeg=7:5.1-0+deb12u1", "x@1"])
def test_plain_words_stay_plain(value):
    assert quote(value) == value


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("", '""'),
        ("two words", '"two words"'),
        ("it's", '"it\'s"'),
        ('say "$HOME"', '"say \\"\\$HOME\\""'),
        ("a`b", '"a"\'`\'"b"'),
        ("end\\", '"end\\\\"'),
    ],
)
def test_words(value, word):
    assert quote(value) == word


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "\x1b[31m", "\x7f", "\ud800"])
def test_what_no_dockerfile_can_hold_is_refused(value):
    for write in (quote, lambda text: exec_form([text])):
        with pytest.raises(SpecError):
            write(value)


@pytest.mark.parametrize("value", ["a\rb", "a\0b", "\ud800"])
def test_what_no_script_can_hold_is_refused(value):
    with pytest.raises(SpecError):
        script(value)


def test_quoted_text_is_not_quoted_again():
    assert quote(Quoted("a b")) == "a b"


@settings(max_examples=60)
@given(st.lists(lines.filter(storable), min_size=1, max_size=20))
def test_sh_reads_back_what_was_quoted(found):
    assert sh_words([quote(each) for each in found]) == found


@given(lines.filter(storable), lines.filter(storable))
def test_docker_sees_one_pair(value, other):
    text = f"FROM scratch\nENV A={quote(value)}\nLABEL {quote('k')}={quote(other)}\nUSER x\n"
    found = instructions(text)
    assert [name for name, _, _ in found] == ["FROM", "ENV", "LABEL", "USER"]
    assert found[1][2][:2] == ("A", quote(value))
    assert found[2][2][:2] == ("k", quote(other))


@given(st.lists(lines.filter(storable), min_size=1, max_size=5))
def test_docker_sees_the_same_exec_form(words):
    text = f"FROM scratch\nCMD {exec_form(words)}\nUSER x\n"
    found = instructions(text)
    assert [name for name, _, _ in found] == ["FROM", "CMD", "USER"]
    assert list(found[1][2]) == words == json.loads(exec_form(words))


@given(texts.filter(storable))
def test_a_script_is_one_here_document(text):
    rendered = f"FROM scratch\nRUN --network=none {script(text)}\nUSER x\n"
    assert [name for name, _, _ in instructions(rendered)] == ["FROM", "RUN", "USER"]
    assert heredocs(rendered) == [f". /run/build/step.sh\n{text.rstrip(chr(10))}\n"]


@given(texts.filter(storable))
def test_a_document_is_copied_whole(text):
    rendered = f"FROM scratch\nCOPY {document(text, '/a b')}\nUSER x\n"
    assert [name for name, _, _ in instructions(rendered)] == ["FROM", "COPY", "USER"]
    assert heredocs(rendered) == [text.removesuffix("\n") + "\n"]
