"""What evidence an image must have: a small YAML file, read strictly.

::

    key: cosign.pub                       # beside this file, or env://NAME
    required: [test-result, provenance]   # also: sbom, signature
    max_age_days: 30
    checks: [tokens, environment]         # smoke checks that must have passed
    builders: [https://ci.example.com/1]  # whose provenance counts

While one key takes over from another, ``keys`` stands in place of ``key``: a list of keys, or of
``{key: old.pub, until: 2026-07-01}``, whose statements of a later date no longer count.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from envbuilder.evidence.keyring import Keyring, TrustedKey
from envbuilder.evidence.keys import read_public
from envbuilder.evidence.statements import NAMES
from envbuilder.model.codec import convert
from envbuilder.model.errors import SpecError
from envbuilder.model.yaml_document import Document, KeyPath, read_document

SIGNATURE = "signature"
KINDS = (*NAMES, SIGNATURE)
Kind = Literal["provenance", "sbom", "test-result", "signature"]
Source = Annotated[str, Meta(min_length=1)]
_STARTER = "a policy says, for one: required: [test-result, provenance]"
_EXPECTED = {
    "key": "a file or env://NAME",
    "keys": "a list of files, env://NAME, or {key: …, until: DATE}",
    "required": f"a list of evidence, of {', '.join(KINDS)}",
    "max_age_days": "a number of days, 1 or more",
    "checks": "a list of names",
    "builders": "a list of URIs",
}
_PATH = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class RetiringKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``key`` whose statements count up to the moment ``until`` (a date, or RFC 3339)."""

    key: Source
    until: str


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``required`` are names of evidence; ``key`` or ``keys`` are files or ``env://NAME``."""

    required: Annotated[tuple[Kind, ...], Meta(min_length=1)] = ("test-result",)
    key: str = ""
    keys: tuple[Source | RetiringKey, ...] = ()
    max_age_days: Annotated[int, Meta(ge=1)] | None = None
    checks: tuple[str, ...] = ()
    builders: tuple[Source, ...] = ()


def read_policy(path: Path) -> Policy:
    """Read a policy; raise SpecError with file, line and column where it does not fit."""
    document = read_document(path, starter=_STARTER)
    try:
        policy: Policy = convert(document.value, Policy)
    except msgspec.ValidationError as error:
        raise _explained(document, str(error)) from None
    _check(document, policy)
    return policy


def read_keyring(policy: Policy, path: Path) -> Keyring | None:
    """Read the keys that the policy in ``path`` names; None if it names none.

    Raises UsageError for a key that cannot be read.
    """
    named = [*([policy.key] if policy.key else []), *policy.keys]
    trusted = [
        TrustedKey(key=read_public(_beside(each, path)))
        if isinstance(each, str)
        else TrustedKey(key=read_public(_beside(each.key, path)), until=_moment(each.until))
        for each in named
    ]
    return Keyring(keys=tuple(trusted)) if trusted else None


def _beside(source: str, path: Path) -> str:
    return source if source.startswith("env://") else str(path.parent / source)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _explained(document: Document, text: str) -> SpecError:
    """Say in words what msgspec says with types, and where."""
    match = _PATH.match(text)
    message, place = (match[1], match[2] or "") if match else (text, "")
    path: KeyPath = tuple(
        name or int(number) for name, number in (step.groups() for step in _STEP.finditer(place))
    )
    if unknown := re.search(r"unknown field `(.*)`", message):
        known = ", ".join(_EXPECTED if not path else ("key", "until"))
        return document.error((*path, unknown[1]), f"unknown key {unknown[1]!r}; known are {known}")
    value = _value(document.value, path)
    if path and path[0] == "required" and len(path) > 1:
        return document.error(path, f"unknown evidence {value!r}; known are {', '.join(KINDS)}")
    expected = _EXPECTED.get(str(path[0]) if path else "", "a mapping")
    return document.error(path, f"expected {expected}, not {value!r}")


def _value(value: Any, path: KeyPath) -> object:  # noqa: ANN401 (YAML holds anything)
    for step in path:
        value = value[step]
    return value


def _check(document: Document, policy: Policy) -> None:
    """Refuse rules that no required evidence could break: such a policy would hold nothing."""
    if policy.key and policy.keys:
        raise document.error(("keys",), "name the keys in key or in keys, not in both")
    for number, each in enumerate(policy.keys):
        if isinstance(each, RetiringKey) and _moment(each.until) is None:
            what = f"expected a date such as 2026-07-01, not {each.until!r}"
            raise document.error(("keys", number, "until"), what)
    if policy.checks and "test-result" not in policy.required:
        raise document.error(("checks",), "only a test-result tells of checks: require it too")
    if policy.builders and "provenance" not in policy.required:
        raise document.error(("builders",), "only provenance tells of builders: require it too")
    if policy.max_age_days is not None and set(policy.required) == {SIGNATURE}:
        what = f"a signature has no date: require one of {', '.join(NAMES)} too"
        raise document.error(("max_age_days",), what)
