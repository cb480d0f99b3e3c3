"""What only some need comes with ``pip install 'gpu-envbuilder[keyless]'``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from envbuilder.model.errors import MissingToolError


@contextmanager
def keyless_extra(doing: str) -> Iterator[None]:
    """Import inside of this what ``doing`` needs; raise MissingToolError where it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingToolError(
            f"{doing} takes the Python package {error.name}, which is not installed",
            hint="pip install 'gpu-envbuilder[keyless]'",
        ) from error
