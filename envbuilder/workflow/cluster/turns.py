"""Who begins when, so that no two machines make the same layer, and none is left at the end.

Environments of one project have most of their wheels in common. Where layers are shared, a job
waits while another one is at work on a layer that both need, until that lies in the shared place.
Of those that may begin, the largest does so first: begun last, it would keep one machine at work
while the others have nothing left to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition

from envbuilder.engines.remote_layers import base_key, wheel_keys
from envbuilder.model.errors import NetworkError
from envbuilder.model.lock import Lock
from envbuilder.resolve.context import Context

_PAUSE = 1.0
"""Seconds between looks into the shared place for one layer."""
_LONGEST = 900.0
"""Seconds after which a layer is made twice rather than waited for: perhaps nobody may write."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Turn:
    """What one job needs (keys of shared layers), and how large it is (bytes of wheels)."""

    needs: set[str]
    size: int
    begun: bool = False
    """Whether it is on its way to a machine, so that the next one may follow."""


class Turns:
    """The layers that jobs are at work on; safe to use from several threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: list[_Turn] = []
        self._at_work: list[_Turn] = []
        self._there: set[str] = set()
        self._looked: dict[str, float] = {}
        self._blind = False
        self._changed = Condition()

    @contextmanager
    def taken(self, lock: Lock) -> Iterator[Callable[[], None]]:
        """Hold the turn of a job, once nobody else is at work on what it needs.

        Who has it calls what this lends once the job is submitted: then the next one follows.
        The jobs of one lock on several types of GPU are like any others.
        """
        turn = _Turn(needs=self._needs(lock), size=sum(wheel.size for wheel in lock.wheels))
        end = time.monotonic() + _LONGEST
        with self._changed:
            self._waiting.append(turn)
            while not (self._is_next(turn) or self._context.stop.is_set()):
                if time.monotonic() > end:
                    break
                self._changed.wait(_PAUSE)
            self._waiting.remove(turn)
            self._at_work.append(turn)
        try:
            yield lambda: self._begin(turn)
        finally:
            with self._changed:
                self._at_work.remove(turn)
                self._changed.notify_all()

    def _begin(self, turn: _Turn) -> None:
        with self._changed:
            turn.begun = True
            self._changed.notify_all()

    def _is_next(self, turn: _Turn) -> bool:
        """Return whether a waiting job may begin, and no larger one may that waits as well."""
        if not all(each.begun for each in self._at_work):
            return False
        larger = [each for each in self._waiting if each.size > turn.size]
        return self._is_free(turn) and not any(map(self._is_free, larger))

    def _is_free(self, turn: _Turn) -> bool:
        """Return whether nobody is at work on a layer that a job needs, and that is not there."""
        busy = set[str]().union(*(each.needs for each in self._at_work))
        return all(self._is_there(key) for key in sorted(turn.needs & busy))

    def _needs(self, lock: Lock) -> set[str]:
        """Return the keys of all layers of ``lock`` that are shared; none without such a place."""
        if self._context.remote is None:
            return set()
        base = base_key(lock)
        return {*wheel_keys(lock), *([base] if base else [])}

    def _is_there(self, key: str) -> bool:
        """Return whether a layer is in the shared place, as far as the last look goes.

        Once the place fails all are taken for there: who waited might wait in vain.
        """
        now = time.monotonic()
        if self._blind or key in self._there or now < self._looked.get(key, 0.0):
            return self._blind or key in self._there
        assert self._context.remote is not None  # noqa: S101 - without it nothing is needed
        self._looked[key] = now + _PAUSE
        try:
            self._there |= self._context.remote.find([key]).keys()
        except NetworkError as error:
            self._context.progress.note(f"warning: jobs do not wait for layers: {error.brief}")
            self._blind = True
        if self._blind or key in self._there:
            self._changed.notify_all()
        return self._blind or key in self._there
