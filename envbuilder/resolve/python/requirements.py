"""Requirements -> wheels: what a target platform and Python would install, as uv resolves it.

Only wheels count: an sdist would run code of unknown make at install time. What must be compiled
has a locked build environment, and takes part by stand-ins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import msgspec
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name

from envbuilder.model.errors import NetworkError, ResolutionError
from envbuilder.model.filenames import parse_wheel_filename
from envbuilder.model.lock import Wheel
from envbuilder.model.package_spec import Index
from envbuilder.model.spec_words import MACHINES

from .compilation import Found, Problem, compile_packages
from .download import IndexClient
from .index_pages import index_page, index_urls
from .metadata_wheel import StandIn
from .offers import Located, locate_by_hash, offers_elsewhere, offers_of
from .stated_version import as_stated
from .uv import NoWheelError

_UV_GLIBC = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)  # what uv has platform names for
_NOT_FOUND = re.compile(r"([\w.-]+) was not found in the package registry")
_MOST_TOLD = 40
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonTarget:
    """What wheels must run on: ``python`` "3.13", an OCI platform, glibc 2.``glibc``.

    Or musl 1.``musl`` in its place. ``patch`` is the patch release of that Python, if it is known.
    """

    python: str
    platform: str
    glibc: int = 28
    patch: int | None = None
    musl: int | None = None

    @property
    def full(self) -> str:
        """The Python release as far as it is known: X.Y.Z, else X.Y."""
        return self.python if self.patch is None else f"{self.python}.{self.patch}"

    @property
    def machine(self) -> str:
        """The machine as Python names it (x86_64, aarch64)."""
        return MACHINES[self.platform]

    @property
    def uv_platform(self) -> str:
        """The nearest platform that uv has a name for."""
        if self.musl is not None:
            return f"{self.machine}-unknown-linux-musl"
        glibc = next((minor for minor in _UV_GLIBC if minor <= self.glibc), 17)
        return f"{self.machine}-manylinux_2_{glibc}"

    def tags(self) -> Mapping[Tag, int]:
        """Rank the wheel tags that fit, best (0) first; PEP 425, PEP 600."""
        return _tags(self)

    def markers(self) -> dict[str, str]:
        """Return the environment in which PEP 508 markers are evaluated."""
        release = f"{self.python}.{self.patch or 0}"
        return {
            "implementation_name": "cpython",
            "implementation_version": release,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": release,
            "python_version": self.python,
            "sys_platform": "linux",
        }


@cache
def _tags(target: PythonTarget) -> Mapping[Tag, int]:
    version = tuple(int(part) for part in target.python.split("."))
    platforms = [f"{each}_{target.machine}" for each in (*_platforms(target), "linux")]
    interpreter = f"cp{version[0]}{version[1]}"
    ordered = [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}


def _platforms(target: PythonTarget) -> Iterator[str]:
    """Yield what wheels call the C libraries that will do, newest first."""
    if target.musl is not None:
        yield from (f"musllinux_1_{minor}" for minor in range(target.musl, -1, -1))
        return
    for minor in range(target.glibc, 4, -1):
        yield f"manylinux_2_{minor}"
        if minor in _LEGACY:
            yield _LEGACY[minor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What a resolution took: ``wheels``, and of what was ``offered`` beside them, by name."""

    wheels: tuple[Wheel, ...]
    offered: tuple[StandIn, ...] = ()


def resolve_python(
    requirements: Iterable[str],
    *,
    indexes: IndexClient,
    target: PythonTarget,
    index: Index,
    held: Mapping[str, str] | None = None,
    constraints: Iterable[str] = (),
) -> tuple[Wheel, ...]:
    """Resolve ``requirements`` to wheels alone; see :func:`choose_packages`."""
    return choose_packages(
        requirements,
        indexes=indexes,
        target=target,
        index=index,
        held=held,
        constraints=constraints,
    ).wheels


def choose_packages(
    requirements: Iterable[str],
    *,
    indexes: IndexClient,
    target: PythonTarget,
    index: Index,
    held: Mapping[str, str] | None = None,
    provided: Iterable[str] = (),
    constraints: Iterable[str] = (),
    overrides: Iterable[str] = (),
    apart: Collection[str] = (),
    offered: Collection[StandIn] = (),
    offline: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> Chosen:
    """Resolve ``requirements`` (PEP 508 lines) for ``target``; sorted by name.

    ``held`` maps names to versions that stay as they are unless something forces them;
    ``provided`` names distributions that the base brings, which are left out of the resolution;
    ``apart`` names what takes part in it by a stand-in, and is no wheel of an index; ``offered``
    are versions that may be chosen beside those that have wheels. ``note`` is told of what was
    yanked. Raises ResolutionError with who wants what, NoWheelError that names all that have sdists
    alone, or NetworkError.
    """
    problem = Problem(
        requirements=tuple(requirements),
        target=target,
        index=index,
        excludes=tuple(provided),
        constraints=tuple(constraints),
        overrides=tuple(overrides),
        offered=tuple(offered),
        flags=("--offline",) if offline else (),
    )
    found = _solve(indexes, problem, held or {})
    for pin, reason in sorted(found.yanked.items()):
        note(f"warning: {pin} was yanked: {reason or 'no reason is told'}")
    beside = {(each.name, each.version): each for each in offered}
    taken = [key for each in found.packages if (key := _key(each)) in beside]
    names = {*apart, *(name for name, _ in taken)}
    packages = [each for each in found.packages if canonicalize_name(each["name"]) not in names]
    chosen = _select(indexes, packages, target, index)
    wheels = (as_stated(indexes, _sized(indexes, located), located.url) for located in chosen)
    return Chosen(wheels=tuple(sorted(wheels)), offered=tuple(beside[key] for key in sorted(taken)))


def _key(package: Mapping[str, Any]) -> tuple[str, str]:
    return canonicalize_name(package["name"]), str(package["version"])


def _solve(indexes: IndexClient, problem: Problem, held: Mapping[str, str]) -> Found:
    """Solve ``problem`` with the ``held`` versions, or as many of them as can stay."""
    try:
        # As constraints, held versions are the whole search: fast, and no index can sway it.
        fixed = (f"{name}=={version}" for name, version in held.items())
        return compile_packages(replace(problem, constraints=(*problem.constraints, *fixed)))
    except ResolutionError as error:
        if not held:
            raise _explained(indexes, error, problem) from error
    try:
        return compile_packages(replace(problem, held=held))  # something forces one at least
    except ResolutionError as error:
        raise _explained(indexes, error, problem) from error


def _all_without_wheels(problem: Problem, first: NoWheelError) -> NoWheelError:
    """Find whatever else has no wheels: uv tells of one, and stops."""
    names = [*first.packages]
    while len(names) < _MOST_TOLD:
        try:
            compile_packages(replace(problem, excludes=(*problem.excludes, *names)))
        except NoWheelError as error:
            names += error.packages
        except ResolutionError:  # for another reason, which comes up once these are mended
            break
        else:
            break
    packages = tuple(sorted(canonicalize_name(name) for name in names))
    message = first.message
    if len(names) > 1:
        lines = "\n".join(f"  {name}" for name in packages)
        message = f"{len(names)} packages have no usable wheels:\n{lines}\n{message}"
    return NoWheelError(message, packages=packages, hint=first.hint, said=first.said)


def _explained(indexes: IndexClient, error: ResolutionError, problem: Problem) -> ResolutionError:
    """Tell of an index that refused to say whether it has what was not found: uv passes over it."""
    if isinstance(error, NoWheelError):
        return _all_without_wheels(problem, error)
    try:
        for name in _NOT_FOUND.findall(error.message):
            for url in index_urls(indexes, name, problem.index):
                index_page(indexes, url, name)
    except NetworkError as refused:
        return ResolutionError(f"{error.message}\n  {refused.message}", hint=refused.hint)
    return error


def _sized(indexes: IndexClient, located: Located) -> Wheel:
    """Fill in the size if the index does not tell it (PEP 700 made that optional)."""
    if located.wheel.size:
        return located.wheel
    return replace(located.wheel, size=indexes.size_of(located.url))


def locate_wheels(
    wheels: Iterable[Wheel], *, indexes: IndexClient, target: PythonTarget, index: Index
) -> dict[Wheel, str]:
    """Ask the machine's indexes where the given wheels lie: wheel -> URL.

    The lock names no host, so this is asked anew on every machine. Raises ResolutionError that
    names each wheel which no index offers under its locked hash.
    """
    wanted = {wheel.sha256: wheel for wheel in wheels}
    if not wanted:
        return {}
    pins = sorted(f"{wheel.name}=={wheel.version}" for wheel in wanted.values())
    # A hash says more than a date, which not every mirror tells.
    undated = msgspec.structs.replace(index, exclude_newer=None)
    problem = Problem(requirements=tuple(pins), target=target, index=undated, flags=("--no-deps",))
    try:
        offers = [*offers_of(compile_packages(problem).packages, target)]
    except ResolutionError:  # of one package alone, maybe; which, its hash tells
        offers = []
    sha256s = ((each.wheel.sha256, each.url) for each in offers)
    found = {wanted[sha256]: url for sha256, url in sha256s if sha256 in wanted}
    found |= locate_by_hash(
        indexes, (each for each in wanted.values() if each not in found), undated
    )
    lost = [wheel for wheel in wanted.values() if wheel not in found]
    if lost:
        names = "\n".join(f"  {wheel.filename} ({wheel.sha256})" for wheel in lost)
        raise ResolutionError(
            f"no configured index offers these locked files any more:\n{names}",
            hint="add an index or mirror that has them, put them into the folder wheels beside the "
            "lock, or lock again",
        )
    return found


def _select(
    indexes: IndexClient, packages: list[dict[str, Any]], target: PythonTarget, index: Index
) -> list[Located]:
    """Take the best wheel of each package, of all that its version has anywhere."""
    ranks = target.tags()
    applying = [package for package in packages if _applies(package, target)]
    best: dict[str, Located] = {}
    offers = [*offers_of(applying, target), *offers_elsewhere(indexes, applying, target, index)]
    for located in offers:
        rival = best.setdefault(located.wheel.name, located)
        if _rank(located.wheel.filename, ranks) < _rank(rival.wheel.filename, ranks):
            best[located.wheel.name] = located
    wanted = {canonicalize_name(package["name"]) for package in applying}
    if missing := sorted(wanted - set(best)):
        raise ResolutionError(
            f"no wheel fits {target.uv_platform} with Python {target.python}: {', '.join(missing)}",
            hint="name a version with such a wheel, or build it with `git:`",
        )
    return list(best.values())


def _applies(package: dict[str, Any], target: PythonTarget) -> bool:
    marker = package.get("marker")
    return marker is None or Marker(marker).evaluate(environment=target.markers())


def _rank(filename: str, ranks: Mapping[Tag, int]) -> tuple[int, tuple[int, str]]:
    """Order wheels as installers do: best tag first, then the highest build number."""
    _, _, build, tags = parse_wheel_filename(filename)
    number, suffix = build or (0, "")
    return min(ranks[tag] for tag in tags if tag in ranks), (-number, suffix)
