"""Requirements -> wheels: what a target platform and Python would install, as uv resolves it.

Only wheels count: an sdist would run code of unknown make at install time. What must be compiled
is a git source with a locked build environment.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import tomli_w
from packaging.markers import Marker
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from envbuilder.model.errors import ResolutionError
from envbuilder.model.lock import Wheel
from envbuilder.model.reference import Digest
from envbuilder.model.spec import MACHINES, Index
from envbuilder.storage.temporary import work_folder

from .download import IndexClient
from .indexes import index_flags, uv_environment, visible_until
from .uv import run_uv

_UV_GLIBC = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)  # what uv has platform names for
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonTarget:
    """What wheels must run on: ``python`` "3.13", an OCI platform, glibc 2.``glibc``."""

    python: str
    platform: str
    glibc: int = 28

    @property
    def machine(self) -> str:
        """The machine as Python names it (x86_64, aarch64)."""
        return MACHINES[self.platform]

    @property
    def uv_platform(self) -> str:
        """The nearest platform that uv has a name for."""
        glibc = next((minor for minor in _UV_GLIBC if minor <= self.glibc), 17)
        return f"{self.machine}-manylinux_2_{glibc}"

    def tags(self) -> Mapping[Tag, int]:
        """Rank the wheel tags that fit, best (0) first; PEP 425, PEP 600."""
        return _tags(self)

    def markers(self) -> dict[str, str]:
        """Return the environment in which PEP 508 markers are evaluated."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


@cache
def _tags(target: PythonTarget) -> Mapping[Tag, int]:
    version = tuple(int(part) for part in target.python.split("."))
    platforms = []
    for minor in range(target.glibc, 4, -1):
        platforms.append(f"manylinux_2_{minor}_{target.machine}")
        if minor in _LEGACY:
            platforms.append(f"{_LEGACY[minor]}_{target.machine}")
    platforms.append(f"linux_{target.machine}")
    interpreter = f"cp{version[0]}{version[1]}"
    ordered = [
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(ordered)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A wheel and the address at which an index offers it just now."""

    wheel: Wheel
    url: str


def resolve_python(
    requirements: Iterable[str],
    *,
    indexes: IndexClient,
    target: PythonTarget,
    index: Index,
    held: Mapping[str, str] | None = None,
    provided: Iterable[str] = (),
    constraints: Iterable[str] = (),
    apart: Collection[str] = (),
    offline: bool = False,
) -> tuple[Wheel, ...]:
    """Resolve ``requirements`` (PEP 508 lines) for ``target``; sorted by name.

    ``held`` maps names to versions that stay as they are unless something forces them;
    ``provided`` names distributions that the base brings, which are left out of the resolution;
    ``apart`` names git sources, which take part in it by a stand-in, but are no wheels yet.
    Raises ResolutionError with who wants what, or NetworkError.
    """
    wanted, limits = [*requirements], [*constraints]

    def compile_with(held: Mapping[str, str], limits: list[str]) -> list[dict[str, Any]]:
        return _compile(
            wanted,
            target=target,
            index=index,
            held=held,
            provided=[*provided],
            constraints=limits,
            flags=["--offline"] if offline else [],
        )

    try:
        # As constraints, held versions are the whole search: fast, and no index can sway it.
        fixed = [f"{name}=={version}" for name, version in (held or {}).items()]
        packages = compile_with({}, [*limits, *fixed])
    except ResolutionError:
        if not held:
            raise
        packages = compile_with(held, limits)  # something forces at least one of them
    picked = [package for package in packages if canonicalize_name(package["name"]) not in apart]
    return tuple(sorted(_sized(located, indexes) for located in _select(picked, target)))


def _sized(located: Located, indexes: IndexClient) -> Wheel:
    """Fill in the size where the index does not tell it (PEP 700 made that optional)."""
    if located.wheel.size:
        return located.wheel
    return replace(located.wheel, size=indexes.size_of(located.url))


def locate_wheels(
    wheels: Iterable[Wheel], *, target: PythonTarget, index: Index
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
    packages = _compile(pins, target=target, index=undated, flags=["--no-deps"])
    found = {
        wanted[located.wheel.sha256]: located.url
        for located in _offers(packages, target)
        if located.wheel.sha256 in wanted
    }
    lost = [wheel for wheel in wanted.values() if wheel not in found]
    if lost:
        names = "\n".join(f"  {wheel.filename} ({wheel.sha256})" for wheel in lost)
        raise ResolutionError(
            f"no configured index offers these locked files any more:\n{names}",
            hint="add an index or mirror that has them, or lock again",
        )
    return found


def _compile(
    requirements: list[str],
    *,
    target: PythonTarget,
    index: Index,
    held: Mapping[str, str] | None = None,
    provided: Iterable[str] = (),
    constraints: Iterable[str] = (),
    flags: Iterable[str] = (),
) -> list[dict[str, Any]]:
    with work_folder("envbuilder-resolve") as folder:
        arguments = ["pip", "compile", "requirements.in", "--output-file", "pylock.toml"]
        arguments += ["--format", "pylock.toml", "--no-header", "--no-build", *flags]
        # Nothing is built, so no interpreter is needed either: uv would fetch one, or try for long.
        arguments += ["--no-python-downloads"]
        arguments += ["--python-version", target.python, "--python-platform", target.uv_platform]
        arguments += ["--python", sys.executable]  # else uv searches PATH for half a second
        environment = uv_environment(index)
        arguments += index_flags(index, environment)
        _lines(folder / "requirements.in", requirements)
        for option, lines in (("--excludes", provided), ("--constraints", constraints)):
            if listed := list(lines):
                _lines(folder / option.strip("-"), listed)
                arguments += [option, option.strip("-")]
        if (until := visible_until(index)) is not None:
            arguments += ["--exclude-newer", until.isoformat()]
        # uv keeps the versions that it finds in its output file, if nothing forces others.
        (folder / "pylock.toml").write_text(_preferences(held or {}), encoding="utf-8")
        run_uv(arguments, environment=environment, cwd=folder)
        found = tomllib.loads((folder / "pylock.toml").read_text(encoding="utf-8"))
    packages: list[dict[str, Any]] = found.get("packages", [])
    return packages


def _lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _preferences(held: Mapping[str, str]) -> str:
    packages = [{"name": name, "version": version} for name, version in sorted(held.items())]
    return tomli_w.dumps({"lock-version": "1.0", "created-by": "uv", "packages": packages})


def _select(packages: list[dict[str, Any]], target: PythonTarget) -> list[Located]:
    """Take the best wheel of each package."""
    ranks = target.tags()
    best: dict[str, Located] = {}
    for located in _offers(packages, target):
        rival = best.setdefault(located.wheel.name, located)
        if _rank(located.wheel.filename, ranks) < _rank(rival.wheel.filename, ranks):
            best[located.wheel.name] = located
    applying = (package for package in packages if _applies(package, target))
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


def _offers(packages: list[dict[str, Any]], target: PythonTarget) -> list[Located]:
    """List every wheel of ``packages`` that fits the target."""
    ranks = target.tags()
    offers = []
    for package in packages:
        if not _applies(package, target):
            continue
        for entry in package.get("wheels", ()):
            url = entry.get("url") or Path(entry["path"]).resolve().as_uri()
            filename = entry.get("name") or unquote(urlsplit(url).path.rsplit("/", 1)[-1])
            if not _fits(filename, ranks):
                continue
            wheel = Wheel(
                name=canonicalize_name(package["name"]),
                version=package["version"],
                filename=filename,
                size=entry.get("size", 0),
                sha256=Digest(entry["hashes"]["sha256"]),
            )
            offers.append(Located(wheel=wheel, url=url))
    return offers


def _fits(filename: str, ranks: Mapping[Tag, int]) -> bool:
    return any(tag in ranks for tag in parse_wheel_filename(filename)[3])


def _rank(filename: str, ranks: Mapping[Tag, int]) -> tuple[int, tuple[int, str]]:
    """Order wheels as installers do: best tag first, then the highest build number."""
    _, _, build, tags = parse_wheel_filename(filename)
    number, suffix = build or (0, "")
    return min(ranks[tag] for tag in tags if tag in ranks), (-number, suffix)
