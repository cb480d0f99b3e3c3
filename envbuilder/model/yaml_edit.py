"""Edit a YAML document in place: every byte stays but those of the scalar that changes.

A YAML library that loads and dumps loses comments, quotes, anchors and layout. So the text itself
is edited, at the marks that PyYAML's scanner gives (they count characters, and a CRLF counts as
two). What is written is read back, and stands only if it means what was wanted and nothing else.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from .errors import SpecError, UsageError
from .yaml_document import Document, KeyPath, parse_document

_BLOCK_STYLES = {"|", ">"}


def set_scalar(document: Document, path: KeyPath, value: str) -> Document:
    """Change the scalar at ``path`` to the string ``value``, in its own style where that can hold.

    An anchor stays on the scalar, so its aliases change with it; an alias is replaced by the value.
    Raises SpecError if there is no scalar at ``path``, UsageError if YAML cannot hold
    ``value``.
    """
    token = _value_token(document, path)
    replaced = isinstance(token, yaml.AliasToken)
    node = document.nodes[path]
    wanted = copy.deepcopy(document.value)
    for at, other in document.nodes.items():
        if at == path or (other is node and not replaced):
            _parent(wanted, at)[at[-1]] = value
    return _first_that_means(document, wanted, _spellings(document.text, token, value))


def rename_key(document: Document, path: KeyPath, key: str) -> Document:
    """Change the key at ``path`` (``tag`` to ``commit``); its value stays.

    Raises SpecError if there is no such key or the new one exists already.
    """
    node = document.keys.get(path)
    if node is None:
        raise document.error(path, f"there is no key {_dotted(path)}")
    if (*path[:-1], key) in document.keys:
        raise document.error(path, f"{_dotted(path[:-1])} has a key {key!r} already")
    wanted = copy.deepcopy(document.value)
    for at in _everywhere(document, path):
        parent = _parent(wanted, at)
        parent[key] = parent.pop(at[-1])
    token = _token_ending(document, node.end_mark.index)
    return _first_that_means(document, wanted, _spellings(document.text, token, key))


def insert_key(document: Document, before: KeyPath, key: str, value: str) -> Document:
    """Write a new entry ``key: value`` in front of the entry at ``before``, in its layout.

    Raises SpecError if there is no such entry or the new key exists already.
    """
    node = document.keys.get(before)
    if node is None:
        raise document.error(before, f"there is no key {_dotted(before)}")
    if (*before[:-1], key) in document.keys:
        raise document.error(before, f"{_dotted(before[:-1])} has a key {key!r} already")
    wanted = copy.deepcopy(document.value)
    for at in _everywhere(document, before):
        _parent(wanted, at)[key] = value
    start = node.start_mark
    newline = "\r\n" if "\r\n" in document.text else "\n"
    flow = ", "
    block = newline + " " * start.column
    texts = (
        document.text[: start.index] + f"{key}: {scalar}{between}" + document.text[start.index :]
        for scalar in (value, _double_quoted(value))
        for between in (block, flow)
    )
    return _first_that_means(document, wanted, texts)


def _value_token(document: Document, path: KeyPath) -> yaml.Token:
    """Find the scanner's token of the value at ``path``: a scalar, or an alias of one."""
    key = document.keys.get(path)
    node = document.nodes.get(path)
    if key is None or not isinstance(node, yaml.ScalarNode):
        raise document.error(path, f"there is no plain value {_dotted(path)} to change")
    tokens = list(yaml.scan(document.text, Loader=yaml.SafeLoader))
    behind = [token for token in tokens if token.start_mark.index >= key.end_mark.index]
    kinds = (yaml.ScalarToken, yaml.AliasToken)
    found: yaml.Token = next(token for token in behind if isinstance(token, kinds))
    return found


def _token_ending(document: Document, index: int) -> yaml.Token:
    found: yaml.Token = next(
        token
        for token in yaml.scan(document.text, Loader=yaml.SafeLoader)
        if isinstance(token, yaml.ScalarToken) and token.end_mark.index == index
    )
    return found


def _spellings(text: str, token: yaml.Token, value: str) -> Iterator[str]:
    """Yield the text with ``value`` in place of ``token``: in the token's style, then quoted."""
    start, end = token.start_mark.index, token.end_mark.index
    style = token.style if isinstance(token, yaml.ScalarToken) else None
    if style in _BLOCK_STYLES:
        # The header line may hold a comment; the text ends before the line breaks that follow it.
        header = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)\s*").match(text, start, end)
        end = start + len(text[start:end].rstrip("\r\n"))
        start = header.end() if header is not None else start
        yield text[:start] + value + text[end:]
        return
    spelled = {"'": _single_quoted(value), '"': _double_quoted(value)}
    if style in spelled:
        yield text[:start] + spelled[style] + text[end:]
    else:
        yield text[:start] + value + text[end:]
    yield text[:start] + spelled['"'] + text[end:]


def _single_quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _double_quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON's strings are YAML's, where printable


def _first_that_means(document: Document, wanted: Any, texts: Iterator[str]) -> Document:  # noqa: ANN401 - YAML holds anything
    """Return the first of ``texts`` that reads back as ``wanted``."""
    for text in texts:
        try:
            edited = parse_document(document.path, text)
        except SpecError:
            continue
        if edited.value == wanted:
            return edited
    raise UsageError(f"{document.path} cannot hold that value in YAML", hint="edit it by hand")


def _everywhere(document: Document, path: KeyPath) -> list[KeyPath]:
    """List the paths that lead to this entry: several, where aliases share its mapping."""
    parent = document.nodes[path[:-1]]
    return [(*at, path[-1]) for at, node in document.nodes.items() if node is parent]


def _parent(value: Any, path: KeyPath) -> Any:  # noqa: ANN401 - YAML holds anything
    for part in path[:-1]:
        value = value[part]
    return value


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)
