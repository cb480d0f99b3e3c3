"""Build requirements of which an index has sdists alone: locked like every source, tools in turn.

Wheels come first: an sdist counts only where nothing else is left, and only if the spec lets it be
built. What needs itself to be built is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import msgspec
from packaging.requirements import Requirement

from envbuilder.model.errors import ResolutionError
from envbuilder.model.lock import ArchiveSource, Source
from envbuilder.model.package_spec import ArchivePackage, Package, SourceBuild
from envbuilder.model.spec import name_of
from envbuilder.resolve.git.checkout import Checkout
from envbuilder.resolve.git.locking import Locking, own_pins
from envbuilder.resolve.git.question import Question
from envbuilder.resolve.git.tools import Equipment
from envbuilder.resolve.python.direct import fetch_again
from envbuilder.resolve.python.requirements import PythonTarget, choose_packages
from envbuilder.resolve.python.sdists import IndexSdist, sdists_of

from .index_sdists import Indexes, Key, choose_with_sdists
from .locking import lock_archive, take_sdist
from .supply import archive_in, index_address

_DEEPEST = 8  # tools that are built with tools


@dataclass(frozen=True, slots=True, kw_only=True)
class SdistTools:
    """The toolbox of ``work``; ``before`` are a source's tools that were locked.

    ``chain`` are those that are being locked just now, each for the one before it.
    """

    work: Locking
    before: tuple[ArchiveSource, ...] = ()
    chain: tuple[Key, ...] = ()

    @classmethod
    def of(cls, work: Locking, before: Source | None, *, chain: tuple[Key, ...] = ()) -> SdistTools:
        """Return the toolbox for a source of ``work``, of which ``before`` was locked."""
        return cls(work=work, before=() if before is None else before.tools, chain=chain)

    @property
    def facts(self) -> Mapping[str, object]:
        """Which sdists the spec allows, and how it builds packages; empty if it allows none."""
        spec = self.work.spec
        if not spec.sdists and spec.build.sdists != "all":
            return {}
        tables = ((key, pin) for key, pin in spec.packages.items() if isinstance(pin, Package))
        builds = {name_of(key): msgspec.to_builtins(pin.build) for key, pin in tables}
        return {
            "all": spec.build.sdists == "all",
            "sdists": sorted(spec.sdists),
            "build": builds,
            "pins": own_pins(spec, SourceBuild()),  # of which a source's own leave some out
        }

    def choose(
        self, requires: Sequence[str], question: Question, target: PythonTarget
    ) -> Equipment:
        """Resolve ``requires`` for ``target``; see Toolbox."""
        context = self.work.context
        ask = partial(
            choose_packages,
            requires,
            indexes=context.indexes,
            target=target,
            index=question.index,
            held=question.held,
            constraints=question.constraints,
        )
        indexes = Indexes(
            ask=lambda offered: ask(offered=offered),
            offers=lambda name: sdists_of(context.indexes, name, target, question.index),
            examine=lambda sdist: self._lock(sdist, target),
            # The last word is that for the spec's own target: what is asked before is no news.
            note=context.progress.note if target == self.work.target else lambda _: None,
        )
        wanted = tuple(map(Requirement, requires))
        wheels, tools = choose_with_sdists(
            self.work.spec, indexes, wanted=wanted, early=self._held(question)
        )
        return Equipment(wheels=wheels, tools=tools)

    def _held(self, question: Question) -> frozenset[str]:
        """Return the tools that stay what they are, whatever wheels of them there are by now."""
        allowed = (each.name for each in self.before if self.work.spec.may_build(each.name))
        return frozenset(name for name in allowed if name in question.held)

    def checkout(self, tool: ArchiveSource) -> Checkout:
        """Return the files of ``tool``; see Toolbox."""
        context, spec = self.work.context, self.work.spec
        if not context.store.has(tool.sha256):
            fetch_again(context, index_address(context, tool, spec.indexes), tool)
        tree = archive_in(context.store, tool.filename, tool.sha256, tool.time)
        pin = ArchivePackage(build=spec.build_of(tool.name))
        return Checkout(tree=tree, pin=pin, sources=tool.sources)

    def _lock(self, sdist: IndexSdist, target: PythonTarget) -> ArchiveSource:
        """Lock ``sdist``. What was locked, and asking in a base, are for the spec's target only."""
        chain = (*self.chain, (sdist.name, sdist.version))
        _check_chain(chain)
        work = replace(self.work, target=target, toolbox=partial(SdistTools.of, chain=chain))
        before = next((each for each in self.before if each.name == sdist.name), None)
        if target != self.work.target:
            work, before = replace(work, environment=None), None
        taken = take_sdist(work.context, sdist)
        return lock_archive(work, taken, version=sdist.version, before=before)


def _check_chain(chain: tuple[Key, ...]) -> None:
    shown = " → ".join(f"{name} {version}" for name, version in chain)
    last, *others = reversed(chain)
    if last in others:
        raise ResolutionError(
            f"{last[0]} {last[1]} can only be built with itself: {shown}",
            hint="let one of them be built with a version that has a wheel: "
            '`build: {requires: ["NAME==…"]}` of what needs it',
        )
    if len(chain) > _DEEPEST:
        hint = "name a version of one of them that has a wheel, by `build: {requires: […]}`"
        raise ResolutionError(f"tools are built with tools too deep: {shown}", hint=hint)
