"""What msgspec says against a spec, in our words: at its place, with what was expected there."""

from __future__ import annotations

import difflib
import inspect
import re
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import yaml
from msgspec import Struct
from packaging.requirements import InvalidRequirement, Requirement

from .codec import convert
from .errors import SpecError
from .spec import Spec
from .spec_words import IN_WORDS
from .yaml_document import Document, KeyPath, excerpt

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")
_AT = re.compile(r" - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
_PATTERN = re.compile(r"Expected `str` matching regex '(?P<pattern>.*)'$")
_UNQUOTED = re.compile(r"Expected `str[^`]*`, got `(int|float|bool)`$")
_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "bytes": "bytes",
    "null": "nothing",
    "array": "a list",
    "object": "a mapping",
}


def explain(document: Document, text: str) -> SpecError:
    """Turn msgspec's message ``text`` into ours: with a place, and the likely meant name."""
    at = _AT.search(text)
    message = _AT.sub("", text)
    path, kind = _locate(document.value, at["path"] if at else "")
    if at and at["key"]:
        kind, _ = get_args(_option(kind, dict))
        entries = (p for p in document.keys if p[:-1] == path)
        path = next(p for p in entries if not _fits(p[-1], kind))
    dotted = ".".join(str(part) for part in path)
    unknown = _UNKNOWN.match(message)
    if unknown is not None:
        field, known = unknown["field"], list(_members(kind))
        near = difflib.get_close_matches(field, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
        return document.error((*path, field), f"unknown key {excerpt(field)!r}", hint=hint)
    missing = _MISSING.match(message)
    if missing is not None:
        where = f" in {dotted}" if path else ""
        return document.error(path, f"the key {missing['field']!r} is missing{where}")
    found: Any = path[-1] if at and at["key"] else document.nodes[path].value
    if _UNQUOTED.match(message):
        message = _misfit(str(found), kind) or message  # quotes alone would not help
    shown = f", found {excerpt(found)!r}" if found and isinstance(found, str) else ""
    hint = f'quote it: "{excerpt(found)}"' if _UNQUOTED.match(message) else ""
    hint = hint or _shape_hint(dotted, document.nodes[path], message)
    return document.error(path, f"{dotted}: {_humanise(message, kind)}{shown}", hint=hint)


def _shape_hint(dotted: str, node: yaml.Node, message: str) -> str:
    """Show the right shape where a list stands for a mapping, or a text for a list."""
    if "Expected `array" in message and isinstance(node, yaml.ScalarNode) and node.value:
        return f"a list has brackets: [{excerpt(node.value)}]"
    if "Expected `object" not in message or not isinstance(node, yaml.SequenceNode):
        return ""
    items = [each.value for each in node.value if isinstance(each, yaml.ScalarNode)]
    pairs = [pair for pair in map(_as_pair, items) if pair is not None]
    if len(pairs) != len(node.value) or not pairs:
        return ""
    shown = ", ".join(f'{key}: "{value}"' for key, value in pairs)
    return f"a mapping, not a list: {dotted.rsplit('.', maxsplit=1)[-1]}: {{{excerpt(shown)}}}"


def _as_pair(item: str) -> tuple[str, str] | None:
    """Split ``torch==2.6.0`` or ``NAME=value`` into what a mapping would hold."""
    try:
        parsed = Requirement(item)
    except InvalidRequirement:
        key, equals, value = item.partition("=")
        return (key, value) if equals else None
    extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
    return f"{parsed.name}{extras}", str(parsed.specifier) or "*"


def _humanise(message: str, kind: Any) -> str:  # noqa: ANN401 - any type of a spec's
    """Say in words what msgspec says with types and patterns."""
    pattern = _PATTERN.match(message)
    if pattern is not None:
        regex = pattern["pattern"].replace("\\\\", "\\")  # msgspec shows it escaped
        return f"expected {IN_WORDS.get(regex, f'text of the form {regex}')}"
    if message.startswith("Invalid enum value"):
        named = [each for each in _options(kind) if get_origin(each) is Literal]
        choices = [str(choice) for each in named for choice in get_args(each)]
        choices += ["a list"] * any(get_origin(each) is tuple for each in _options(kind))
        return f"expected {'one of ' * (len(choices) > 1)}{', '.join(choices)}"
    for group in re.findall(r"`[^`]*`", message):
        words = (_WORDS.get(name, name) for name in group.strip("`").split(" | "))
        message = message.replace(group, " or ".join(words))
    return message[:1].lower() + message[1:]


def _locate(value: Any, text: str) -> tuple[KeyPath, Any]:  # noqa: ANN401 - YAML holds anything
    """Read msgspec's path (``.packages[...].tag``); give ours, and the type that is wanted there.

    ``[...]`` is some value of a mapping: the first that does not fit.
    """
    path: KeyPath = ()
    kind: Any = Spec
    for name, index in _STEP.findall(text):
        part: str | int
        if name:
            part, kind = name, _members(kind)[name]
        elif index == "...":
            _, kind = get_args(_option(kind, dict))
            part = next(key for key, item in value.items() if not _fits(item, kind))
        else:
            part, kind = int(index), get_args(_option(kind, tuple))[0]
        path, value = (*path, part), value[part]
    return path, kind


def _fits(value: Any, kind: Any) -> bool:  # noqa: ANN401 - YAML holds anything
    return not _misfit(value, kind)


def _misfit(value: Any, kind: Any) -> str:  # noqa: ANN401 - YAML holds anything
    """Return what msgspec says against ``value``, or nothing."""
    try:
        convert(value, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""


def _members(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any type of a spec's
    """List the keys that ``kind`` knows with their types, if it is a struct or may be one."""
    structs = [
        each for each in _options(kind) if inspect.isclass(each) and issubclass(each, Struct)
    ]
    return {
        field.encode_name: field.type for each in structs for field in msgspec.structs.fields(each)
    }


def _option(kind: Any, shape: type) -> Any:  # noqa: ANN401 - any type of a spec's
    """Return what of a union is a mapping (dict) or a list (tuple); what is none of them, as is."""
    return next((each for each in _options(kind) if get_origin(each) is shape), kind)


def _options(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401 - any type of a spec's
    """List what a union is made of; any other type is its own only option."""
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
