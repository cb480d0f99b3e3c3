"""Spec -> Lock, in one line: the base decides which wheels fit, and sources what they need."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.git_url import Address
from envbuilder.model.lock import DebianBase, ImageBase, Lock
from envbuilder.model.package_spec import ArchivePackage
from envbuilder.model.spec import Spec

from .archives.index_sdists import RefusedSdistsError
from .archives.locking import Taken, lock_archive, take_archives
from .base import resolve_base, resolve_builder
from .context import Context
from .git.build_environment import Building
from .git.checkout import Checkout
from .git.context import GitContext
from .git.locking import check_pins
from .git.pin_cache import commit_of
from .git.recipe import Recipe
from .git.refs import Revision
from .packages import choose, direct_stand_ins, note_idle, stand_in
from .python.direct import DirectWheel, check_direct, lock_direct
from .refusals import refuse_sdists
from .release import EVERYTHING, SYSTEM
from .sources import lock_sources, locking
from .target import ASSUMED_GLIBC, python_target

_HERE = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What the spec hands over itself, in the store by now: wheels, sdists and folders."""

    direct: tuple[DirectWheel, ...]
    taken: tuple[Taken, ...]


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
    given = _Given(
        direct=lock_direct(
            context, spec.direct.items(), folder=folder, previous=kept, release=names
        ),
        taken=take_archives(context, spec, folder=folder, previous=kept, release=names),
    )
    ahead = GitContext.of(context, ahead=True)
    try:
        lock = _resolved(ahead, spec, given, previous, names, building=building)
    except EnvbuilderError:
        if ahead.confirmed():
            raise
    else:
        if ahead.confirmed():
            return lock
    # A git server says other things than last time: once more, on its own word.
    return _resolved(GitContext.of(context), spec, given, previous, names, building=building)


def _resolved(
    context: GitContext,
    spec: Spec,
    given: _Given,
    previous: Lock | None,
    release: frozenset[str],
    *,
    building: Building | None,
) -> Lock:
    kept = previous if EVERYTHING not in release else None
    held = kept if SYSTEM not in release else None
    revisions = check_pins(spec, context=context, previous=kept, release=release)
    refuse = partial(_refuse, context, spec, given, revisions, kept)
    if held is None:  # the base takes minutes
        refuse()
    try:
        lock = _locked(context, spec, given, kept, release, held=held, building=building)
    except RefusedSdistsError:
        refuse()  # of all, if more than one is to be refused
        raise
    note_idle(context, lock)
    return lock if previous is None else _without_stale_wheels(lock, previous)


def _refuse(
    context: GitContext,
    spec: Spec,
    given: _Given,
    revisions: Mapping[str, Revision],
    kept: Lock | None,
) -> None:
    """Raise RefusedSdistsError for all that would have to be built and may not be."""
    held = set() if kept is None else {source.name for source in kept.sources}
    projects = {
        name: Checkout(
            tree=commit_of(revisions[name], context.mirror(Address.parse(pin.git))), pin=pin
        )
        for name, pin in spec.sources.items()
        if name not in held
    }
    for each in given.taken:
        own = ArchivePackage(build=spec.build_of(each.name))
        projects[each.name] = Checkout(tree=each.archive, pin=own)
    refuse_sdists(context, spec, direct=given.direct, projects=projects)


def _locked(
    context: GitContext,
    spec: Spec,
    given: _Given,
    kept: Lock | None,
    release: frozenset[str],
    *,
    held: Lock | None,
    building: Building | None,
) -> Lock:
    base = resolve_base(context, spec, held)
    _note_assumption(context, spec, base)
    builder = resolve_builder(context, spec, held)
    target = python_target(spec, base)
    bare = Lock(spec=spec, base=base, wheels=(), builder=builder)
    environment = building(bare) if building is not None and spec.builds else None
    work = locking(
        spec,
        target=target,
        context=context,
        previous=kept,
        release=release,
        environment=environment,
    )
    sources = lock_sources(work)
    check_direct(given.direct, target)
    archives = [
        lock_archive(work, each, before=work.archive_before(each.name)) for each in given.taken
    ]
    known = [
        *(stand_in(each) for each in sources),
        *(stand_in(each) for each in archives),
        *direct_stand_ins(given.direct, spec, target),
    ]
    chosen, sdists = choose(work, base, known)
    return Lock(
        spec=spec,
        base=base,
        wheels=tuple(sorted((*chosen, *(each.wheel for each in given.direct)))),
        sources=sources,
        archives=tuple(sorted((*archives, *sdists), key=lambda each: each.name)),
        builder=builder,
    )


def _note_assumption(context: Context, spec: Spec, base: DebianBase | ImageBase) -> None:
    told = isinstance(base, DebianBase) or base.glibc is not None or base.musl is not None
    if not told and spec.base.glibc is None:
        context.progress.note(
            f"{spec.base.image} counts as glibc 2.{ASSUMED_GLIBC}, which decides on wheels: its "
            "files do not tell it, the spec's base.glibc may"
        )


def _without_stale_wheels(lock: Lock, previous: Lock) -> Lock:
    """Let go of wheels that were built in another base, or another builder, than is locked now."""
    before = {source.name: source for source in previous.built}
    return lock.with_built(
        source
        if source.wheel is None
        or Recipe.of(lock, source).key == Recipe.of(previous, before[source.name]).key
        else replace(source, wheel=None)
        for source in lock.built
    )
