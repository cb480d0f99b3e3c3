"""Every wheel of a package that fits: what uv chose from, and what the other indexes have of it.

uv takes a version from the first index that has it. Another index may hold a better wheel of that
very version, or, for a locked hash, the only one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name
from packaging.version import Version

from envbuilder.model.filenames import parse_wheel_filename
from envbuilder.model.lock import ArchiveSource, Wheel
from envbuilder.model.package_spec import Index
from envbuilder.model.reference import Digest

from .download import IndexClient, RefusedError
from .index_pages import IndexFile, index_page, index_urls
from .indexes import exempted, visible_until

if TYPE_CHECKING:
    from .requirements import PythonTarget

F = TypeVar("F", Wheel, ArchiveSource)

_AT_ONCE = 8
_UNKNOWN = 403  # what indexes on plain file stores answer for a package that they do not have


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A wheel and the address at which an index offers it just now."""

    wheel: Wheel
    url: str


def offers_of(packages: Iterable[dict[str, Any]], target: PythonTarget) -> Iterator[Located]:
    """Yield every wheel of uv's ``packages`` that fits ``target``."""
    ranks = target.tags()
    for package in packages:
        for entry in package.get("wheels", ()):
            url = entry.get("url") or Path(entry["path"]).resolve().as_uri()
            filename = entry.get("name") or unquote(urlsplit(url).path.rsplit("/", 1)[-1])
            if fits(filename, ranks):
                wheel = Wheel(
                    name=canonicalize_name(package["name"]),
                    version=package["version"],
                    filename=filename,
                    size=entry.get("size", 0),
                    sha256=Digest(entry["hashes"]["sha256"]),
                )
                yield Located(wheel=wheel, url=url)


def offers_elsewhere(
    indexes: IndexClient, packages: Iterable[dict[str, Any]], target: PythonTarget, index: Index
) -> Iterator[Located]:
    """Yield what all indexes have of the very versions of uv's ``packages``.

    Only if the best version of all indexes counts, and there are several. Raises NetworkError for
    an index that does not answer: without its word the choice would depend on the day.
    """
    if index.strategy != "best-match":
        return
    versions: dict[str, str] = {canonicalize_name(p["name"]): p["version"] for p in packages}
    urls = {name: index_urls(indexes, name, index) for name in versions}
    ranks, until, spared = target.tags(), visible_until(index), exempted(index)

    def fitting(pairs: list[tuple[str, str]]) -> Iterator[tuple[str, IndexFile]]:
        for name, file in _files(indexes, pairs):
            visible = None if name in spared else until
            if _is_of(file, name, versions[name], ranks) and is_visible(file, visible):
                yield name, file

    # What one index alone has, uv has told; and most packages only the default has, the first.
    found = [*fitting([(name, url) for name, each in urls.items() for url in each[1:]])]
    shared = {name for name, _ in found}
    found += fitting([(name, urls[name][0]) for name in sorted(shared)])
    yield from (_located(name, versions[name], file) for name, file in found)


def locate_by_hash(indexes: IndexClient, wanted_files: Iterable[F], index: Index) -> dict[F, str]:
    """Find files by their hash in every index, whatever may be chosen from it: file -> URL."""
    wanted = {file.sha256.hex: file for file in wanted_files}
    everywhere = Index(url=index.url, extra_urls=(*index.extra_urls, *index.named.values()))
    names = sorted({file.name for file in wanted.values()})
    pairs = [(name, url) for name in names for url in index_urls(indexes, name, everywhere)]
    files = (file for _, file in _files(indexes, pairs))
    return {wanted[file.sha256]: file.url for file in files if file.sha256 in wanted}


def fits(filename: str, ranks: Mapping[Tag, int]) -> bool:
    """Return whether a wheel of that name has a tag among ``ranks``."""
    return any(tag in ranks for tag in parse_wheel_filename(filename)[3])


def _files(indexes: IndexClient, pairs: list[tuple[str, str]]) -> Iterator[tuple[str, IndexFile]]:
    """Read the pages of packages, each with an index's URL, several at a time."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        pages = pool.map(lambda pair: _page(indexes, *pair), pairs)
        for (name, _), page in zip(pairs, pages, strict=True):
            yield from ((name, file) for file in page)


def _page(indexes: IndexClient, name: str, url: str) -> tuple[IndexFile, ...]:
    try:
        return index_page(indexes, url, name) or ()
    except RefusedError as error:
        if error.status != _UNKNOWN:
            raise
        return ()


def _is_of(file: IndexFile, name: str, version: str, ranks: Mapping[Tag, int]) -> bool:
    if not file.sha256 or file.yanked:
        return False
    try:
        found, its_version, _, tags = parse_wheel_filename(file.filename)
    except InvalidWheelFilename:  # an sdist, or an old installer
        return False
    return (found, its_version) == (name, Version(version)) and not tags.isdisjoint(ranks)


def is_visible(file: IndexFile, until: datetime | None) -> bool:
    """Return whether a file was uploaded before ``until``; one without a moment was not."""
    if until is None:
        return True
    return bool(file.uploaded) and datetime.fromisoformat(file.uploaded) < until


def _located(name: str, version: str, file: IndexFile) -> Located:
    sha256 = Digest(file.sha256)
    wheel = Wheel(name=name, version=version, filename=file.filename, size=file.size, sha256=sha256)
    return Located(wheel=wheel, url=file.url)
