"""All that would have to be built and may not be, found at once and without running any of it.

What a project needs to be built stands in its pyproject.toml. So what turns out to be an sdist, be
it of the environment, of a build, or of a build before that, is looked into as if the spec allowed
it, and told with the rest. What only a project's own code asks for is met later.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from msgspec import structs
from packaging.requirements import Requirement

from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.lock import ArchiveSource
from envbuilder.model.package_spec import ArchivePackage, SourceBuild
from envbuilder.model.reference import Digest
from envbuilder.model.spec import Spec, name_of

from .archives.index_sdists import Indexes, RefusedSdistsError, choose_with_sdists, not_allowed
from .archives.locking import take_sdist
from .context import Context
from .git.checkout import Checkout
from .git.locking import own_pins
from .packages import ask_indexes, direct_stand_ins, early_sdists
from .python.direct import DirectWheel
from .python.metadata_wheel import StandIn
from .python.requirements import Chosen, choose_packages
from .python.sdists import IndexSdist, sdists_of
from .python.uv import NoWheelError
from .target import presumed_target

_Ask = Callable[[Collection[StandIn]], Chosen]


def refuse_sdists(
    context: Context,
    spec: Spec,
    *,
    direct: Iterable[DirectWheel],
    projects: Mapping[str, Checkout],
) -> None:
    """Raise RefusedSdistsError for what no base could have as wheels and ``spec`` does not build.

    ``projects`` are built in any case, by name. This takes a second or two, and the base, which
    comes first, takes minutes. What else is wrong is told when everything is known that it may
    depend on.
    """
    looking = _Looking(context=context, spec=spec)
    looking.at_environment(direct)
    if spec.build.sdists != "all":
        for name, project in sorted(projects.items()):
            looking.at_project(name, project)
    if looking.refused:
        whom = {name: _what_for(users) for name, users in looking.refused.items()}
        raise not_allowed(spec, whom, looking.said[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looking:
    """What was found so far: who needs what is ``refused``, and what the resolver ``said``."""

    context: Context
    spec: Spec
    refused: dict[str, set[str]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    seen: set[Digest] = field(default_factory=set)

    def at_environment(self, direct: Iterable[DirectWheel]) -> None:
        """Look at what the environment itself needs."""
        spec, target = self.spec, presumed_target(self.spec)
        unknown = {*spec.sources, *map(name_of, spec.archives)}
        try:
            known = [*direct_stand_ins(direct, spec, target)]
            ask = partial(ask_indexes, self.context, spec, target, known, provided=unknown)
            self._look("", ask, spec.requirements, early=early_sdists(spec))
        except RefusedSdistsError:
            raise
        except EnvbuilderError:
            return

    def at_project(self, name: str, project: Checkout) -> None:
        """Look at what ``project``, which is the package ``name``, says that it is built with."""
        build = project.pin.build
        try:
            asked = [*project.project.requires, *map(Requirement, build.requires)]
            wanted = [each for each in asked if each.url is None]
            if wanted:
                self._look(name, self._asking(wanted, build), wanted)
        except RefusedSdistsError as error:
            raise RefusedSdistsError(f"{name}: {error.message}", hint=error.hint) from error
        except EnvbuilderError:
            return

    def _asking(self, wanted: Collection[Requirement], build: SourceBuild) -> _Ask:
        def ask(offered: Collection[StandIn]) -> Chosen:
            return choose_packages(
                map(str, wanted),
                indexes=self.context.indexes,
                target=presumed_target(self.spec),
                index=self.spec.indexes,
                constraints=own_pins(self.spec, build),
                offered=offered,
            )

        return ask

    def _look(
        self,
        user: str,
        ask: _Ask,
        wanted: Collection[Requirement],
        *,
        early: Collection[str] = (),
    ) -> None:
        """Resolve as if every sdist were allowed, and look into those that are taken."""
        spec, taken = self.spec, dict[Digest, IndexSdist]()
        anything = structs.replace(spec, build=structs.replace(spec.build, sdists="all"))

        def examine(sdist: IndexSdist) -> ArchiveSource:
            taken[sdist.sha256] = sdist
            return ArchiveSource(
                name=sdist.name,
                version=sdist.version,
                filename=sdist.filename,
                size=sdist.size,
                sha256=sdist.sha256,
            )

        target = presumed_target(spec)
        indexes = Indexes(
            ask=self._listening(ask),
            offers=lambda name: sdists_of(self.context.indexes, name, target, spec.indexes),
            examine=examine,
        )
        _, sdists = choose_with_sdists(anything, indexes, wanted=wanted, early=early)
        if spec.build.sdists == "all":
            return
        for each in sdists:
            if not spec.may_build(each.name):
                self.refused.setdefault(each.name, set()).add(user)
            self._into(taken[each.sha256])

    def _into(self, sdist: IndexSdist) -> None:
        if sdist.sha256 not in self.seen:
            self.seen.add(sdist.sha256)
            tree = take_sdist(self.context, sdist).archive
            pin = ArchivePackage(build=self.spec.build_of(sdist.name))
            self.at_project(sdist.name, Checkout(tree=tree, pin=pin))

    def _listening(self, ask: _Ask) -> _Ask:
        def listen(offered: Collection[StandIn]) -> Chosen:
            try:
                return ask(offered)
            except NoWheelError as error:
                self.said.append(error.said)
                raise

        return listen


def _what_for(users: Collection[str]) -> str:
    """Say in a few words what a package is needed for; nothing if the environment needs it."""
    return "" if "" in users else f", to build {', '.join(sorted(users))}"
