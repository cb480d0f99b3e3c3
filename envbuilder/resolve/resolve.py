"""Spec -> Lock, in one line: the base decides which wheels fit, and sources what they need."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.lock import DebianBase, GitSource, ImageBase, Lock, Wheel
from envbuilder.model.spec import Spec
from envbuilder.storage.temporary import work_folder

from .base import resolve_base, resolve_builder
from .context import Context
from .git.context import GitContext
from .git.locking import lock_sources
from .git.recipe import Recipe
from .python.metadata_wheel import stand_ins
from .python.requirements import resolve_python
from .release import EVERYTHING, SYSTEM
from .target import python_target


def resolve(
    context: Context, spec: Spec, *, previous: Lock | None = None, release: Collection[str] = ()
) -> Lock:
    """Pin every artifact of ``spec``.

    What ``previous`` pinned is kept unless the spec forces something else, or ``release`` names it:
    a package, SYSTEM for the base and its packages, or EVERYTHING. Raises ResolutionError,
    NetworkError, BuildError (a git source's own code fails) and MissingToolError.
    """
    names = frozenset(release)
    ahead = GitContext.of(context, ahead=True)
    try:
        lock = _resolved(ahead, spec, previous, names)
    except EnvbuilderError:
        if ahead.confirmed():
            raise
    else:
        if ahead.confirmed():
            return lock
    # A git server says other things than last time: once more, on its own word.
    return _resolved(GitContext.of(context), spec, previous, names)


def _resolved(
    context: GitContext, spec: Spec, previous: Lock | None, release: frozenset[str]
) -> Lock:
    kept = previous if EVERYTHING not in release else None
    held = kept if SYSTEM not in release else None
    base = resolve_base(context, spec, held)
    builder = resolve_builder(context, spec, held)
    target = python_target(spec, base)
    sources = lock_sources(spec, target=target, context=context, previous=kept, release=release)
    versions = {} if kept is None else {wheel.name: wheel.version for wheel in kept.wheels}
    still = {name: version for name, version in versions.items() if name not in release}
    wheels = _wheels(context, spec, base, sources, held=still)
    lock = Lock(spec=spec, base=base, wheels=wheels, sources=sources, builder=builder)
    return lock if previous is None else _without_stale_wheels(lock, previous)


def _wheels(
    context: Context,
    spec: Spec,
    base: DebianBase | ImageBase,
    sources: tuple[GitSource, ...],
    *,
    held: Mapping[str, str],
) -> tuple[Wheel, ...]:
    provided: set[str] = set()
    if spec.system.site_packages and isinstance(base, DebianBase):
        provided = {found.name for found in base.python} - spec.requested
    with (
        context.progress.step("resolve", "Python packages", unit="items") as step,
        work_folder("envbuilder-sources") as folder,
    ):
        lines = [str(each) for each in spec.requirements]
        wheels = resolve_python(
            [*lines, *stand_ins(spec, sources, folder)],
            indexes=context.indexes,
            apart={source.name for source in sources},
            target=python_target(spec, base),
            index=spec.index,
            held=held,
            provided=sorted(provided),
        )
        step.advance(len(wheels))
    return wheels


def _without_stale_wheels(lock: Lock, previous: Lock) -> Lock:
    """Let go of wheels that were built in another base, or another builder, than is locked now."""
    before = {source.name: source for source in previous.sources}
    return replace(
        lock,
        sources=tuple(
            source
            if source.wheel is None
            or Recipe.of(lock, source).key == Recipe.of(previous, before[source.name]).key
            else replace(source, wheel=None)
            for source in lock.sources
        ),
    )
