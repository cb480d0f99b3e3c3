"""What can be known of a shell's conditions and ``$(…)`` without running anything."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from .shell import Case, Chain, Command, If, Node, Not, Sequence, parse_shell
from .words import Expansion, UnreadableError, expand

_COMPARISONS = {"-eq", "-ne", "-lt", "-le", "-gt", "-ge"}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class Knowledge:
    """Variables as they are now: a text, or None for what was declared without a value.

    Others may have any value, unless ``complete`` says that there are none.
    """

    def __init__(self, variables: Mapping[str, str | None], *, complete: bool = False) -> None:
        self.variables = dict(variables)
        self.complete = complete

    def set(self, name: str, value: str | None) -> None:
        """Set a variable to ``value``; None is one that cannot be known."""
        if value is None:
            self.variables.pop(name, None)
        else:
            self.variables[name] = value

    def expansion(self, *, empty: bool = False) -> Expansion:
        """Return how words expand now; ``empty``: what was declared without a value is empty."""
        known: dict[str, str | None] = dict(self.variables)
        if empty:
            known = {name: value or "" for name, value in known.items()}
        return Expansion(variables=known, complete=self.complete, substitute=self.substitute)

    def substitute(self, text: str) -> str | None:
        """Answer ``$(…)`` if it only cuts texts that are known; None if it asks the machine."""
        try:
            parsed = parse_shell(text)
        except UnreadableError:
            return None
        if len(parsed.nodes) != 1 or not isinstance(parsed.nodes[0], Command):
            return None
        output = ""
        for words in _stages(parsed.nodes[0].words):
            found = self._filter(words, output)
            if found is None:
                return None
            output = found
        return output.rstrip("\n")

    def _filter(self, words: list[str], given: str) -> str | None:
        using = self.expansion()
        name, *arguments = (expand(word, using) for word in words)
        if using.unknown:
            return None
        if name == "echo":
            return " ".join(each for each in arguments if each != "-n")
        if [name, *arguments] == ["uname", "-m"]:
            return _MACHINES.get(self.variables.get("TARGETARCH") or "amd64")
        if [name, *arguments] == ["dpkg", "--print-architecture"]:
            return self.variables.get("TARGETARCH") or "amd64"
        return _FILTERS[name](arguments, given) if name in _FILTERS else None

    def holds(self, node: Node) -> bool | None:
        """Return whether a condition holds; None if that is not known."""
        if isinstance(node, Not):
            inner = self.holds(node.node)
            return None if inner is None else not inner
        if isinstance(node, Sequence) and len(node.nodes) == 1:
            return self.holds(node.nodes[0])
        if isinstance(node, Chain):
            return self._chain_holds(node)
        return self._test(node.words) if isinstance(node, Command) and not node.piped else None

    def _chain_holds(self, node: Chain) -> bool | None:
        found = self.holds(node.first)
        for operator, each in node.rest:
            stops = operator == "||"
            if found is stops:
                continue
            other = self.holds(each)
            found = other if found is not None or other is stops else None
        return found

    def _test(self, words: tuple[str, ...]) -> bool | None:
        if words in {("true",), (":",)}:
            return True
        if words == ("false",):
            return False
        if not words or words[0] not in {"[", "[[", "test"}:
            return None
        inner = [*words[1:-1]] if words[0] != "test" else [*words[1:]]
        using = self.expansion(empty=True)
        glob = words[0] == "[[" and len(inner) == 3 and inner[2][:1] not in {"'", '"'}
        values = [value for word in inner if (value := self._argument(word, using)) is not None]
        return None if using.unknown else _judge(values, glob=glob)

    def _argument(self, word: str, using: Expansion) -> str | None:
        """Expand a word of a test; an unquoted one that is empty is no word at all."""
        found = expand(word, using)
        return found if found or '"' in word or "'" in word else None

    def branch(self, node: If | Case) -> Sequence | bool | None:
        """Return what runs; None if nothing does, False if that is not known."""
        if isinstance(node, Case):
            return self._arm(node)
        for condition, body in node.branches:
            found = self.holds(condition)
            if found is None:
                return False
            if found:
                return body
        return node.otherwise

    def _arm(self, node: Case) -> Sequence | bool | None:
        using = self.expansion(empty=True)
        value = expand(node.word, using)
        for patterns, body in node.arms:
            wanted = [expand(each, using) for each in patterns]
            if using.unknown:
                return False
            if any(fnmatch.fnmatchcase(value, each) for each in wanted):
                return body
        return None


def _judge(values: list[str], *, glob: bool) -> bool | None:
    match values:
        case ["!", *rest] if rest[:1] != ["!"]:
            inner = _judge(rest, glob=glob)
            return None if inner is None else not inner
        case []:
            return False
        case [one]:
            return bool(one)
        case ["-n", one]:
            return bool(one)
        case ["-z", one]:
            return not one
        case [one, "=" | "==", other]:
            return fnmatch.fnmatchcase(one, other) if glob else one == other
        case [one, "!=", other]:
            return not fnmatch.fnmatchcase(one, other) if glob else one != other
        case [one, operator, other] if operator in _COMPARISONS:
            return _compare(one, operator, other)
    return None


def _compare(one: str, operator: str, other: str) -> bool | None:
    try:
        difference = int(one) - int(other)
    except ValueError:
        return None
    return {
        "-eq": difference == 0, "-ne": difference != 0, "-lt": difference < 0,
        "-le": difference <= 0, "-gt": difference > 0, "-ge": difference >= 0,
    }[operator]  # fmt: skip


def _stages(words: tuple[str, ...]) -> list[list[str]]:
    stages: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            stages.append([])
        else:
            stages[-1].append(word)
    return stages if all(stages) else [["?"]]


def _cut(arguments: list[str], given: str) -> str | None:
    text = " ".join(arguments)
    match = re.fullmatch(r"-d ?(.) -f ?([0-9,-]+)|-f ?([0-9,-]+) -d ?(.)", text)
    if match is None:
        return None
    separator, chosen = match[1] or match[4], match[2] or match[3]
    fields = given.split(separator)
    numbers = {number for part in chosen.split(",") for number in _range(part, len(fields))}
    return separator.join(each for number, each in enumerate(fields, 1) if number in numbers)


def _range(part: str, most: int) -> range:
    first, dash, last = part.partition("-")
    low = int(first) if first else 1
    return range(low, (int(last) if last else most) + 1 if dash else low + 1)


def _tr(arguments: list[str], given: str) -> str | None:
    match arguments:
        case ["-d", signs] if "-" not in signs and "[" not in signs:
            return "".join(each for each in given if each not in signs)
        case [one, other] if len(one) == len(other) == 1:
            return given.replace(one, other)
    return None


def _sed(arguments: list[str], given: str) -> str | None:
    """Answer ``s/TEXT/TEXT/g`` whose pattern is plain but for an escaped dot."""
    arguments = [each for each in arguments if each not in {"-e", "-E", "-r"}]
    plain = re.compile(r"s([/|,#])((?:\\\.|[\w-])+)\1([\w.-]*)\1(g?)")
    match = plain.fullmatch(arguments[0]) if len(arguments) == 1 else None
    if match is None:
        return None
    count = 0 if match[4] else 1
    return re.sub(match[2], lambda _: match[3], given, count=count)


_FILTERS = {"cut": _cut, "tr": _tr, "sed": _sed}
