"""What a step of a bisection will take, said before it starts: hours, where it compiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.model.lock import Lock, Source
from envbuilder.resolve.git.recipe import Recipe, last_duration, remembered
from envbuilder.storage.store import Store

from .oracle import Judge, OracleAnswer


def telling(judge: Judge, store: Store, note: Callable[[str], None]) -> Judge:
    """Return ``judge``, which says by ``note`` what it has to build and to fetch before it does."""

    def judged(lock: Lock) -> OracleAnswer:
        note(f"      {cost(lock, store)}")
        return judge(lock)

    return judged


def cost(lock: Lock, store: Store) -> str:
    """Say which sources of ``lock`` have to be built, and what has to be fetched."""
    parts = [f"to build: {', '.join(builds)}"] if (builds := list(_builds(lock, store))) else []
    missing = [wheel.size for wheel in lock.wheels if not has_wheel(store, wheel.sha256)]
    if missing:
        wheels = "1 wheel" if len(missing) == 1 else f"{len(missing)} wheels"
        parts.append(f"to fetch: {wheels}, {sum(missing) / 1e6:,.0f} MB")
    return "; ".join(parts) or "all wheels are here"


def duration(seconds: float) -> str:
    """Say how long something took, in the two largest units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _builds(lock: Lock, store: Store) -> Iterator[str]:
    for source in lock.built:
        if not _is_built(lock, source, store):
            last = last_duration(store, source)
            told = "never built here" if last is None else f"the last one took {duration(last)}"
            yield f"{source.name} at {source.identity[:12]} ({told})"


def _is_built(lock: Lock, source: Source, store: Store) -> bool:
    if source.wheel is not None and has_wheel(store, source.wheel.sha256):
        return True
    built = remembered(store, Recipe.of(lock, source))
    return built is not None and has_wheel(store, built.wheel.sha256)
