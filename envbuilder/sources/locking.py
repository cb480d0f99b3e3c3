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

from envbuilder.errors import BuildError, ResolutionError
from envbuilder.git_address import Address
from envbuilder.layers.store import Store
from envbuilder.lock import GitSource, Lock
from envbuilder.progress import Progress
from envbuilder.resolve.git import Revision, resolve_git
from envbuilder.resolve.mirror import Mirror
from envbuilder.resolve.python import PythonTarget
from envbuilder.resolve.resolve import EVERYTHING, resolve
from envbuilder.runtime import choose
from envbuilder.spec import GitPackage, Spec

from .checkout import Checkout
from .context import Context
from .examine import Examined, Question, examine
from .project import read_project
from .scm import describe, needs_history
from .tree import Commit


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
    included, unless ``release`` names it. Raises ResolutionError, NetworkError, BuildError (a
    source's own code fails) and MissingToolError.
    """
    before = {} if previous is None else {source.name: source for source in previous.sources}
    free = spec.sources.keys() if EVERYTHING in release else set(release)
    work = _Work(spec=spec, previous=previous, target=target, context=context)
    return tuple(
        work.lock(name, pin, None if name in free else before.get(name), fresh=name in free)
        for name, pin in sorted(spec.sources.items())
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
    context = Context(store=store, runtime=lambda: choose("auto", store), progress=progress)

    def sources(target: PythonTarget, held: Lock | None) -> tuple[GitSource, ...]:
        return lock_sources(spec, target=target, context=context, previous=held, release=release)

    return resolve(
        spec, store=store, progress=progress, previous=previous, release=release, sources=sources
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The locking of one spec's sources."""

    spec: Spec
    previous: Lock | None
    target: PythonTarget
    context: Context

    def lock(
        self, name: str, pin: GitPackage, before: GitSource | None, *, fresh: bool
    ) -> GitSource:
        mirror = self.context.mirror(Address.parse(pin.git))
        revision = resolve_git(name, pin, mirror=mirror, locked=before)
        if before is not None and self._holds(name, pin, before, revision):
            return replace(before, requested=revision.requested)
        commit = Commit(
            repository=mirror.content(revision.commit), commit=revision.commit, time=revision.time
        )
        described = _describe(pin, commit, mirror)
        checkout = Checkout(commit=commit, pin=pin, described=described)
        examined = self._examine(name, checkout, fresh=fresh)
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
        """Tell whether what was locked still answers the same question."""
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

    def _examine(self, name: str, checkout: Checkout, *, fresh: bool) -> Examined:
        question = Question(
            checkout=checkout,
            index=self.spec.index,
            constraints=_constraints(self.spec, checkout.pin),
            target=self.target,
        )
        try:
            found = examine(question, self.context, fresh=fresh)
        except (BuildError, ResolutionError) as error:
            raise type(error)(f"{name}: {error.message}", hint=error.hint) from error
        if canonicalize_name(found.name) != name:
            raise ResolutionError(
                f"{name}: {checkout.pin.git} at {checkout.commit.commit[:12]} is the project "
                f"{found.name!r}",
                hint=f"call it {found.name} in the spec",
            )
        return found


def _describe(pin: GitPackage, commit: Commit, mirror: Mirror) -> str | None:
    project = read_project(commit, subdirectory=pin.subdirectory)
    requires = [*project.requires, *map(Requirement, pin.build.requires)]
    if not needs_history(requires):
        return None
    return describe(mirror.history, commit.commit, project.table)


def _constraints(
    spec: Spec, pin: GitPackage, among: Collection[str] | None = None
) -> tuple[str, ...]:
    """Give the spec's own pins, which hold for build environments, too.

    A source compiled against another torch than the one beside it does not load. What the
    source's ``build.requires`` names is left to it.
    """
    own = {canonicalize_name(Requirement(line).name) for line in pin.build.requires}
    pins = (each for each in spec.requirements if canonicalize_name(each.name) not in own)
    chosen = (each for each in pins if among is None or canonicalize_name(each.name) in among)
    return tuple(f"{each.name}{each.specifier}" for each in chosen)
