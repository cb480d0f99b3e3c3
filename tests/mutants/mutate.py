"""Every small mutation of a Python text: one operator, one constant, one guard at a time.

Positions come from the syntax tree, changes are made in the text: what stays is byte for byte what
was there, and a mutation can be shown as one line before and after.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}
_ARITHMETIC = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "+"),
    ast.BitOr: (r"\|", "&"),
    ast.BitAnd: ("&", "|"),
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mutation:
    """Bytes ``start`` to ``end`` of a module's text become ``new``; ``line`` counts from 1."""

    module: str
    line: int
    start: int
    end: int
    new: str

    def apply(self, text: bytes) -> bytes:
        """Return the mutated text."""
        return text[: self.start] + self.new.encode() + text[self.end :]

    def shown(self, text: bytes) -> tuple[str, str]:
        """Return the line before and after, without what indents it."""
        before, after = text.splitlines(), self.apply(text).splitlines()
        return tuple(each[self.line - 1].decode().strip() for each in (before, after))


def mutations(module: str, text: bytes) -> list[Mutation]:
    """List the mutations of ``text``, in its order; types, docstrings and messages stay."""
    return sorted(set(_Finder(module, text).found()))


class _Finder:
    def __init__(self, module: str, text: bytes) -> None:
        self._module = module
        self._text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def found(self) -> Iterator[Mutation]:
        for node in _code(ast.parse(self._text)):
            yield from self._operators(node)
            match node:
                case ast.Constant(value=bool()):
                    yield self._whole(node, str(not node.value))
                case ast.Constant(value=int()):
                    yield self._whole(node, str(node.value + 1))
                case ast.If(body=[ast.Raise()]):
                    yield self._whole(node.test, "False")

    def _operators(self, node: ast.AST) -> Iterator[Mutation]:
        match node:
            case ast.Compare():
                operands = [node.left, *node.comparators]
                for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
                    yield from self._between(left, right, *_COMPARISONS[type(op)])
            case ast.BoolOp():
                swap = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield from self._between(left, right, *swap)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                yield from self._between(node.left, node.right, *_ARITHMETIC[type(node.op)])
            case ast.UnaryOp(op=ast.Not()):
                yield self._mutation(self._at(node), self._at(node.operand), "", node.lineno)

    def _at(self, node: ast.AST, *, end: bool = False) -> int:
        line, column = (
            (node.end_lineno, node.end_col_offset) if end else (node.lineno, node.col_offset)
        )
        return self._starts[line - 1] + column

    def _mutation(self, start: int, end: int, new: str, line: int) -> Mutation:
        return Mutation(module=self._module, line=line, start=start, end=end, new=new)

    def _whole(self, node: ast.AST, new: str) -> Mutation:
        return self._mutation(self._at(node), self._at(node, end=True), new, node.lineno)

    def _between(self, left: ast.AST, right: ast.AST, old: str, new: str) -> Iterator[Mutation]:
        """Change the operator that stands between two operands."""
        start, end = self._at(left, end=True), self._at(right)
        operator = re.search(rf"(?<!\w){old}(?!\w)".encode(), self._text[start:end])
        if operator is not None:  # a comment between them may hold anything
            line = self._text.count(b"\n", 0, start + operator.start()) + 1
            yield self._mutation(start + operator.start(), start + operator.end(), new, line)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Walk over what runs: no annotations, no options of classes, no messages of what is raised."""
    yield node
    skipped = {"annotation", "returns", "decorator_list"}
    if isinstance(node, ast.ClassDef):
        skipped.add("keywords")
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return
    for name, value in ast.iter_fields(node):
        if name not in skipped:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _code(child)
