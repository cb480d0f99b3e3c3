"""A Dockerfile's text -> instructions, by the documented grammar.

Parser directives, comments, continuations, heredocs, flags and the JSON form are read as BuildKit's
own parser reads them. Variables stay as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from envbuilder.model.codec import MisfitError, any_json
from envbuilder.model.errors import UsageError

from .words import UnreadableError, split_words, unquoted

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_FLAG = re.compile(r"(--[a-z][a-z-]*(?:=(?:\"[^\"]*\"|\S*))?)(?:\s+|$)")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_WITH_HEREDOCS = {"RUN", "COPY", "ADD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heredoc:
    """A text that follows its instruction; without ``expand`` its variables are no variables."""

    name: str
    content: str
    expand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction: ``name`` in capitals, ``rest`` without flags, ``items`` if it is JSON.

    ``line`` counts from 1 and is that of its name. ``script`` is ``rest`` with its line breaks, for
    a shell, which tells by them where a command stands.
    """

    name: str
    rest: str
    line: int
    script: str = ""
    flags: tuple[str, ...] = ()
    items: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str) -> str:
        """Return the value of ``--name=value``; nothing if it is not there."""
        found = (each.partition("=") for each in self.flags)
        return next((value.strip('"') for key, _, value in found if key == f"--{name}"), "")


def parse_dockerfile(text: str, *, name: str) -> Iterator[Instruction]:
    """Yield the instructions of a Dockerfile; ``name`` is how errors call it.

    Raises UsageError, with the line, for a heredoc that does not end.
    """
    lines = text.removesuffix("\n").split("\n")  # BuildKit knows no other end of a line
    escape = _escape(lines)
    number = 0
    while number < len(lines):
        first = number
        parts, number = _joined(lines, number, escape)
        joined = "".join(parts).strip()
        if joined:
            heredocs, number = _heredocs(lines, number, joined, place=f"{name}:{first + 1}")
            found = _instruction(joined, first + 1, heredocs)
            yield replace(found, script=_without_head("\\\n".join(parts), found))


def _escape(lines: list[str]) -> str:
    """Return the character that continues lines, as directives at the very top may say."""
    for line in lines:
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            break
        if match[1].lower() == "escape":
            return match[2]
    return "\\"


def _joined(lines: list[str], number: int, escape: str) -> tuple[list[str], int]:
    """Return the lines of one instruction; comments and empty lines between them say nothing."""
    end = re.compile(rf"(^|[^{re.escape(escape)}]){re.escape(escape)}[ \t]*$")
    parts: list[str] = []
    while number < len(lines):
        line = lines[number].rstrip("\r")
        line = line if parts else line.lstrip()
        number += 1
        if line.lstrip().startswith("#") or (parts and not line.strip()):
            if not parts:
                return [], number
            parts.append("")
            continue
        more = end.search(line)
        parts.append(line[: more.start()] + more[1] if more else line)
        if not more:
            break
    return parts, number


def _without_head(script: str, found: Instruction) -> str:
    """Return what follows name and flags, after the line breaks that stand among those."""
    plain, at = 0, 0
    head = len(script.replace("\\\n", "").strip()) - len(found.rest)
    script = script.lstrip()
    while plain < head and at < len(script):
        step = 2 if script.startswith("\\\n", at) else 1
        plain += step == 1
        at += step
    return "\n" * script[:at].count("\\\n") + script[at:]


def _heredocs(
    lines: list[str], number: int, joined: str, *, place: str
) -> tuple[tuple[Heredoc, ...], int]:
    name, _, rest = joined.strip().partition(" ")
    if name.upper() not in _WITH_HEREDOCS or "<<" not in rest:
        return (), number
    found = []
    for word in _words(rest):
        match = _HEREDOC.fullmatch(word)
        if match is not None and unquoted(match[2]):
            content, number = _content(lines, number, match, place)
            plain = unquoted(match[2])
            found.append(Heredoc(name=plain, content=content, expand=plain == match[2]))
    return tuple(found), number


def _words(rest: str) -> list[str]:
    try:
        return split_words(rest)
    except UnreadableError:
        return []  # whoever reads the instruction says so


def _content(lines: list[str], number: int, match: re.Match[str], place: str) -> tuple[str, int]:
    """Return the text of a heredoc, whose lines keep a carriage return, and where it ends."""
    content: list[str] = []
    end = unquoted(match[2])
    while number < len(lines):
        line = lines[number]
        number += 1
        if (line.lstrip("\t") if match[1] else line).rstrip("\r") == end:
            return "".join(f"{each}\n" for each in content), number
        content.append(line)
    raise UsageError(f"{place}: the heredoc <<{end} does not end", hint=f"a line {end} ends it")


def _instruction(text: str, line: int, heredocs: tuple[Heredoc, ...]) -> Instruction:
    name, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    flags, rest = [], rest.strip()
    while flag := _FLAG.match(rest):
        flags.append(flag[1])
        rest = rest[flag.end() :]
    return Instruction(
        name=name.upper(),
        rest=rest,
        line=line,
        flags=tuple(flags),
        items=json_items(rest),
        heredocs=heredocs,
    )


def json_items(rest: str) -> tuple[str, ...] | None:
    """Read the JSON form; anything else is the shell's, even if it begins with a bracket."""
    if not rest.startswith("["):
        return None
    try:
        found = any_json(rest)
    except MisfitError:
        return None
    if isinstance(found, list) and all(isinstance(each, str) for each in found):
        return tuple(found)
    return None
