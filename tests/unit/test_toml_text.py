"""TOML that takes long, or that Python's reader gives up on: one error, soon, wherever it lies."""

import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuilder.cli.project import remote_settings
from envbuilder.model.errors import LockError, ResolutionError, UsageError
from envbuilder.model.pylock import parse_lock
from envbuilder.model.toml_text import PARTS, TABLES, WORD, TomlError, parse_toml
from envbuilder.resolve.git.project import read_project
from envbuilder.workflow.adopt.texts import read_toml

DOTS = "a" + ".a" * PARTS
KINDS = {
    "parts": f"{DOTS} = 1",
    "digits": "a = " + "1" * 5000,
    "hex": "a = 0x" + "f" * 5000,  # whose decimal digits Python would not show
    "depth": "a = " + "[" * 100_000,
}
SECONDS = 5  # most take a tenth of one; dotted keys took hours


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_honest_text_holds(kind):
    with pytest.raises(TomlError):
        parse_toml(KINDS[kind])


@pytest.mark.parametrize(
    "text",
    [
        f"[{DOTS}]",
        f"[[ {DOTS.replace('.', ' . ')} ]]",
        f"x = {{ y = 1, {DOTS} = 1 }}",
        ".".join(['"a.b"'] * (PARTS + 1)) + " = 1",
        ".".join(["'a.b'"] * (PARTS + 1)) + " = 1",
        f'\'a\'."b\\"".{DOTS} = 1',
        f'x = ""\n{DOTS} = 1',
        f'x = """a"""""\n{DOTS} = 1',
        f"x = '''a'''''\n{DOTS} = 1",
        f'x = "\\\\"  # "\n{DOTS} = 1',
        f"x = 'a\\' # '\r\n{DOTS} = 1",
        f"x = 1.5 {DOTS}",
    ],
)
def test_keys_of_many_parts_wherever_they_stand(text):
    with pytest.raises(TomlError, match=f"line [12] has a key of more than {PARTS} parts"):
        parse_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        f"{DOTS.removesuffix('.a')} = 1",
        f"[{DOTS.removesuffix('.a')}]\nx.y = 1",
        f"# {DOTS}",
        f'x = \'{DOTS}\'\ny = "{DOTS}\\"{DOTS}"  # {DOTS}',
        f"x = '''\n'{DOTS}\n''{DOTS}'''",
        f'x = """\n"{DOTS}\n""{DOTS}\\""" {DOTS}"""',
        f'"{DOTS}" = 1',
        "x = [\n" + "'a.b',\n" * 200 + "]",
        "x = [1.5, 07:32:00.999, 1979-05-27, -inf, +1e3]\r\n'é' = 2",
        f"{'a' * WORD} = '{'b' * 10 * WORD}'",
        "x = [" + "[]," * (TABLES - 1) + "]",
    ],
)
def test_what_merely_looks_like_it(text):
    assert parse_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize("text", ["a = ", "a = 'x", 'a = """x', "a. = 1", "= 1", "a = 1.", "'''"])
def test_what_is_none_keeps_its_own_message(text):
    with pytest.raises(tomllib.TOMLDecodeError) as theirs:
        tomllib.loads(text)
    with pytest.raises(TomlError) as ours:
        parse_toml(text)
    assert str(ours.value) == str(theirs.value)


LONG: dict[str, Callable[[], str]] = {  # made when they are needed: they stay out of other tests
    "tables": lambda: "".join(f"[{number:x}]\n" for number in range(250_000)),
    "inline tables": lambda: "x = [" + "{a.b = 1}," * 250_000 + "]",
    "dots": lambda: "a" + ".a" * 1_000_000 + " = 1",
    "one word": lambda: "a" * 2_000_000,
    "quotes": lambda: "'" * 2_000_000,
    "escapes": lambda: '"\\' * 1_000_000,
    "lines": lambda: 'a = """' + '""\\' * 600_000,
    "blanks": lambda: ("a" + " " * 1000) * 2_000,
}


@pytest.mark.parametrize("kind", LONG)
def test_megabytes_are_refused_soon(kind):
    text = LONG[kind]()
    start = time.process_time()
    with pytest.raises(TomlError):
        parse_toml(text)
    assert time.process_time() - start < SECONDS


class Tree:
    """The files of a source; it has but a pyproject.toml."""

    place = "here"

    def __init__(self, text):
        self.text = text

    def read(self, path):
        return self.text.encode() if path == "pyproject.toml" else None


@pytest.mark.parametrize("kind", KINDS)
def test_each_that_reads_it_tells_so(tmp_path, monkeypatch, kind):
    text = KINDS[kind]
    with pytest.raises(LockError, match="is not TOML"):
        parse_lock(text)
    with pytest.raises(ResolutionError, match="cannot be read"):
        read_project(Tree(text), subdirectory=None)
    monkeypatch.chdir(tmp_path)
    path = Path("envbuilder.toml")
    path.write_text(text)
    with pytest.raises(UsageError, match="is not TOML"):
        read_toml(path)
    with pytest.raises(UsageError, match="cannot be used"):
        remote_settings({})
