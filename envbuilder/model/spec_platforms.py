"""The platforms that a spec file names: one spec for each, and all under one name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import UsageError
from .spec_words import PLATFORMS, Platform

if TYPE_CHECKING:
    from .yaml_document import Document

KEY = "platform"


def platforms(document: Document) -> tuple[Platform | None, ...]:
    """Return for which platforms ``document`` is to be read, one after the other.

    Those are all that it names, in the order of PLATFORMS; None alone where it names one, which
    need not be said. Raises SpecError for a list that is not one of distinct platforms.
    """
    named = _listed(document)
    return named if len(named) > 1 else (None,)


def one_platform(document: Document, wanted: Platform | None) -> dict[str, Any]:
    """Return what stands for the document's list of platforms in the spec of ``wanted``.

    Raises UsageError if it names several and none is wanted, or another one.
    """
    named = _listed(document)
    if wanted is None and len(named) > 1:
        raise UsageError(
            f"{document.path} is for several platforms ({', '.join(named)}), and this takes one",
            hint="copy the spec under another name, with one platform",
        )
    if wanted is not None and wanted not in named:
        raise document.error((KEY,), f"{wanted} is none of the platforms")
    return {KEY: wanted or named[0]} if named else {}


def _listed(document: Document) -> tuple[Platform, ...]:
    """Return the listed platforms; none where there is no list."""
    found = document.value.get(KEY)
    if not isinstance(found, list):
        return ()
    if not found:
        raise document.error((KEY,), f"{KEY}: expected one platform or more", hint=_hint())
    for number, name in enumerate(found):
        if name not in PLATFORMS:
            message = f"{KEY}: expected one of {', '.join(PLATFORMS)}, found {name!r}"
            raise document.error((KEY, number), message)
        if name in found[:number]:
            raise document.error((KEY, number), f"{KEY} has {name} twice", hint="list it once")
    return tuple(each for each in PLATFORMS if each in found)


def _hint() -> str:
    return f"{KEY}: [{', '.join(PLATFORMS)}]"
