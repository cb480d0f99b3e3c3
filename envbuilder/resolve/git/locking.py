"""A git pin -> a locked source: its commit, its build environment, and what it will need.

The source's own code must be asked (PEP 517: ``get_requires_for_build_wheel`` and metadata); see
``examine``. When the wheel is built later, its metadata must be what is locked here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.errors import BuildError, ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.model.lock import (
    ArchiveSource,
    GitSource,
    Lock,
    LockedCommit,
    Source,
    SourceTree,
    Wheel,
    in_build_order,
)
from envbuilder.model.package_spec import GitPackage, GitPin, SourceBuild
from envbuilder.model.spec import Spec
from envbuilder.resolve.python.requirements import PythonTarget
from envbuilder.resolve.release import EVERYTHING

from .build_environment import BuildEnvironment
from .build_sources import further_pins, lock_trees
from .checkout import Checkout
from .context import GitContext
from .direct_references import plain_requirements
from .examine import examine
from .pin_cache import commit_of, find_describe, find_revision
from .question import Examined, Question
from .refs import Revision
from .tools import Toolbox

S = TypeVar("S", bound=GitSource | ArchiveSource)

MakeToolbox = Callable[["Locking", Source | None], Toolbox]
"""Makes the toolbox for a source, of which something may have been locked before."""


def check_pins(
    spec: Spec, *, context: GitContext, previous: Lock | None, release: Collection[str]
) -> dict[str, Revision]:
    """Find the commit of every pin, by name; raise what locking would raise for one.

    That takes seconds, and what comes before the sources takes minutes: so servers that refuse are
    met first. The answers are remembered. What ``previous`` locked holds, but for ``release``.
    """
    found: dict[str, Revision] = {}
    locked_before = () if previous is None else previous.sources
    before = {source.name: source for source in locked_before if source.name not in release}
    for name, pin in sorted(spec.sources.items()):
        held = before.get(name)
        trees = {} if held is None else {tree.name: tree for tree in held.sources}
        pins: list[tuple[str, GitPin, LockedCommit | None]] = [(name, pin, held)]
        pins += further_pins(name, pin.build.sources, trees)
        for what, each, locked in pins:
            mirror = context.mirror(Address.parse(each.git))
            revision = find_revision(what, each, mirror=mirror, locked=locked, store=context.store)
            found.setdefault(name, revision)  # the package's own comes first
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Locking:
    """The locking of one spec's sources; ``previous`` holds but for what ``release`` names.

    ``toolbox`` makes what chooses the build requirements of a source, of which it gets what was
    locked before. What depends on where it is asked is asked in ``environment``.
    """

    spec: Spec
    previous: Lock | None
    release: frozenset[str]
    target: PythonTarget
    context: GitContext
    toolbox: MakeToolbox
    environment: BuildEnvironment | None = None

    def archive_before(self, name: str) -> ArchiveSource | None:
        """Find what was locked of an sdist or folder."""
        locked = () if self.previous is None else self.previous.archives
        return next((each for each in locked if each.name == name), None)

    def lock(self, name: str, pin: GitPackage, before: GitSource | None) -> GitSource:
        """Lock one package from git, of which ``before`` was locked."""
        locked, held = self.kept(before), self.pinned(before)
        mirror = self.context.mirror(Address.parse(pin.git))
        store = self.context.store
        revision = find_revision(name, pin, mirror=mirror, locked=held, store=store)
        trees = lock_trees(
            name, pin.build.sources, before=held, open_mirror=self.context.mirror, store=store
        )
        if locked is not None and self._holds(name, pin, locked, revision, trees):
            return replace(locked, requested=revision.requested)
        described = find_describe(pin, revision, mirror=mirror, store=store)
        checkout = Checkout(
            tree=commit_of(revision, mirror), pin=pin, described=described, sources=trees
        )
        examined = self.examine(name, checkout, before)
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
            requires_dist=self.requirements(name, examined),
            sources=trees,
            tools=examined.tools,
        )

    def kept(self, before: S | None) -> S | None:
        """Return what was locked of a source, unless it, or a tool of it, is let go."""
        names = set() if before is None else {each.name for each in in_build_order([before])}
        return before if self.release.isdisjoint(names) else None

    def pinned(self, before: S | None) -> S | None:
        """Return what was locked of a source's own pins, unless it is let go itself."""
        return None if before is None or before.name in self.release else before

    def _holds(
        self,
        name: str,
        pin: GitPackage,
        before: GitSource,
        revision: Revision,
        trees: tuple[SourceTree, ...],
    ) -> bool:
        """Return whether what was locked still answers the same question."""
        assert self.previous is not None  # noqa: S101 - before came from it
        old = self.previous.spec
        return (
            (before.commit, before.repository) == (revision.commit, Address.parse(pin.git).text)
            and before.sources == trees
            and (before.subdirectory, before.submodules) == (pin.subdirectory, pin.submodules)
            and (old.minor, old.platform) == (self.spec.minor, self.spec.platform)
            and name in old.sources
            and old.sources[name].build == pin.build
            and same_environment(old, self.spec, before)
            and asked_of(old, before) == asked_of(self.spec, before)
            and (self.environment is None or self.environment.serves(self.previous))
        )

    def requirements(self, name: str, examined: Examined) -> tuple[str, ...]:
        """Return what ``name`` needs at run time, as the spec takes addresses in it."""
        try:
            return plain_requirements(examined.requires_dist, name, self.spec, self.target)
        except ResolutionError as error:
            raise ResolutionError(f"{name}: {error.message}", hint=error.hint) from error

    def examine(self, name: str, checkout: Checkout, before: Source | None) -> Examined:
        """Ask the source of ``name``; ``before`` is what was locked of it."""
        locked: list[Wheel | ArchiveSource] = []
        if before is not None:
            locked = [*before.requires, *before.tools]
        toolbox = self.toolbox(self, before)
        question = Question(
            checkout=checkout,
            index=self.spec.indexes,
            constraints=own_pins(self.spec, checkout.pin.build),
            target=self.target,
            held={each.name: each.version for each in locked if each.name not in self.release},
            tools=toolbox.facts,
            timeout=self.spec.build.timeout,
            requested=self.spec.requested,
        )
        try:
            found = examine(
                question,
                self.context,
                toolbox=toolbox,
                environment=self.environment,
                fresh=not self.release.isdisjoint({name, EVERYTHING})
                or self.kept(before) is not before,
            )
        except (BuildError, ResolutionError) as error:
            raise type(error)(f"{name}: {error.message}", hint=error.hint) from error
        if canonicalize_name(found.name) != name:
            raise ResolutionError(
                f"{name}: {checkout.tree.place} is the project {found.name!r}",
                hint=f"call it {found.name} in the spec",
            )
        return found


def asked_of(spec: Spec, source: Source) -> tuple[frozenset[str], frozenset[str]]:
    """Return what decides how addresses in the requirements of ``source`` are taken."""
    names = {canonicalize_name(Requirement(line).name) for line in source.requires_dist}
    return spec.extras(source.name), spec.requested & names


def same_environment(old: Spec, new: Spec, source: Source) -> bool:
    """Return whether two specs say the same of what ``source`` was locked to be built with."""
    build, names = new.build_of(source.name), {each.name for each in source.requires}
    names |= {tool.name for tool in source.tools}
    return own_pins(old, build, names) == own_pins(new, build, names) and all(
        new.may_build(tool.name)
        and old.build_of(tool.name) == new.build_of(tool.name)
        and same_environment(old, new, tool)
        for tool in source.tools
    )


def own_pins(
    spec: Spec, build: SourceBuild, among: Collection[str] | None = None
) -> tuple[str, ...]:
    """Return the spec's own pins, which hold for build environments, too.

    A source compiled against another torch than the one beside it does not load. What the
    source's ``build.requires`` names is left to it.
    """
    own = {canonicalize_name(Requirement(line).name) for line in build.requires}
    pins = (each for each in spec.requirements if canonicalize_name(each.name) not in own)
    chosen = (each for each in pins if among is None or canonicalize_name(each.name) in among)
    return tuple(f"{each.name}{each.specifier}" for each in chosen)
