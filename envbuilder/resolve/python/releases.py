"""Which releases of a package the machine's indexes offer, with dates and sizes.

Resolving is uv's work; this is only for looking around: what is newer, what is near.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from packaging.tags import Tag
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, canonicalize_name
from packaging.version import Version

from envbuilder.model.errors import ResolutionError
from envbuilder.model.filenames import parse_sdist_filename, parse_wheel_filename
from envbuilder.model.package_spec import Index

from .download import IndexClient
from .index_pages import IndexFile, index_page, index_urls
from .indexes import exempted, visible_until
from .requirements import PythonTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version with a file that fits.

    ``uploaded`` is RFC 3339 and ``size`` is in bytes; empty and 0 where the index tells neither.
    """

    version: str
    uploaded: str = ""
    size: int = 0
    yanked: bool = False


def releases(
    indexes: IndexClient, name: str, *, target: PythonTarget, index: Index, built: bool = False
) -> tuple[Release, ...]:
    """List the releases of ``name`` that have a wheel for ``target``, oldest first.

    Of what is ``built`` an sdist will do as well.
    What ``index.exclude_newer`` hides is left out. Raises NetworkError, and ResolutionError if
    no index knows the package.
    """
    files = visible_files(indexes, name, index)
    return tuple(_by_version(files, name, target.tags(), built=built))


def visible_files(indexes: IndexClient, name: str, index: Index) -> list[IndexFile]:
    """List the files of ``name`` in all indexes, but for what ``index.exclude_newer`` hides.

    Raises what :func:`releases` does.
    """
    urls = index_urls(indexes, name, index)
    pages = [page for url in urls if (page := index_page(indexes, url, name)) is not None]
    if not pages:
        raise ResolutionError(
            f"none of the {len(urls)} configured indexes has a package {name}",
            hint="check the name, and the index settings (UV_* or PIP_* variables)",
        )
    until = None if name in exempted(index) else visible_until(index)
    files = (file for page in pages for file in page)
    return [file for file in files if until is None or _is_before(file.uploaded, until)]


def _is_before(uploaded: str, until: datetime) -> bool:
    """Return whether a file was there; where the index tells no date, it counts as newer."""
    return bool(uploaded) and datetime.fromisoformat(uploaded) < until


def _by_version(
    files: Iterable[IndexFile], name: str, ranks: Mapping[Tag, int], *, built: bool = False
) -> list[Release]:
    """Take for each version the first file that fits; a version is yanked when all files are."""
    found: dict[Version, Release] = {}
    for file in files:
        version = _fitting_version(file.filename, name, ranks, built=built)
        if version is None:
            continue
        release = Release(
            version=str(version),
            uploaded=file.uploaded,
            size=file.size,
            yanked=file.yanked,
        )
        known = found.get(version)
        if known is None or (known.yanked and not release.yanked):
            found[version] = release
    return [found[version] for version in sorted(found)]


def _fitting_version(
    filename: str, name: str, ranks: Mapping[Tag, int], *, built: bool
) -> Version | None:
    try:
        found, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:  # an sdist, or an old installer
        return _sdist_version(filename, name) if built else None
    return version if found == canonicalize_name(name) and not tags.isdisjoint(ranks) else None


def _sdist_version(filename: str, name: str) -> Version | None:
    try:
        found, version = parse_sdist_filename(filename)
    except InvalidSdistFilename:
        return None
    return version if found == canonicalize_name(name) else None
