"""The shell of a RUN line -> commands, and the conditions under which they run.

Read are lists, pipes, ``if``, ``case`` and groups (POSIX 2.9). Loops, functions and whatever else
is kept as :class:`Other`: its text, of which nothing is concluded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .words import UnreadableError, skip

_OPERATORS = ("&&", "||", ";;", "|", ";", "&", "(", ")", "\n")
_REDIRECT = re.compile(r"\d*(?:>>|>&|<&|<<<|<>|>\||&>>|&>|>|<)")
_OPENING = {"for": "done", "while": "done", "until": "done"}
_BLANKS = " \t\r"  # no others part words; the last is of files with CRLF
_RESERVED = {"then", "elif", "else", "fi", "do", "done", "esac", "}"}
_DEEPEST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One simple command: its words as written; ``piped`` if others read or feed it.

    ``line`` counts from 0, the line where the text begins.
    """

    words: tuple[str, ...]
    line: int = 0
    piped: bool = False
    redirected: bool = False

    @property
    def text(self) -> str:
        """The command as it is written."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """``first && … || …``: each further node with the operator before it."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """``! node``."""

    node: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class If:
    """``if``: each condition with what runs if it holds, and what runs if none does."""

    branches: tuple[tuple[Sequence, Sequence], ...]
    otherwise: Sequence | None
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``case WORD in``: the patterns of each arm with what runs."""

    word: str
    arms: tuple[tuple[tuple[str, ...], Sequence], ...]
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A construct that is not read."""

    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """Nodes that run one after the other."""

    nodes: tuple[Node, ...]


Node = Command | Chain | Not | If | Case | Other | Sequence


def parse_shell(text: str) -> Sequence:
    """Parse the text of a RUN line; raise UnreadableError if it is not shell."""
    parser = _Parser(_tokens(text))
    found = parser.sequence(set())
    if parser.peek():
        raise UnreadableError(f"unexpected {parser.peek()!r}")
    return found


def _tokens(text: str) -> list[tuple[str, int]]:
    """Return words and operators, each with the line in which it ends."""
    tokens: list[tuple[str, int]] = []
    word, at, line = "", 0, 0
    while at < len(text):
        found = _separator(text, at, word)
        if found is None:
            end = skip(text, at)
            word += "" if text.startswith("\\\n", at) else text[at:end]
            line += text.count("\n", at, end)
            at = end
            continue
        separator, end = found
        tokens += [(word, line)] if word else []
        tokens += [(separator, line)] if separator.strip(_BLANKS) else []
        line += text.count("\n", at, end)
        word, at = "", end
    return [*tokens, (word, line)] if word else tokens


def _separator(text: str, at: int, word: str) -> tuple[str, int] | None:
    """Return what ends a word at ``at``, and where that ends; a blank or a comment is empty."""
    if not word and (redirect := _REDIRECT.match(text, at)):
        return redirect[0], redirect.end()
    if text[at] in "<>" and (redirect := _REDIRECT.match(text, at)):
        return redirect[0], redirect.end()
    if text[at] == "#" and not word:
        end = text.find("\n", at)
        return "", len(text) if end < 0 else end
    operator = next((each for each in _OPERATORS if text.startswith(each, at)), None)
    if operator is not None:
        return operator, at + len(operator)
    return ("", at + 1) if text[at] in _BLANKS else None


class _Parser:
    """Recursive descent over tokens; ``depth`` bounds what a hostile text can nest."""

    def __init__(self, tokens: list[tuple[str, int]]) -> None:
        self.tokens = [word for word, _ in tokens]
        self.lines = [line for _, line in tokens]
        self.at = 0
        self.depth = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, word: str) -> None:
        if self.peek() != word:
            raise UnreadableError(f"expected {word!r}, found {self.peek() or 'the end'!r}")
        self.at += 1

    def sequence(self, ends: set[str]) -> Sequence:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UnreadableError("nested too deeply")
        nodes: list[Node] = []
        while True:
            while self.peek() in {";", "&", "\n"}:
                self.at += 1
            if not self.peek() or self.peek() in ends:
                break
            if self.peek() in _RESERVED | {")", ";;"}:
                raise UnreadableError(f"unexpected {self.peek()!r}")
            nodes.append(self.chain())
        self.depth -= 1
        return Sequence(nodes=tuple(nodes))

    def chain(self) -> Node:
        first = self.pipe()
        rest = []
        while self.peek() in {"&&", "||"}:
            operator = self.take()
            self._newlines()
            rest.append((operator, self.pipe()))
        return Chain(first=first, rest=tuple(rest)) if rest else first

    def pipe(self) -> Node:
        if self.peek() == "!":
            self.at += 1
            if self.peek() == "!":
                raise UnreadableError("a condition that is denied twice")
            return Not(node=self.pipe())
        begun = self.at
        node = self.command()
        if self.peek() != "|":
            return node
        while self.peek() == "|":
            self.at += 1
            self._newlines()
            self.command()
        words = tuple(self.tokens[begun : self.at])
        return Command(words=words, line=self.lines[begun], piped=True)

    def command(self) -> Node:
        word = self.peek()
        if word == "if":
            return self._if()
        if word == "case":
            return self._case()
        if word in _OPENING:
            return self._other(_OPENING[word])
        if word in {"{", "("}:
            return self._group("}" if word == "{" else ")")
        return self._simple()

    def _simple(self) -> Node:
        words, redirected, begun = [], False, self.at
        while self.peek() and self.peek() not in _OPERATORS:
            word = self.take()
            if _REDIRECT.fullmatch(word):
                redirected = redirected or not _silences(self.take() if self.peek() else "", word)
            else:
                words.append(word)
        if self.peek() == "(" and words:
            raise UnreadableError("functions are not read")
        if not words and not redirected:
            raise UnreadableError(f"unexpected {self.peek() or 'the end'!r}")
        return Command(words=tuple(words), line=self.lines[begun], redirected=redirected)

    def _if(self) -> Node:
        begun, branches, otherwise = self.at, [], None
        self.at += 1
        while True:
            condition = self.sequence({"then"})
            self.expect("then")
            branches.append((condition, self.sequence({"elif", "else", "fi"})))
            word = self.take() if self.peek() else ""
            if word == "else":
                otherwise = self.sequence({"fi"})
                self.expect("fi")
            if word != "elif":
                break
        if word not in {"else", "fi"}:
            raise UnreadableError("an if without fi")
        text, line = " ".join(self.tokens[begun : self.at]), self.lines[begun]
        return If(branches=tuple(branches), otherwise=otherwise, text=text, line=line)

    def _case(self) -> Node:
        begun, arms = self.at, []
        self.at += 1
        word = self.take() if self.peek() else ""
        self._newlines()
        self.expect("in")
        while True:
            self._newlines()
            if self.peek() == "esac":
                break
            arms.append((self._patterns(), self.sequence({";;", "esac"})))
            if self.peek() == ";;":
                self.at += 1
        self.expect("esac")
        text = " ".join(self.tokens[begun : self.at])
        return Case(word=word, arms=tuple(arms), text=text, line=self.lines[begun])

    def _patterns(self) -> tuple[str, ...]:
        if self.peek() == "(":
            self.at += 1
        found = []
        while self.peek() and self.peek() != ")":
            word = self.take()
            found += [] if word == "|" else [word]
        self.expect(")")
        return tuple(found)

    def _group(self, end: str) -> Node:
        self.at += 1
        found = self.sequence({end})
        self.expect(end)
        return found

    def _other(self, end: str) -> Node:
        begun, depth = self.at, 0
        while self.peek():
            word = self.take()
            depth += (word in _OPENING) - (word == end)
            if not depth:
                text = " ".join(self.tokens[begun : self.at])
                return Other(text=text, line=self.lines[begun])
        raise UnreadableError(f"expected {end!r}, found the end")

    def _newlines(self) -> None:
        while self.peek() == "\n":
            self.at += 1


def _silences(target: str, operator: str) -> bool:
    """Return whether a redirection writes no file: to /dev/null, or to another descriptor."""
    return target == "/dev/null" or operator.endswith(("&", "<", "<<<"))
