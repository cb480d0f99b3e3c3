"""What the probe printed, read as a typed document: an image may print anything.

:func:`read_document` is the one place where it is decoded. What does not fit costs its own job, and
says where; the rest of the document still counts. Texts are cut, bounded in depth and made of
characters that UTF-8 can hold, so that no later stage has to look again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from envbuilder.model.codec import convert

from .job_types import Document, job_type
from .job_types.touched import TouchedFacts
from .probe.job import parted
from .repeated import contradictions
from .touched import Touched, touched_of

LARGEST = 4 << 20
"""Bytes of a document; a whole serving stack with hundreds of samples takes a tenth of it."""
DEEPEST = 12
"""Levels of lists and objects below a job; the probe uses six."""
LONGEST = 20_000
"""Characters of one text; more are cut off."""
MOST_DIGITS = 19
"""Digits of a whole number: no limit of the kernel, no count of tokens or bytes has more."""

Facts = dict[str, Any]


class UnfitError(Exception):
    """Something does not fit; the message says what and where."""


def read_document(text: bytes, *, wanted: Sequence[str]) -> Facts:
    """Return the document in ``text``, with exactly the jobs that were ``wanted``.

    A job that is missing or does not fit has the outcome "missing" or "malformed". ``touched`` is
    a :class:`Touched`, or None where nobody looked. ``problems``
    says what is wrong with the document itself, ``contradictions`` what it states twice in two
    ways. Raises UnfitError if ``text`` is no JSON object at all.
    """
    repeated: list[str] = []
    plain = _json(text, repeated)
    if not isinstance(plain, dict):
        raise UnfitError(f"it is no JSON object but {_named(plain)}")
    head, problems = _head(plain)
    touched, unfitting = _touched(plain.get("touched"))
    problems += unfitting
    jobs = plain.get("jobs")
    if not isinstance(jobs, list):
        problems.append(f"Expected `array`, got `{_named(jobs)}` - at `$.jobs`")
        jobs = []
    taken, strangers = _jobs(jobs, wanted)
    return {
        **head,
        "touched": touched,
        "jobs": taken,
        "problems": [*problems, *strangers],
        "contradictions": [*repeated[:20], *contradictions(taken)],
    }


def read_json(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the JSON value in ``text``, bounded as a document is; raises UnfitError."""
    return clean(_json(text, []))


def _json(text: bytes, repeated: list[str]) -> object:
    if len(text) > LARGEST:
        raise UnfitError(f"it is longer than {LARGEST >> 20} MiB")

    def joined(pairs: list[tuple[str, Any]]) -> Facts:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated.extend(_twice(pairs, found))
        return found

    try:
        return json.loads(
            text,
            parse_constant=lambda _: None,  # NaN, which Python writes and JSON does not know
            parse_int=_whole,
            parse_float=_real,
            object_pairs_hook=joined,
        )
    except RecursionError as error:
        raise UnfitError("it is nested too deeply") from error
    except ValueError as error:
        raise UnfitError(f"it is not JSON: {error}") from error


def _twice(pairs: Iterable[tuple[str, Any]], last: Facts) -> Iterable[str]:
    for key, value in pairs:
        if value != last[key]:
            yield f"{_text(key)[:80]!r} is stated twice, in two ways"


def _whole(digits: str) -> object:
    return int(digits) if len(digits.lstrip("-")) <= MOST_DIGITS else _Endless(digits)


def _real(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


class _Endless:
    """A whole number that counts nothing."""

    def __init__(self, digits: str) -> None:
        self.digits = len(digits.lstrip("-"))


def _head(plain: Facts) -> tuple[Facts, list[str]]:
    """Return what the document says beside its jobs; blanks where it does not fit."""
    try:
        cleaned = clean({key: plain[key] for key in plain if key in Document.__struct_fields__})
        fitting = convert(cleaned, Document)
    except (UnfitError, msgspec.ValidationError) as error:
        return msgspec.to_builtins(Document()), [str(error)]
    if fitting.version != 1:
        return msgspec.to_builtins(Document()), [f"its version is {fitting.version}, expected 1"]
    return msgspec.to_builtins(fitting), []


def _touched(plain: object) -> tuple[Touched | None, list[str]]:
    """Return what of the image was touched, if that is told, and what does not fit of it."""
    if plain is None:
        return None, []
    try:
        return touched_of(convert(clean(plain), TouchedFacts)), []
    except (UnfitError, msgspec.ValidationError) as error:
        return None, [f"what a start touches: {error}"]


def _jobs(found: Sequence[object], wanted: Sequence[str]) -> tuple[list[Facts], list[str]]:
    """Return one job for each name in ``wanted``, and what else was there."""
    named: dict[str, Facts] = {}
    strangers = []
    for number, each in enumerate(found):
        name = each.get("name") if isinstance(each, dict) else None
        if not isinstance(name, str) or name not in wanted:
            strangers.append(f"job {number} is none that was asked for")
        elif name in named:
            strangers.append(f"the job {name} is there twice")
            named[name] = unfit(name, "malformed", "it is there twice")
        else:
            named[name] = _fitting(name, each)
    missing = "the probe says nothing of it"
    return [named.get(name) or unfit(name, "missing", missing) for name in wanted], strangers[:20]


def _fitting(name: str, plain: object) -> Facts:
    try:
        cleaned: Facts = clean(plain)
        typed = convert(cleaned, job_type(parted(name)[0]))
    except (UnfitError, msgspec.ValidationError) as error:
        return unfit(name, "malformed", f"what it reported does not fit: {error}")
    whole: Facts = _filled(cleaned, msgspec.to_builtins(typed))
    return whole


def _filled(said: Any, typed: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return ``said`` with the defaults of ``typed``, its typed form, where it leaves keys out.

    A job may say more than its type knows, so the typed form alone would lose something.
    """
    if isinstance(said, list):
        return [_filled(*both) for both in zip(said, typed, strict=True)]
    if isinstance(said, dict):
        return {**typed, **{key: _filled(said[key], typed.get(key, said[key])) for key in said}}
    return said


def unfit(name: str, outcome: str, why: str) -> Facts:
    """Return the job ``name`` with nothing in it, because of ``why``."""
    return {
        "name": name,
        "outcome": outcome,
        "seconds": 0.0,
        "facts": {},
        "items": [],
        "doing": None,
        "failure": {"kind": outcome, "message": why},
        "finished": False,
    }


def clean(value: Any, where: str = "$", depth: int = 0) -> Any:  # noqa: ANN401 - any JSON value
    """Return ``value`` bounded: no deep nesting, no endless numbers, texts that can be written.

    Raises UnfitError for what has no bounded form.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, _Endless):
        raise UnfitError(f"a number of {value.digits} digits - at `{where}`")
    if not isinstance(value, (dict, list)):
        return value
    if depth >= DEEPEST:
        raise UnfitError(f"more than {DEEPEST} levels of lists and objects - at `{where}`")
    if isinstance(value, list):
        return [clean(each, f"{where}[{at}]", depth + 1) for at, each in enumerate(value)]
    return {
        _text(key)[:200]: clean(each, f"{where}.{_text(key)[:80]}", depth + 1)
        for key, each in value.items()
    }


_LONE = re.compile("[\ud800-\udfff]")


def _text(text: str) -> str:
    whole = _LONE.sub("\N{REPLACEMENT CHARACTER}", text)
    return whole if len(whole) <= LONGEST else whole[:LONGEST] + "…"


def _named(value: object) -> str:
    """Return what JSON calls the kind of ``value``."""
    kinds: Mapping[type, str] = {dict: "object", list: "array", str: "str", bool: "bool"}
    return "null" if value is None else kinds.get(type(value), "number")
