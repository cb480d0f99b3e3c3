"""What evidence an image must have: a small YAML file, read strictly.

::

    key: cosign.pub                       # beside this file, env://NAME, or awskms://…
    required: [test-result, provenance]   # also: sbom, signature
    max_age_days: 30
    checks: [tokens, environment]         # smoke checks that must have passed
    builders: [https://ci.example.com/1]  # whose provenance counts

While one key takes over from another, ``keys`` stands in place of ``key``: a list of keys, or of
``{key: old.pub, until: 2026-07-01}``, whose statements of a later date no longer count.

Beside keys, or in their place, ``identities`` are those whom Sigstore certifies::

    identities:
      - identity: https://github.com/acme/envs/.github/workflows/build.yml@refs/heads/main
        issuer: https://token.actions.githubusercontent.com
        trust_root: trusted_root.json     # without it, that of Sigstore's public instance

``timestamp_authority: tsa.pem`` lets count only what keys have signed if that authority stamped it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from envbuilder.evidence.identities import TrustedIdentity, read_root
from envbuilder.evidence.keyring import Keyring, TrustedKey
from envbuilder.evidence.keys import read_public
from envbuilder.evidence.statements import NAMES
from envbuilder.evidence.timestamps import read_authority
from envbuilder.model.codec import convert
from envbuilder.model.errors import SpecError
from envbuilder.model.yaml_document import Document, KeyPath, read_document

SIGNATURE = "signature"
KINDS = (*NAMES, SIGNATURE)
Kind = Literal["provenance", "sbom", "test-result", "signature"]
Source = Annotated[str, Meta(min_length=1)]
_MOST_DAYS = 36500  # a hundred years: no clock runs over
_STARTER = "a policy says, for one: required: [test-result, provenance]"
_EXPECTED = {
    "key": "a file or env://NAME",
    "keys": "a list of files, env://NAME, or {key: …, until: DATE}",
    "required": f"a list of evidence, of {', '.join(KINDS)}",
    "max_age_days": f"a number of days, 1 to {_MOST_DAYS}",
    "checks": "a list of names",
    "builders": "a list of URIs",
    "identities": "a list of {identity: …, issuer: …}",
    "timestamp_authority": "a PEM file of certificates",
}
_INNER = {"keys": ("key", "until"),
    "identities": ("identity", "identity_regexp", "issuer", "trust_root", "until")}  # fmt: skip
_PATH = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class RetiringKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ``key`` whose statements count up to the moment ``until`` (a date, or RFC 3339)."""

    key: Source
    until: str


class Identity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whoever ``issuer`` calls just so, or by a name that a regular expression matches wholly.

    ``trust_root`` is a file; what is signed after ``until`` (a date, or RFC 3339) does not count.
    """

    issuer: Source
    identity: str = ""
    identity_regexp: str = ""
    trust_root: str = ""
    until: str = ""


class Policy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``required`` are names of evidence; ``key`` or ``keys`` are files or ``env://NAME``.

    ``timestamp_authority`` is the file of the authority that must have stamped what keys sign.
    """

    required: Annotated[tuple[Kind, ...], Meta(min_length=1)] = ("test-result",)
    key: str = ""
    keys: tuple[Source | RetiringKey, ...] = ()
    max_age_days: Annotated[int, Meta(ge=1, le=_MOST_DAYS)] | None = None
    checks: tuple[str, ...] = ()
    builders: tuple[Source, ...] = ()
    identities: tuple[Identity, ...] = ()
    timestamp_authority: str = ""


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
    """Read whom the policy in ``path`` trusts; None if it names nobody.

    Raises UsageError for a key or certificate that cannot be read, NetworkError where a trusted
    root is not to be had, MissingToolError where identities and time stamps need the extra.
    """
    stamped = policy.timestamp_authority
    clock = read_authority(path.parent / stamped) if stamped else None
    named = [*([policy.key] if policy.key else []), *policy.keys]
    keys = [
        TrustedKey(key=read_public(_beside(each, path)), clock=clock)
        if isinstance(each, str)
        else TrustedKey(
            key=read_public(_beside(each.key, path)), until=_moment(each.until), clock=clock
        )
        for each in named
    ]
    identities = _identities(policy, path)
    return Keyring(keys=tuple(keys), identities=identities) if keys or identities else None


def _identities(policy: Policy, path: Path) -> tuple[TrustedIdentity, ...]:
    files = {each.trust_root for each in policy.identities}
    roots = {name: read_root(path.parent / name if name else None) for name in files}
    return tuple(
        TrustedIdentity(
            identity=each.identity,
            pattern=re.compile(each.identity_regexp) if each.identity_regexp else None,
            issuer=each.issuer,
            root=roots[each.trust_root],
            until=_moment(each.until),
        )
        for each in policy.identities
    )


def _beside(source: str, path: Path) -> str:
    return source if "://" in source else str(path.parent / source)


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
        known = ", ".join(_INNER[str(path[0])] if path else _EXPECTED)
        return document.error((*path, unknown[1]), f"unknown key {unknown[1]!r}; known are {known}")
    value = _value(document.value, path)
    if path and path[0] == "required" and len(path) > 1:
        return document.error(path, f"unknown evidence {value!r}; known are {', '.join(KINDS)}")
    if missing := re.search(r"missing required field `(.*)`", message):
        return document.error(path, f"lacks {missing[1]}")
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
    if policy.timestamp_authority and not (policy.key or policy.keys):
        what = "is about what keys sign, and none is named: identities bring a signed time along"
        raise document.error(("timestamp_authority",), what)
    for number, each in enumerate(policy.keys):
        if isinstance(each, RetiringKey):
            _check_date(document, ("keys", number, "until"), each.until)
    for number, who in enumerate(policy.identities):
        _check_identity(document, ("identities", number), who)
    if policy.checks and "test-result" not in policy.required:
        raise document.error(("checks",), "only a test-result tells of checks: require it too")
    if policy.builders and "provenance" not in policy.required:
        raise document.error(("builders",), "only provenance tells of builders: require it too")
    if policy.max_age_days is not None and set(policy.required) == {SIGNATURE}:
        what = f"a signature has no date: require one of {', '.join(NAMES)} too"
        raise document.error(("max_age_days",), what)


def _check_identity(document: Document, place: KeyPath, who: Identity) -> None:
    if bool(who.identity) == bool(who.identity_regexp):
        raise document.error(place, "expected either identity or identity_regexp")
    try:
        re.compile(who.identity_regexp)
    except re.error as error:
        what = f"is no regular expression: {error}"
        raise document.error((*place, "identity_regexp"), what) from None
    if who.until:
        _check_date(document, (*place, "until"), who.until)


def _check_date(document: Document, place: KeyPath, text: str) -> None:
    if _moment(text) is None:
        raise document.error(place, f"expected a date such as 2026-07-01, not {text!r}")
