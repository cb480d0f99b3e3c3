"""One spec becomes several: each combination of pins, under a name of its own.

A value of an axis is ``PIN``, or several that go together (``python=3.11&base=bookworm``), and
may have a short name in front (``py311:python=3.11&base=bookworm``).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from envbuilder.model.errors import UsageError
from envbuilder.model.spec_file import parse
from envbuilder.model.yaml_document import Document
from envbuilder.model.yaml_edit import set_scalar

from .apply import apply_pins
from .git_pins import AskRefs
from .pins import Pin, parse_pin

_LONGEST = 64
_VALUE = re.compile(r"(?:(?P<label>[a-z0-9-]+):)?(?P<pins>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One combination: its name, and the document with its pins and that name written in."""

    name: str
    document: Document


def expand(
    document: Document, axes: Sequence[Sequence[str]], *, refs: AskRefs
) -> tuple[Variant, ...]:
    """Write every combination of one value per axis (``[["python=3.11", "python=3.12"], …]``).

    Raises UsageError for an axis without values, for a pin that names no version, and for two
    combinations with one name.
    """
    if not all(axes):
        raise UsageError("an axis has no values", hint="--axis 'python=3.11 python=3.12'")
    variants = [_variant(document, texts, refs) for texts in itertools.product(*axes)]
    names = [variant.name for variant in variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two combinations would both be named {', '.join(twice)}")
    return tuple(variants)


def _variant(document: Document, texts: Sequence[str], refs: AskRefs) -> Variant:
    values = [_value(text) for text in texts]
    pins = [pin for _, group in values for pin in group]
    spec = parse(document)
    name = "-".join([spec.name, *(label for label, _ in values)])
    if len(name) > _LONGEST:
        raise UsageError(
            f"the name {name} is longer than {_LONGEST} characters",
            hint="give the values short names of their own: cu124:base=IMAGE",
        )
    edited = apply_pins(document, spec, pins, lock=None, refs=refs).document
    edited = set_scalar(edited, ("name",), name)
    parse(edited)
    return Variant(name=name, document=edited)


def _value(text: str) -> tuple[str, list[Pin]]:
    """Read one value of an axis: the part of the name that it gives, and its pins."""
    match = _VALUE.fullmatch(text)
    assert match is not None  # noqa: S101 - it takes any text
    pins = [parse_pin(part) for part in match["pins"].split("&")]
    for pin in pins:
        if pin.specifier is None and pin.ref is None and pin.value is None:
            raise UsageError(
                f"{pin.name!r} in {text!r} names no version, so it tells no variants apart",
                hint="python=3.12, torch==2.6.0, base=IMAGE or NAME@REF",
            )
    return match["label"] or _slug(match["pins"]), pins


def _slug(text: str) -> str:
    """Make a part of a name: ``torch==2.6.0`` gives ``torch-2-6-0``."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
