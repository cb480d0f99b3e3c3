"""Which pins of an earlier lock are let go."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from packaging.utils import canonicalize_name

from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock, in_build_order
from envbuilder.model.spec import Spec

EVERYTHING = "*"
SYSTEM = "system"
"""Names for ``release`` beside those of packages."""


def releasable(
    names: Collection[str], spec: Spec, previous: Iterable[Lock | None]
) -> frozenset[str]:
    """Return the canonical ``names`` for ``release``.

    Raises UsageError for a name that neither ``spec`` nor any of the locks before has: letting go
    of it would do nothing.
    """
    known = spec.requested | {SYSTEM, EVERYTHING}
    for lock in previous:
        if lock is not None:
            known |= {wheel.name for wheel in lock.wheels}
            known |= {source.name for source in in_build_order(lock.built)}
    asked = frozenset(canonicalize_name(name) for name in names)
    for name in sorted(asked - known):
        near = get_close_matches(name, known, n=3)
        raise UsageError(
            f"{spec.name} has no package {name}",
            hint=f"did you mean {' or '.join(near)}?" if near else f"or is it part of {SYSTEM}?",
        )
    return asked
