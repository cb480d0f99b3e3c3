"""What long work tells whoever watches: named steps that advance by bytes or items.

Stages take a :class:`Progress` and know nothing of terminals; ``cli/`` draws it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable


class Step(Protocol):
    """One running step."""

    def advance(self, amount: int) -> None:
        """Add ``amount`` (bytes, or items where the step counts items) to what is done."""


@runtime_checkable
class Telling(Protocol):
    """A step that can also show what of it is being done right now."""

    def say(self, text: str) -> None:
        """Show ``text`` until something else is said."""


class Progress(Protocol):
    """Where stages report what they do; safe to call from several threads."""

    def step(
        self, phase: str, title: str, *, total: int | None = None, unit: str = "bytes"
    ) -> AbstractContextManager[Step]:
        """Open a step of ``phase`` ("fetch", "layer", "smoke", …), ``total`` if it is known."""

    def note(self, text: str) -> None:
        """Say one line that stays, for example a warning."""


class _SilentStep:
    def advance(self, amount: int) -> None:
        """Ignore it."""


class Silent:
    """A Progress that shows nothing."""

    def step(
        self,
        phase: str,  # noqa: ARG002
        title: str,  # noqa: ARG002
        *,
        total: int | None = None,  # noqa: ARG002
        unit: str = "bytes",  # noqa: ARG002
    ) -> AbstractContextManager[Step]:
        """Open a step that nobody sees."""
        return nullcontext(_SilentStep())

    def note(self, text: str) -> None:
        """Drop the line."""
