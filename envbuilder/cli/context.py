"""The one context of a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import envbuilder

from .console import open_progress
from .project import remote_settings

if TYPE_CHECKING:
    from envbuilder import Context


@contextmanager
def open_context(
    progress_mode: str, *, offline: bool = False, builder: str | None = None
) -> Iterator[Context]:
    """Open this machine's store, its registries, and the display for ``progress_mode``.

    Where layers are shared is what the project, or this machine, says.
    """
    with (
        open_progress(progress_mode) as progress,
        envbuilder.open_context(
            progress=progress, offline=offline, builder=builder, remote=remote_settings()
        ) as context,
    ):
        yield context
