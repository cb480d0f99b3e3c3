"""Ranges that gave an older release because of the base: what else would be silent is said."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name
from packaging.version import Version

from envbuilder.model.filenames import parse_wheel_filename
from envbuilder.model.lock import Wheel
from envbuilder.model.package_spec import Index

from .download import IndexClient
from .index_pages import IndexFile
from .releases import visible_files
from .requirements import PythonTarget

_NEWEST_GLIBC = 60
"""Newer than any that a wheel was made for."""
_PLATFORM = re.compile(r"manylinux_2_(\d+)_")


def held_back(
    indexes: IndexClient,
    requirements: Iterable[Requirement],
    wheels: Collection[Wheel],
    *,
    target: PythonTarget,
    index: Index,
) -> Iterator[str]:
    """Say which requirements chose an older release, as newer ones want a newer glibc.

    Raises NetworkError, and ResolutionError for a package that no index has any more.
    """
    chosen = {wheel.name: wheel.version for wheel in wheels}
    for each in requirements:
        name = canonicalize_name(each.name)
        if name not in chosen or is_exact(each.specifier) or target.musl is not None:
            continue
        files = visible_files(indexes, name, index)
        older = Version(chosen[name])
        newest = _missed(files, each, older, target)
        if newest is not None:
            version, glibc = newest
            yield (
                f"{name} {older} is not the newest that {each.specifier or '*'} allows: the wheels "
                f"of {version} want glibc 2.{glibc}, and the base has 2.{target.glibc}"
            )


def is_exact(specifier: SpecifierSet) -> bool:
    """Return whether ``specifier`` names one version."""
    return any(each.operator in {"==", "==="} and "*" not in each.version for each in specifier)


def _missed(
    files: Iterable[IndexFile], each: Requirement, older: Version, target: PythonTarget
) -> tuple[Version, int] | None:
    """Find the newest release that only a newer glibc may have, and the oldest such glibc."""
    wanted = older.is_prerelease or bool(each.specifier.prereleases)
    offered: dict[Version, int] = {}
    for version, glibc in _glibcs(files, target):
        if version > older and each.specifier.contains(version, prereleases=wanted):
            offered[version] = min(glibc, offered.get(version, glibc))
    return max(((v, g) for v, g in offered.items() if g > target.glibc), default=None)


def _glibcs(files: Iterable[IndexFile], target: PythonTarget) -> Iterator[tuple[Version, int]]:
    """Yield the version of each wheel for this Python and machine, and the glibc that it wants."""
    any_glibc = replace(target, glibc=_NEWEST_GLIBC).tags()
    for file in files:
        try:
            _, version, _, tags = parse_wheel_filename(file.filename)
        except InvalidWheelFilename:  # an sdist, or an old installer
            continue
        fitting = [tag for tag in tags if tag in any_glibc]
        if fitting and not file.yanked:
            found = (_PLATFORM.match(tag.platform) for tag in fitting)
            yield version, min(int(match[1]) if match else 0 for match in found)
