"""The YAML of a spec that was put together: each value with where it comes from behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from envbuilder.model.yaml_document import KeyPath

from .fold import Findings
from .statements import Statement

_ORDER = (
    "platform", "python", "base", "system", "packages", "overrides", "constraints", "index",
    "build", "files", "env", "labels", "user", "workdir", "entrypoint", "cmd", "expose",
    "healthcheck", "volumes", "stop_signal", "shell",
)  # fmt: skip
_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9/_.+-]*")
_WORDS_OF_YAML = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
_SHOWN = 400  # statements that the file lists


def write_spec(name: str, source: str, found: Findings) -> str:
    """Return the text of the spec ``name``, with what did not come in at its end."""
    count = f"{len(found.statements) - len(found.left)} of {len(found.statements)} statements"
    lines = [f"# From {_comment(source)}: {count} came in."]
    if found.left:
        lines.append("# The others are listed at the end, each with the reason.")
    lines += ["version: 1", f"name: {name}"]
    above = frozenset(at[:depth] for at in found.origins for depth in range(1, len(at)))
    for key in _ORDER:
        if key in found.spec:
            lines += _entry(_Told(found.origins, above), (key,), found.spec[key], 0)
    lines.append("bytecode: true # the packages' modules are compiled once, not at every start")
    lines += _left_lines(found.left)
    return "\n".join(lines) + "\n"


class _Told(NamedTuple):
    """Where each value came from, and the paths ``above`` those that came from somewhere."""

    origins: Mapping[KeyPath, str]
    above: frozenset[KeyPath]


def _entry(told: _Told, path: KeyPath, value: Any, depth: int) -> Iterator[str]:  # noqa: ANN401
    indent, key = "  " * depth, _scalar(str(path[-1]))
    inner = path in told.above
    if isinstance(value, dict) and (inner or not value):
        yield f"{indent}{key}:" + ("" if value else " {}")
        for name, item in value.items():
            yield from _entry(told, (*path, name), item, depth + 1)
    elif isinstance(value, list) and inner:
        yield f"{indent}{key}:"
        for number, item in enumerate(value):
            yield f"{indent}  - {_flow(item)}{_behind(told.origins, (*path, number))}"
    else:
        yield f"{indent}{key}: {_flow(value)}{_behind(told.origins, path)}"


def _behind(origins: Mapping[KeyPath, str], path: KeyPath) -> str:
    origin = origins.get(path)
    return f" # {_comment(origin)}" if origin else ""


def _flow(value: Any) -> str:  # noqa: ANN401 - YAML holds anything
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(str(k))}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value) if isinstance(value, str) else json.dumps(value)


def _scalar(text: str) -> str:
    """Write a string plainly where YAML reads it as one, else in quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _comment(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _left_lines(statements: tuple[Statement, ...]) -> Iterator[str]:
    if not statements:
        return
    yield ""
    yield "# What did not come in:"
    for each in statements[:_SHOWN]:
        yield f"# {_comment(each.at.place)}: {each.at.shown}"
        yield f"#   {_comment(' '.join(each.left.split()))}"
    if len(statements) > _SHOWN:
        yield f"# … and {len(statements) - _SHOWN} more"
