"""A git pin -> a locked source: its commit, its build environment, and what it will need.

The source's own code must be asked (PEP 517: ``get_requires_for_build_wheel`` and metadata). That
happens on this machine's Python, contained; when the wheel is built later, in the environment's
base, its metadata must be what is locked here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.errors import BuildError, EnvbuilderError, ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.model.lock import GitSource, Lock
from envbuilder.model.progress import Progress
from envbuilder.model.spec import GitPackage, Spec
from envbuilder.resolve.python.requirements import PythonTarget
from envbuilder.resolve.resolve import EVERYTHING, resolve
from envbuilder.runtime import choose
from envbuilder.storage.store import Store

from .checkout import Checkout
from .context import Context
from .examine import Examined, Question, examine
from .pin_cache import commit_of, find_describe, find_revision
from .recipe import Recipe
from .refs import Revision


def lock_sources(
    spec: Spec,
    *,
    target: PythonTarget,
    context: Context,
    previous: Lock | None = None,
    release: Collection[str] = (),
) -> tuple[GitSource, ...]:
    """Lock every git package of ``spec``, sorted by name.

    What ``previous`` holds of a source stays while its pin, commit and build say the same, wheel
    included, unless ``release`` names it. Its build environment stays even then, as far as the
    commit allows, but for the packages in it that ``release`` names as well. Raises
    ResolutionError, NetworkError, BuildError (a source's own code fails) and MissingToolError.
    """
    if EVERYTHING in release:
        previous, release = None, spec.sources.keys()
    work = _Work(
        spec=spec, previous=previous, release=frozenset(release), target=target, context=context
    )
    before = {} if previous is None else {source.name: source for source in previous.sources}
    return tuple(
        work.lock(name, pin, before.get(name)) for name, pin in sorted(spec.sources.items())
    )


def lock_spec(
    spec: Spec,
    *,
    store: Store,
    progress: Progress,
    previous: Lock | None = None,
    release: Collection[str] = (),
) -> Lock:
    """Pin every artifact of ``spec``, sources from git included; see ``resolve.resolve``."""
    work = Context(
        store=store, runtime=lambda: choose("auto", store), progress=progress, ahead=True
    )
    try:
        lock = _resolved(spec, work, previous, release)
    except EnvbuilderError:
        if work.confirmed():
            raise
    else:
        if work.confirmed():
            return lock
    # A server says other things than last time: once more, on its own word.
    return _resolved(spec, replace(work, ahead=False, opened={}), previous, release)


def _resolved(
    spec: Spec, context: Context, previous: Lock | None, release: Collection[str]
) -> Lock:
    def sources(target: PythonTarget, held: Lock | None) -> tuple[GitSource, ...]:
        return lock_sources(spec, target=target, context=context, previous=held, release=release)

    lock = resolve(
        spec,
        store=context.store,
        progress=context.progress,
        previous=previous,
        release=release,
        sources=sources,
    )
    return lock if previous is None else _without_stale_wheels(lock, previous)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The locking of one spec's sources."""

    spec: Spec
    previous: Lock | None
    release: frozenset[str]
    target: PythonTarget
    context: Context

    def lock(self, name: str, pin: GitPackage, before: GitSource | None) -> GitSource:
        locked = None if name in self.release else before
        mirror = self.context.mirror(Address.parse(pin.git))
        store = self.context.store
        revision = find_revision(name, pin, mirror=mirror, locked=locked, store=store)
        if locked is not None and self._holds(name, pin, locked, revision):
            return replace(locked, requested=revision.requested)
        described = find_describe(pin, revision, mirror=mirror, store=store)
        checkout = Checkout(commit=commit_of(revision, mirror), pin=pin, described=described)
        examined = self._examine(name, checkout, before)
        return GitSource(
            name=name,
            version=examined.version,
            repository=mirror.address.text,
            requested=revision.requested,
            commit=revision.commit,
            tree=revision.tree,
            time=revision.time,
            subdirectory=pin.subdirectory,
            submodules=pin.submodules,
            describe=described,
            requires=examined.requires,
            requires_dist=examined.requires_dist,
        )

    def _holds(self, name: str, pin: GitPackage, before: GitSource, revision: Revision) -> bool:
        """Return whether what was locked still answers the same question."""
        assert self.previous is not None  # noqa: S101 - before came from it
        old = self.previous.spec
        pinned = {wheel.name for wheel in before.requires}
        return (
            (before.commit, before.repository) == (revision.commit, Address.parse(pin.git).text)
            and (before.subdirectory, before.submodules) == (pin.subdirectory, pin.submodules)
            and (old.python, old.platform) == (self.spec.python, self.spec.platform)
            and name in old.sources
            and old.sources[name].build == pin.build
            and _constraints(old, pin, pinned) == _constraints(self.spec, pin, pinned)
        )

    def _examine(self, name: str, checkout: Checkout, before: GitSource | None) -> Examined:
        tools = () if before is None else before.requires
        question = Question(
            checkout=checkout,
            index=self.spec.indexes,
            constraints=_constraints(self.spec, checkout.pin),
            target=self.target,
            held={wheel.name: wheel.version for wheel in tools if wheel.name not in self.release},
        )
        try:
            found = examine(question, self.context, fresh=name in self.release)
        except (BuildError, ResolutionError) as error:
            raise type(error)(f"{name}: {error.message}", hint=error.hint) from error
        if canonicalize_name(found.name) != name:
            raise ResolutionError(
                f"{name}: {checkout.pin.git} at {checkout.commit.commit[:12]} is the project "
                f"{found.name!r}",
                hint=f"call it {found.name} in the spec",
            )
        return found


def _constraints(
    spec: Spec, pin: GitPackage, among: Collection[str] | None = None
) -> tuple[str, ...]:
    """Return the spec's own pins, which hold for build environments, too.

    A source compiled against another torch than the one beside it does not load. What the
    source's ``build.requires`` names is left to it.
    """
    own = {canonicalize_name(Requirement(line).name) for line in pin.build.requires}
    pins = (each for each in spec.requirements if canonicalize_name(each.name) not in own)
    chosen = (each for each in pins if among is None or canonicalize_name(each.name) in among)
    return tuple(f"{each.name}{each.specifier}" for each in chosen)
