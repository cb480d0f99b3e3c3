"""The packages of indexes, chosen beside what is known already: git sources, files and folders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.errors import ResolutionError
from envbuilder.model.lock import (
    ArchiveSource,
    DebianBase,
    ImageBase,
    Lock,
    Source,
    Wheel,
    in_build_order,
)
from envbuilder.model.spec import Spec, requirement_lines
from envbuilder.storage.temporary import work_folder

from .archives.index_sdists import Indexes, choose_with_sdists
from .archives.locking import lock_archive, take_sdist
from .context import Context
from .git.direct_references import plain_requirements
from .git.locking import Locking
from .python.direct import DirectWheel
from .python.held_back import held_back
from .python.metadata_wheel import StandIn, stand_ins
from .python.requirements import Chosen, PythonTarget, choose_packages
from .python.sdists import sdists_of
from .target import python_target


def choose(
    work: Locking, base: DebianBase | ImageBase, known: Collection[StandIn]
) -> tuple[tuple[Wheel, ...], tuple[ArchiveSource, ...]]:
    """Choose the wheels and sdists of indexes beside what is ``known`` already.

    What was locked before stays as far as it can. Raises what ``choose_packages`` and locking a
    source raise.
    """
    context, spec, target = work.context, work.spec, work.target
    before: list[Wheel | ArchiveSource] = []
    if work.previous is not None:
        before = [*work.previous.wheels, *work.previous.archives]
    settled = work.release | {each.name for each in known}
    held = {each.name: each.version for each in before if each.name not in settled}
    provided: set[str] = set()
    if spec.system.site_packages and isinstance(base, DebianBase):
        provided = {found.name for found in base.python} - spec.requested
    with context.progress.step("resolve", "Python packages", unit="items") as step:
        indexes = Indexes(
            ask=partial(
                ask_indexes,
                context,
                spec,
                target,
                known,
                held=held,
                provided=provided,
                note=_once(context.progress.note),
            ),
            offers=lambda name: sdists_of(context.indexes, name, target, spec.indexes),
            examine=lambda sdist: lock_archive(
                work,
                take_sdist(context, sdist),
                version=sdist.version,
                before=work.archive_before(sdist.name),
            ),
            note=context.progress.note,
        )
        wheels, sdists = choose_with_sdists(
            spec, indexes, wanted=spec.requirements, early=early_sdists(spec)
        )
        step.advance(len(wheels))
    for line in held_back(
        context.indexes, spec.requirements, wheels, target=target, index=spec.indexes
    ):
        context.progress.note(line)
    return wheels, sdists


def early_sdists(spec: Spec) -> frozenset[str]:
    """Name the packages of which an sdist may be chosen where another version has a wheel."""
    return spec.sdists - spec.sources.keys()


def note_idle(context: Context, lock: Lock) -> None:
    """Tell of what the spec says in vain: slips, often."""
    spec, target = lock.spec, python_target(lock.spec, lock.base)
    locked = {each.name for each in (*lock.wheels, *in_build_order(lock.built))}
    for what, name in idle(spec, locked, target):
        context.progress.note(f"warning: {what} names {name}, which nothing here needs")


def direct_stand_ins(
    direct: Iterable[DirectWheel], spec: Spec, target: PythonTarget
) -> Iterator[StandIn]:
    """Yield what the resolver sees of the wheels that the spec names by address or path."""
    for each in direct:
        name, version = each.wheel.name, each.wheel.version
        requires = plain_requirements(each.requires_dist, name, spec, target)
        yield StandIn(name=name, version=version, requires_dist=requires)


def stand_in(source: Source) -> StandIn:
    """Return what the resolver sees of a source."""
    return StandIn(name=source.name, version=source.version, requires_dist=source.requires_dist)


def idle(spec: Spec, locked: Collection[str], target: PythonTarget) -> Iterator[tuple[str, str]]:
    """Name the key and the package of what changes nothing, as nobody needs it."""
    for line in map(Requirement, requirement_lines(spec.overrides)):
        applies = line.marker is None or line.marker.evaluate(dict(target.markers()))
        if applies and canonicalize_name(line.name) not in locked:
            yield "overrides", line.name
    yield from (("build.sdists", name) for name in sorted(spec.sdists - {*locked}))


def ask_indexes(
    context: Context,
    spec: Spec,
    target: PythonTarget,
    known: Collection[StandIn],
    offered: Collection[StandIn],
    *,
    provided: Collection[str] = (),
    held: dict[str, str] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Chosen:
    """Ask the indexes for what ``spec`` needs beside what is ``known``; see ``choose_packages``."""
    with work_folder("envbuilder-sources") as folder:
        own = list(stand_ins(spec, known, folder))
        return choose_packages(
            [*map(str, spec.requirements), *own],
            indexes=context.indexes,
            apart={each.name for each in known},
            target=target,
            index=spec.indexes,
            held=held,
            provided=sorted(provided),
            constraints=requirement_lines(spec.constraints),
            overrides=_overrides(spec, known, own),
            offered=offered,
            note=note,
        )


def _overrides(spec: Spec, known: Collection[StandIn], own: Iterable[str]) -> Iterator[str]:
    """Yield the overrides of ``spec``; of what is ``known`` they say that it fits everywhere.

    ``own`` are the lines that ask for that: in their place, too, the resolver puts an override.
    Raises ResolutionError for one that asks for another version than that of the spec's own source.
    """
    versions = {each.name: each.version for each in known}
    lines = {canonicalize_name(Requirement(line).name): line for line in own}
    for line in requirement_lines(spec.overrides):
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        if name not in lines:
            yield line
            continue
        version = versions[name]
        if not wanted.specifier.contains(version, prereleases=True):
            raise ResolutionError(
                f"overrides asks for {line}, and the spec's own {name} has version {version}",
                hint=f'overrides: {{{name}: "=={version}"}}, or change what packages says of it',
            )
        yield f"{lines[name]} ; {wanted.marker}" if wanted.marker else lines[name]


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    """Tell each thing once, though it is come upon in every turn."""
    told: set[str] = set()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            note(text)

    return tell
