"""A document of JSON spoilt in every member: what a stranger may write, of any type."""

import json
from collections.abc import Iterator
from typing import Any

JUNK = (
    "null", "true", "100000000000000000", "1e999", '"x"', '"\\ud800"', "[]", "[1]", "{}",
    "[" * 900 + "]" * 900,
)  # fmt: skip
"""Values by their spelling: of every type, and those that break a reader of the right type."""


def spoilt(document: Any) -> Iterator[bytes]:
    """Yield ``document`` with each member, in turn, left out and replaced by all of JUNK."""
    for path in _paths(document):
        yield _with(document, path, None)
        for junk in JUNK:
            yield _with(document, path, junk)
    yield from (junk.encode() for junk in JUNK)


def _paths(value: Any, above: tuple = ()) -> Iterator[tuple]:
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in members:
        yield (*above, key)
        if isinstance(inner, dict | list):
            yield from _paths(inner, (*above, key))


def _with(document: Any, path: tuple, junk: str | None) -> bytes:
    content = json.loads(json.dumps(document))
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    if junk is None:
        del inner[path[-1]]
        return json.dumps(content).encode()
    inner[path[-1]] = "JUNK"
    return json.dumps(content).replace('"JUNK"', junk).encode()
