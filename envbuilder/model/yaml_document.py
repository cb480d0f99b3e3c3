"""A YAML document as plain values, with the place of every node kept.

``yaml.safe_load`` forgets where things stood, lets the last of two equal keys win and expands
aliases without bound. This reader keeps PyYAML's safe constructors and its marks, and refuses
the rest. Places serve error messages here, and in-place edits in ``bump``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 1_000_000
MAX_NODES = 50_000  # what an alias bomb reaches at once and no spec ever does
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_PLACES = 100
MAX_DEPTH = 32
STARTER = "envbuilder init NAME writes a starter spec"
_LONG = 80  # characters

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The text of one YAML file, its value, and for each path the node that holds it."""

    path: Path
    text: str
    value: Any
    nodes: dict[KeyPath, yaml.Node] = field(repr=False)
    keys: dict[KeyPath, yaml.Node] = field(repr=False)

    def place(self, path: KeyPath) -> str:
        """Name a place as ``file:line:column``, of the nearest node that exists."""
        while path and path not in self.nodes:
            path = path[:-1]
        node = self.keys.get(path) or self.nodes.get(path)
        if node is None:
            return str(self.path)
        return _place(self.path, node.start_mark)

    def error(self, path: KeyPath, message: str, *, hint: str = "") -> SpecError:
        """Make the SpecError for ``message`` at ``path``."""
        return SpecError(f"{self.place(path)}: {message}", hint=hint)


def excerpt(text: str) -> str:
    """Cut ``text`` to what a line of a message holds."""
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def read_document(path: Path, *, starter: str = STARTER) -> Document:
    """Read one YAML mapping from ``path``; ``starter`` is the hint if there is nothing yet.

    Raises SpecError with file, line and column for: a file that is missing, larger than 1 MB, not
    UTF-8, empty, not YAML, not a mapping, with a duplicate key, a key that is no string, or
    aliases that expand without bound.
    """
    return parse_document(path, _read_text(path, starter), starter=starter)


def parse_document(path: Path, text: str, *, starter: str = STARTER) -> Document:
    """Read the text of ``path``, which need not be on disk; raises as :func:`read_document`."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _syntax_error(path, text, error) from error
    except RecursionError as error:
        raise SpecError(f"{path}: nested too deeply") from error
    if root is None:
        raise SpecError(f"{path} is empty", hint=starter)
    if not isinstance(root, yaml.MappingNode):
        raise SpecError(f"{_place(path, root.start_mark)}: expected a mapping of keys to values")
    reader = _Reader(path)
    value = reader.value(root, ())
    return Document(path=path, text=text, value=value, nodes=reader.nodes, keys=reader.keys)


class _Reader:
    """Walk a composed node tree once: values, places, and the checks that YAML leaves out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes: dict[KeyPath, yaml.Node] = {}
        self.keys: dict[KeyPath, yaml.Node] = {}
        self._constructor = yaml.SafeLoader("")

    def value(self, node: yaml.Node, at: KeyPath) -> Any:  # noqa: ANN401 - YAML holds anything
        if len(self.nodes) >= MAX_NODES or len(at) > MAX_DEPTH:
            place = _place(self.path, node.start_mark)
            raise SpecError(f"{place}: aliases or nesting expand to more than a spec can hold")
        self.nodes[at] = node
        if isinstance(node, yaml.MappingNode):
            return {key: self.value(child, (*at, key)) for key, child in self._pairs(node, at)}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*at, index)) for index, child in enumerate(node.value)]
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value  # the text as written: a moment keeps its offset and its digits
        try:
            if node.tag in _NUMBERS and node.value.count(":") > _PLACES:
                raise ValueError("a number to the base of sixty that takes long to read")
            value = self._constructor.construct_object(node)
            repr(value)  # Python refuses to write a number of many thousand digits
        except (yaml.YAMLError, ValueError, LookupError, OverflowError) as error:
            place = _place(self.path, node.start_mark)
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            message = f"{excerpt(node.value)!r} is not a plain value: YAML takes it for {kind}"
            raise SpecError(f"{place}: {message}", hint="quote it, without a tag") from error
        return value

    def _pairs(self, node: yaml.MappingNode, at: KeyPath) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, yaml.Node] = {}
        for key_node, child in node.value:
            key = key_node.value
            place = _place(self.path, key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError(f"{place}: a key must be a plain string, not a list or a mapping")
            if key_node.tag == "tag:yaml.org,2002:merge":
                hint = "write the keys out"
                raise SpecError(f"{place}: merge keys (<<) are not read", hint=hint)
            if key_node.tag != "tag:yaml.org,2002:str":
                key = excerpt(key)
                hint = f'quote it: "{key}":'
                raise SpecError(f"{place}: the key {key!r} is not a plain string", hint=hint)
            if key in seen:
                first = f"first on line {seen[key].start_mark.line + 1}"
                raise SpecError(f"{place}: the key {excerpt(key)!r} stands twice ({first})")
            seen[key] = key_node
            self.keys[(*at, key)] = key_node
            yield key, child


def _read_text(path: Path, starter: str) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        hint = starter if missing else "name a readable YAML file"
        raise SpecError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    if len(data) > MAX_BYTES:
        raise SpecError(f"{path} is larger than {MAX_BYTES:,} bytes, which no spec needs")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        place = _place_after(path, data[: error.start].decode())
        raise SpecError(f"{place}: not UTF-8: the byte 0x{data[error.start]:02x}") from error


def _syntax_error(path: Path, text: str, error: yaml.YAMLError) -> SpecError:
    if isinstance(error, yaml.reader.ReaderError):
        place = _place_after(path, text[: error.position])
        return SpecError(f"{place}: the character U+{error.character:04X} is not allowed in YAML")
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    place = _place(path, mark) if mark is not None else str(path)
    hint = "look there and one line above for a missing quote, bracket or indentation"
    if "'\\t'" in problem:
        hint = "indent with spaces, YAML allows no tabs there"
    return SpecError(f"{place}: not valid YAML: {problem}", hint=hint)


def _place(path: Path, mark: yaml.Mark) -> str:
    return f"{path}:{mark.line + 1}:{mark.column + 1}"


def _place_after(path: Path, before: str) -> str:
    """Name the place that the text ``before`` leads to."""
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"{path}:{line}:{column}"
