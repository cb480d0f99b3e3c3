"""Resolution with sdists in it: which versions are taken, and what they need, found in turns.

The resolver sees sdists as stand-ins that need nothing, so that it can choose; what it chose is
examined, its stand-in then says the truth, and the resolver is asked again. So as little of foreign
code as possible runs, all of it contained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.errors import ResolutionError
from envbuilder.model.lock import ArchiveSource, Wheel
from envbuilder.model.spec import Spec
from envbuilder.resolve.python.metadata_wheel import StandIn
from envbuilder.resolve.python.requirements import Chosen
from envbuilder.resolve.python.sdists import IndexSdist
from envbuilder.resolve.python.uv import NoWheelError

_MOST_EXAMINED = 40

Key = tuple[str, str]
"""A package's canonical name and its version."""


class RefusedSdistsError(ResolutionError):
    """Something would have to be built that the spec does not allow, or that has no fit sdist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexes:
    """What choosing needs of the world, as functions.

    ``ask`` resolves with stand-ins on offer and raises NoWheelError for what has sdists alone;
    ``offers`` tells a package's sdists by version; ``examine`` builds the metadata of one; ``note``
    tells the user.
    """

    ask: Callable[[Collection[StandIn]], Chosen]
    offers: Callable[[str], Mapping[str, IndexSdist]]
    examine: Callable[[IndexSdist], ArchiveSource]
    note: Callable[[str], None] = lambda _: None


def choose_with_sdists(
    spec: Spec,
    indexes: Indexes,
    *,
    wanted: Collection[Requirement],
    early: Collection[str] = (),
) -> tuple[tuple[Wheel, ...], tuple[ArchiveSource, ...]]:
    """Resolve with the sdists that ``spec`` allows: the wheels, and what is to be built.

    ``wanted`` is what ``indexes`` resolve. Sdists of the packages ``early`` count from the start,
    those of others only where no wheel is left to choose. Raises RefusedSdistsError that names all
    that would have to be built and is not allowed to be, and what the functions of ``indexes``
    raise.
    """
    search = _Search(spec=spec, indexes=indexes, wanted=tuple(wanted))
    for name in sorted(early):
        search.offer(name)
    while True:
        chosen = search.ask()
        fresh = [key for key in map(_key, chosen.offered) if key not in search.examined]
        if not fresh:
            return chosen.wheels, tuple(search.examined[_key(each)] for each in chosen.offered)
        for key in fresh:
            search.examine(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    spec: Spec
    indexes: Indexes
    wanted: tuple[Requirement, ...]
    offered: dict[str, Mapping[str, IndexSdist]] = field(default_factory=dict)
    examined: dict[Key, ArchiveSource] = field(default_factory=dict)

    def offer(self, name: str) -> None:
        self.offered[name] = self.indexes.offers(name)

    def ask(self) -> Chosen:
        """Resolve; offer what turns out to be needed and is allowed to be built."""
        while True:
            try:
                return self.indexes.ask([*self._stand_ins()])
            except NoWheelError as error:
                needed = set(error.packages)
                new = {name for name in needed if self.spec.may_build(name)} - self.offered.keys()
                if needed - new:
                    raise refusal(self.spec, needed - new, error) from error
                for name in sorted(new):
                    self.offer(name)

    def examine(self, key: Key) -> None:
        if len(self.examined) == _MOST_EXAMINED:
            raise ResolutionError(
                f"{_MOST_EXAMINED} sdists were examined, and their requirements still do not agree",
                hint=f"pin {key[0]} to one version",
            )
        name, version = key
        sdist = self.offered[name][version]
        if sdist.yanked:
            self.indexes.note(f"warning: {name}=={version} was yanked")
        self.examined[key] = self.indexes.examine(sdist)

    def _stand_ins(self) -> Iterable[StandIn]:
        for name, sdists in self.offered.items():
            for version, sdist in sdists.items():
                if sdist.yanked and not _is_pinned(self.wanted, name, version):
                    continue
                known = self.examined.get((name, version))
                needs = () if known is None else known.requires_dist
                yield StandIn(name=name, version=version, requires_dist=needs)


def _is_pinned(wanted: Collection[Requirement], name: str, version: str) -> bool:
    """Return whether exactly this version is asked for."""
    asked = (each for each in wanted if canonicalize_name(each.name) == name)
    exact = (one for each in asked for one in each.specifier if one.operator in {"==", "==="})
    return any(one.contains(version, prereleases=True) for one in exact if "*" not in one.version)


def refusal(spec: Spec, names: Collection[str], error: NoWheelError) -> RefusedSdistsError:
    """Say which packages would have to be built, and the line of the spec that allows it."""
    already = spec.sdists.intersection(names)
    if already or spec.build.sdists == "all":
        listed = ", ".join(sorted(already or names))
        return RefusedSdistsError(
            f"{listed}: no sdist fits this Python, this version and this date\n{error.said}",
            hint="name another version, or build it from `git:`",
        )
    return not_allowed(spec, dict.fromkeys(names, ""), error.said)


def not_allowed(spec: Spec, names: Mapping[str, str], said: str) -> RefusedSdistsError:
    """Say which packages would have to be built, what for, and the line of the spec for it.

    ``names`` maps each to what it is needed for, in words; ``said`` is what the resolver said.
    """
    listed = ", ".join(sorted({*names, *spec.build.sdists}))
    lines = "\n".join(f"  {name}{names[name]}" for name in sorted(names))
    return RefusedSdistsError(
        f"only sdists, which are built if the spec allows it, and no wheels that fit:\n{lines}\n"
        f"{said}",
        hint=f"add to the spec `build: {{sdists: [{listed}]}}`; or name a version that has a "
        "wheel, one of your own (`url:`, `path:`), or a repository (`git:`)",
    )


def _key(each: StandIn) -> Key:
    return each.name, each.version
