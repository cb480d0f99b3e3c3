"""Spec -> Lock, in one line: the base decides which wheels fit, and sources what they need."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.lock import DebianBase, GitSource, ImageBase, Lock, Wheel
from envbuilder.model.spec import Spec, requirement_lines
from envbuilder.storage.temporary import work_folder

from .base import resolve_base, resolve_builder
from .context import Context
from .git.build_environment import Building
from .git.context import GitContext
from .git.direct_references import plain_requirements
from .git.locking import check_pins, lock_sources
from .git.recipe import Recipe
from .python.direct import DirectWheel, check_direct, lock_direct
from .python.held_back import held_back
from .python.metadata_wheel import StandIn, stand_ins
from .python.requirements import PythonTarget, resolve_python
from .release import EVERYTHING, SYSTEM
from .target import ASSUMED_GLIBC, python_target

_HERE = Path()


def resolve(
    context: Context,
    spec: Spec,
    *,
    previous: Lock | None = None,
    release: Collection[str] = (),
    folder: Path = _HERE,
    building: Building | None = None,
) -> Lock:
    """Pin every artifact of ``spec``, whose paths count from ``folder``.

    What ``previous`` pinned is kept unless the spec forces something else, or ``release`` names it:
    a package, SYSTEM for the base and its packages, or EVERYTHING. Git sources whose metadata
    depends on where they are asked are asked in what ``building`` gives. Raises ResolutionError,
    NetworkError, BuildError (a git source's own code fails) and MissingToolError.
    """
    names = frozenset(release)
    kept = previous if EVERYTHING not in names else None
    direct = lock_direct(context, spec.direct.items(), folder=folder, previous=kept, release=names)
    ahead = GitContext.of(context, ahead=True)
    try:
        lock = _resolved(ahead, spec, direct, previous, names, building=building)
    except EnvbuilderError:
        if ahead.confirmed():
            raise
    else:
        if ahead.confirmed():
            return lock
    # A git server says other things than last time: once more, on its own word.
    return _resolved(GitContext.of(context), spec, direct, previous, names, building=building)


def _resolved(
    context: GitContext,
    spec: Spec,
    direct: tuple[DirectWheel, ...],
    previous: Lock | None,
    release: frozenset[str],
    *,
    building: Building | None,
) -> Lock:
    kept = previous if EVERYTHING not in release else None
    held = kept if SYSTEM not in release else None
    check_pins(spec, context=context, previous=kept, release=release)
    base = resolve_base(context, spec, held)
    _note_assumption(context, spec, base)
    builder = resolve_builder(context, spec, held)
    target = python_target(spec, base)
    bare = Lock(spec=spec, base=base, wheels=(), builder=builder)
    sources = lock_sources(
        spec,
        target=target,
        context=context,
        previous=kept,
        release=release,
        environment=building(bare) if building is not None and spec.sources else None,
    )
    versions = {} if kept is None else {wheel.name: wheel.version for wheel in kept.wheels}
    still = {name: version for name, version in versions.items() if name not in release}
    check_direct(direct, target)
    known = [*(_stand_in(each) for each in sources), *_direct_stand_ins(direct, spec, target)]
    chosen = _wheels(context, spec, base, known, held=still)
    wheels = tuple(sorted((*chosen, *(each.wheel for each in direct))))
    lock = Lock(spec=spec, base=base, wheels=wheels, sources=sources, builder=builder)
    return lock if previous is None else _without_stale_wheels(lock, previous)


def _note_assumption(context: Context, spec: Spec, base: DebianBase | ImageBase) -> None:
    told = isinstance(base, DebianBase) or base.glibc is not None or base.musl is not None
    if not told and spec.base.glibc is None:
        context.progress.note(
            f"{spec.base.image} counts as glibc 2.{ASSUMED_GLIBC}, which decides on wheels: its "
            "files do not tell it, the spec's base.glibc may"
        )


def _wheels(
    context: Context,
    spec: Spec,
    base: DebianBase | ImageBase,
    known: Collection[StandIn],
    *,
    held: Mapping[str, str],
) -> tuple[Wheel, ...]:
    """Choose the wheels of indexes beside what is ``known`` already."""
    provided: set[str] = set()
    if spec.system.site_packages and isinstance(base, DebianBase):
        provided = {found.name for found in base.python} - spec.requested
    with (
        context.progress.step("resolve", "Python packages", unit="items") as step,
        work_folder("envbuilder-sources") as folder,
    ):
        lines = [str(each) for each in spec.requirements]
        wheels = resolve_python(
            [*lines, *stand_ins(spec, known, folder)],
            indexes=context.indexes,
            apart={each.name for each in known},
            target=python_target(spec, base),
            index=spec.indexes,
            held=held,
            provided=sorted(provided),
            constraints=requirement_lines(spec.constraints),
            overrides=requirement_lines(spec.overrides),
            note=context.progress.note,
        )
        step.advance(len(wheels))
    for line in held_back(
        context.indexes,
        spec.requirements,
        wheels,
        target=python_target(spec, base),
        index=spec.indexes,
    ):
        context.progress.note(line)
    for line in held_back(
        context.indexes,
        spec.requirements,
        wheels,
        target=python_target(spec, base),
        index=spec.indexes,
    ):
        context.progress.note(line)
    locked = {wheel.name for wheel in wheels} | {each.name for each in known}
    for line in idle_overrides(spec, locked, python_target(spec, base)):
        context.progress.note(f"warning: overrides names {line}, which nothing here needs")
    return wheels


def _stand_in(source: GitSource) -> StandIn:
    return StandIn(name=source.name, version=source.version, requires_dist=source.requires_dist)


def _direct_stand_ins(
    direct: Iterable[DirectWheel], spec: Spec, target: PythonTarget
) -> Iterator[StandIn]:
    for each in direct:
        name, version = each.wheel.name, each.wheel.version
        requires = plain_requirements(each.requires_dist, name, spec, target)
        yield StandIn(name=name, version=version, requires_dist=requires)


def idle_overrides(spec: Spec, locked: Collection[str], target: PythonTarget) -> Iterator[str]:
    """Name the overrides that change nothing, since nobody needs such a package: slips, often."""
    for line in map(Requirement, requirement_lines(spec.overrides)):
        applies = line.marker is None or line.marker.evaluate(dict(target.markers()))
        if applies and canonicalize_name(line.name) not in locked:
            yield line.name


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
