"""A RUN line -> statements: its commands, in the order and under the conditions they run."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from envbuilder.workflow.adopt.statements import At, Statement, left, taken

from .commands import read_command
from .shell import (
    Case,
    Chain,
    Command,
    If,
    Node,
    Not,
    Other,
    Sequence,
    parse_shell,
)
from .stage import Stage
from .words import UnreadableError, expand

_ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)\+?=(?P<value>.*)", re.DOTALL)
_ASKS = {"[", "[[", "test", "true", "false", ":"}


def read_run(stage: Stage, line: int, text: str) -> Iterator[Statement]:
    """Read a shell text that begins in ``line``; variables that it sets end with it."""
    at = stage.at(line, text)
    try:
        parsed = parse_shell(text)
    except UnreadableError as error:
        yield left(at, f"not read as shell: {error}")
        return
    before = (dict(stage.knowledge.variables), stage.folder)
    yield from _Walk(stage, line).node(parsed)
    stage.knowledge.variables, stage.folder = before


class _Walk:
    """Visit what runs: conditions that are known choose, others are left with what they guard."""

    def __init__(self, stage: Stage, line: int) -> None:
        self.stage = stage
        self.line = line

    def at(self, node: Node) -> At:
        return self.stage.at(self.line + _line(node), _text(node))

    def node(self, node: Node) -> Iterator[Statement]:
        match node:
            case Command():
                yield from self.command(node)
            case Sequence():
                for each in node.nodes:
                    yield from self.node(each)
            case Chain():
                yield from self.chain(node)
            case If() | Case():
                yield from self.branch(node)
            case Not():
                yield from self.node(node.node)
            case Other():
                yield left(self.at(node), "a loop of the shell")

    def chain(self, node: Chain) -> Iterator[Statement]:
        """Read ``a && b || c``: what runs if all goes well; tests go as is known."""
        goes_on: bool | None = self.stage.knowledge.holds(node.first)
        if not _is_test(node.first):
            goes_on = True
            yield from self.node(node.first)
        for operator, each in node.rest:
            runs = goes_on if operator == "&&" else None if goes_on is None else not goes_on
            if runs is None:
                yield left(self.at(each), "it depends on what is not known here")
            elif runs and not _is_test(each):
                yield from self.node(each)
                goes_on = True
            elif runs:
                goes_on = self.stage.knowledge.holds(each)

    def branch(self, node: If | Case) -> Iterator[Statement]:
        body = self.stage.knowledge.branch(node)
        if isinstance(body, bool):
            yield left(self.at(node), "its condition asks the machine that builds")
        elif body is not None:
            yield from self.node(body)

    def command(self, node: Command) -> Iterator[Statement]:
        if node.words[:1] and node.words[0] in _ASKS:
            return
        words, own = list(node.words), {}
        while words and (match := _ASSIGNMENT.fullmatch(words[0])):
            own[match["name"]] = self._value(match["value"])
            words.pop(0)
        if not words:
            for name, value in own.items():
                self.stage.knowledge.set(name, value)
            return
        if words[0] in {"export", "declare", "local", "readonly"}:
            self._export(words[1:])
            return
        yield from self._run(node, words, {name: value for name, value in own.items() if value})

    def _value(self, text: str) -> str | None:
        using = self.stage.knowledge.expansion()
        value = expand(text, using)
        return None if using.unknown else value

    def _export(self, words: list[str]) -> None:
        for word in words:
            if match := _ASSIGNMENT.fullmatch(word):
                self.stage.knowledge.set(match["name"], self._value(match["value"]))

    def _run(self, node: Command, words: list[str], own: dict[str, str]) -> Iterator[Statement]:
        at = self.at(node)
        using = self.stage.knowledge.expansion()
        expanded = [each for word in words for each in _fields(word, expand(word, using))]
        if expanded[:1] == ["cd"] and len(expanded) == 2 and not using.unknown:
            self.stage.folder = posixpath.normpath(posixpath.join(self.stage.folder, expanded[1]))
            return
        if node.piped or node.redirected:
            yield _written(at, expanded)
            return
        yield from read_command(self.stage, at, expanded, unknown=using.unknown, own=own)


def _fields(word: str, value: str) -> list[str]:
    """Split what an unquoted variable held, as the shell does."""
    if "$" in word and not set("\"'") & set(word) and "$(" not in value:
        return value.split()
    return [value]


def _written(at: At, words: list[str]) -> Statement:
    text = " ".join(words)
    if "debconf-set-selections" in text:
        return taken(at, note="packages are set up without questions")
    if re.search(r"\b(curl|wget)\b", text):
        return left(
            at, "what it fetches has no hash: name a package, or lay the file down yourself"
        )
    return left(at, "it writes files: a step may, `steps.after_python`")


def _is_test(node: Node) -> bool:
    if isinstance(node, Not):
        return _is_test(node.node)
    if isinstance(node, Chain):
        return _is_test(node.first) and all(_is_test(each) for _, each in node.rest)
    if isinstance(node, Sequence):
        return len(node.nodes) == 1 and _is_test(node.nodes[0])
    return isinstance(node, Command) and node.words[:1] != () and node.words[0] in _ASKS


def _line(node: Node) -> int:
    match node:
        case Command() | If() | Case() | Other():
            return node.line
        case Not():
            return _line(node.node)
        case Chain():
            return _line(node.first)
        case Sequence():
            return _line(node.nodes[0]) if node.nodes else 0


def _text(node: Node) -> str:
    match node:
        case Command() | If() | Case() | Other():
            return node.text
        case Not():
            return f"! {_text(node.node)}"
        case Chain():
            return " ".join([_text(node.first), *(f"{o} {_text(each)}" for o, each in node.rest)])
        case Sequence():
            return "; ".join(_text(each) for each in node.nodes)
