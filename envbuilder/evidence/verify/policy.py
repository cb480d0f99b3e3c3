"""What evidence an image must have: a small YAML file, read strictly.

::

    key: cosign.pub                       # beside this file, or env://NAME
    required: [test-result, provenance]   # also: sbom, signature
    max_age_days: 30
    checks: [tokens, environment]         # smoke checks that must have passed
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from envbuilder.evidence.statements import NAMES
from envbuilder.model.yaml_document import Document, read_document

SIGNATURE = "signature"
KINDS = (*NAMES, SIGNATURE)
_STARTER = "a policy says, for one: required: [test-result, provenance]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``required`` are names of evidence, ``key`` is a file or ``env://NAME``, empty if not set."""

    required: tuple[str, ...] = ("test-result",)
    key: str = ""
    max_age_days: int | None = None
    checks: tuple[str, ...] = ()


def read_policy(path: Path) -> Policy:
    """Read a policy; raise SpecError with file, line and column where it does not fit."""
    document = read_document(path, starter=_STARTER)
    values: dict[str, Any] = dict(document.value)
    known = [field.name for field in fields(Policy)]
    for name in values:
        if name not in known:
            raise document.error((name,), f"unknown key {name!r}; known are {', '.join(known)}")
    for name in ("required", "checks"):
        if name in values:
            values[name] = _names(document, name, values[name])
    for number, kind in enumerate(values.get("required", ())):
        if kind not in KINDS:
            raise document.error(
                ("required", number), f"unknown evidence {kind!r}; known are {', '.join(KINDS)}"
            )
    age = values.get("max_age_days")
    if age is not None and (not isinstance(age, int) or isinstance(age, bool) or age < 1):
        raise document.error(("max_age_days",), f"expected a number of days, not {age!r}")
    key = values.get("key", "")
    if not isinstance(key, str):
        raise document.error(("key",), f"expected a file or env://NAME, not {key!r}")
    if key and not key.startswith("env://"):
        values["key"] = str(path.parent / key)
    policy = Policy(**values)
    _check(document, policy)
    return policy


def _check(document: Document, policy: Policy) -> None:
    """Refuse rules that no required evidence could break: such a policy would hold nothing."""
    if not policy.required:
        raise document.error(("required",), f"expected one of {', '.join(KINDS)} at least")
    if policy.checks and "test-result" not in policy.required:
        raise document.error(("checks",), "only a test-result tells of checks: require it too")
    if policy.max_age_days is not None and set(policy.required) == {SIGNATURE}:
        what = f"a signature has no date: require one of {', '.join(NAMES)} too"
        raise document.error(("max_age_days",), what)


def _names(document: Document, name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise document.error((name,), f"expected a list of names, not {value!r}")
    return tuple(value)
