"""Who begins when, so that no two machines make the same layer.

Environments of one project have most of their wheels in common. Where layers are shared, a job
waits while another one is at work on a layer that both need, until that lies in the shared place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from envbuilder.engines.remote_layers import base_key, wheel_keys
from envbuilder.model.errors import NetworkError
from envbuilder.model.lock import Lock
from envbuilder.resolve.context import Context

_PAUSE = 3.0
"""Seconds between looks into the shared place."""
_LONGEST = 900.0
"""Seconds after which a layer is made twice rather than waited for: perhaps nobody may write."""


class Turns:
    """The layers that jobs are at work on, by the job's id; safe to use from several threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._at_work: dict[str, set[str]] = {}
        self._there: set[str] = set()
        self._changed = Condition()

    @contextmanager
    def taken(self, submission: str, lock: Lock) -> Iterator[None]:
        """Hold the turn of a job, once nobody else is at work on what it needs.

        The jobs of one lock on several types of GPU are like any others.
        """
        needs = self._needs(lock)
        end = time.monotonic() + _LONGEST
        with self._changed:
            while time.monotonic() < end and not self._context.stop.is_set():
                busy = set[str]().union(*self._at_work.values())
                shared = needs & busy - self._there
                if not shared or self._all_there(shared):
                    break
                self._changed.wait(_PAUSE)
            self._at_work[submission] = needs - self._there
        try:
            yield
        finally:
            with self._changed:
                del self._at_work[submission]
                self._changed.notify_all()

    def _needs(self, lock: Lock) -> set[str]:
        """Return the keys of all layers of ``lock`` that are shared; none without such a place."""
        if self._context.remote is None:
            return set()
        base = base_key(lock)
        return {*wheel_keys(lock), *([base] if base else [])}

    def _all_there(self, keys: set[str]) -> bool:
        """Return whether all of ``keys`` are in the shared place; one that is not ends the look."""
        assert self._context.remote is not None  # noqa: S101 - without it nothing is needed
        try:
            for key in sorted(keys):
                if key not in self._context.remote.find([key]):
                    return False
                self._there.add(key)
        except NetworkError as error:
            self._context.progress.note(f"warning: jobs do not wait for layers: {error.brief}")
        return True
