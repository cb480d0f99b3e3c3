"""Build many environments, several at a time, past failures, with one summary."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from envbuilder.model.errors import EnvbuilderError, of_system
from envbuilder.model.spec_file import load_each
from envbuilder.resolve.context import Context
from envbuilder.runtime import Runtime
from envbuilder.workflow.build import Decisions
from envbuilder.workflow.make import engine_for
from envbuilder.workflow.platforms import build_platforms

from .bump import Bumped, bump
from .pins import Pin, parse_pin
from .stages import real_stages

_INTERNAL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one environment: ``code`` is the exit code that it alone would have given.

    ``message`` is one line; ``error`` is all that is to be said of a failure, empty without one.
    """

    name: str
    code: int
    message: str
    seconds: float
    error: str = ""


Make = Callable[[Path], tuple[int, str]]
"""Makes the environment of one spec: exit code (0, or 8 for a red smoke) and one line to show."""


def maker(
    context: Context, pins: Sequence[str], *, runtime: Runtime, allow_unproven: bool = False
) -> Make:
    """Return what builds and smokes an environment, or bumps ``pins`` in it if there are any."""
    wishes = [parse_pin(pin) for pin in pins]
    if not wishes:
        return lambda path: _built(context, path, runtime, allow_unproven=allow_unproven)
    return lambda path: _bumped(context, path, wishes, runtime, allow_unproven=allow_unproven)


def _built(
    context: Context, path: Path, runtime: Runtime, *, allow_unproven: bool
) -> tuple[int, str]:
    decisions = Decisions(engine=engine_for(path))
    built = build_platforms(context, path, decisions, runtime=runtime)
    return (0 if built.passes(allow_unproven=allow_unproven) else 8), built.summary


def _bumped(
    context: Context, path: Path, wishes: Sequence[Pin], runtime: Runtime, *, allow_unproven: bool
) -> tuple[int, str]:
    engine = engine_for(path)
    stages = real_stages(context, folder=path.parent, engine=engine, runtime=runtime)
    done = bump(context, path, wishes, stages=stages, allow_unproven=allow_unproven)
    return (8 if done.failed else 0), bump_summary(done)


def bump_summary(done: Bumped) -> str:
    """Say in one line what a bump did."""
    if done.built is None:
        return "nothing moves"
    return f"{len(done.proposal.changes)} changes; {done.built.summary}"


def regenerate(
    spec_paths: Sequence[Path], make: Make, *, jobs: int, stop: Event | None = None
) -> tuple[Result, ...]:
    """Make every environment, ``jobs`` at a time, and give the results in the given order.

    Who interrupts this sets ``stop``, so that what waits need not be waited for.
    """
    with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="regenerate") as pool:
        try:
            return tuple(pool.map(lambda path: _result(path, make), spec_paths))
        except KeyboardInterrupt:
            if stop is not None:
                stop.set()
            raise


def worst(results: Sequence[Result]) -> int:
    """Return the exit code of the worst failure: an internal error, else the largest code."""
    codes = {result.code for result in results}
    return _INTERNAL if _INTERNAL in codes else max(codes, default=0)


def jobs_for(spec_paths: Sequence[Path]) -> int:
    """Say how many can run at once: by half the processors, and by what their smoke tests need."""
    processors = max(1, len(os.sched_getaffinity(0)) // 2)
    needed = max((_memory(path) for path in spec_paths), default=1)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(processors, len(spec_paths), free // needed))


def _memory(path: Path) -> int:
    """Return what one smoke test may use (bytes); a spec that cannot be read fails later."""
    try:
        return next(iter(load_each(path).values())).smoke.memory << 20
    except EnvbuilderError:
        return 1


def _result(path: Path, make: Make) -> Result:
    started = time.monotonic()
    said = ""
    try:
        code, message = make(path)
    except EnvbuilderError as error:
        code, message, said = _failed(error)
    except OSError as error:
        code, message, said = _failed(of_system(error))
    except Exception as error:  # the others must not fall with it; the summary names it
        code, message, said = _INTERNAL, f"internal error: {error!r}", traceback.format_exc()
    seconds = round(time.monotonic() - started, 1)
    return Result(name=path.stem, code=code, message=message, seconds=seconds, error=said)


def _failed(error: EnvbuilderError) -> tuple[int, str, str]:
    """Return exit code, one line, and all that is to be said."""
    if not error.hint:
        return error.exit_code, error.brief, error.message
    message, said = f"{error.brief} (hint: {error.hint})", f"{error.message}\nhint: {error.hint}"
    return error.exit_code, message, said
