"""The sdists that indexes offer of a package, where its versions have no wheel that fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename

from envbuilder.model.filenames import parse_sdist_filename, parse_wheel_filename
from envbuilder.model.package_spec import Index
from envbuilder.model.reference import Digest

from .download import IndexClient
from .index_pages import IndexFile, index_page, index_urls
from .indexes import exempted, visible_until
from .offers import is_visible
from .requirements import PythonTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSdist:
    """An sdist that an index offers at ``url``; ``size`` is 0 if the index does not tell it.

    A ``yanked`` one counts only for whoever asks for this very version (PEP 592).
    """

    name: str
    version: str
    filename: str
    url: str
    sha256: Digest
    size: int
    yanked: bool = False


def sdists_of(
    indexes: IndexClient, name: str, target: PythonTarget, index: Index
) -> dict[str, IndexSdist]:
    """Return the sdists of ``name`` (canonical) by version, where no wheel fits ``target``.

    What the spec's date hides and what is for other Pythons does not count. Raises NetworkError if
    an index does not answer.
    """
    until = None if name in exempted(index) else visible_until(index)
    files = [file for file in _files(indexes, name, index) if is_visible(file, until)]
    with_wheel = {version for file in files if (version := _fitting_wheel(file, name, target))}
    found: dict[str, IndexSdist] = {}
    for file in files:
        version = _sdist_version(file, name)
        if version and version not in with_wheel and _is_for(file, target):
            found.setdefault(version, _sdist(name, version, file))
    return found


def _files(indexes: IndexClient, name: str, index: Index) -> Iterator[IndexFile]:
    for url in index_urls(indexes, name, index):
        page = index_page(indexes, url, name)
        yield from page or ()
        if page and index.strategy == "first-index":
            return


def _fitting_wheel(file: IndexFile, name: str, target: PythonTarget) -> str:
    """Return the version of a file that is a wheel which fits; empty for any other."""
    try:
        found, version, _, tags = parse_wheel_filename(file.filename)
    except InvalidWheelFilename:
        return ""
    return str(version) if found == name and not tags.isdisjoint(target.tags()) else ""


def _sdist_version(file: IndexFile, name: str) -> str:
    """Return the version of a file that is an sdist which may count; empty for any other."""
    try:
        found, version = parse_sdist_filename(file.filename)
    except InvalidSdistFilename:
        return ""
    return str(version) if found == name and file.sha256 else ""


def _is_for(file: IndexFile, target: PythonTarget) -> bool:
    try:
        wanted = SpecifierSet(file.requires_python)
    except InvalidSpecifier:  # an old release, whose metadata will tell
        return True
    patches = (0, 99) if target.patch is None else (target.patch,)
    return any(wanted.contains(f"{target.python}.{patch}") for patch in patches)


def _sdist(name: str, version: str, file: IndexFile) -> IndexSdist:
    return IndexSdist(
        name=name,
        version=version,
        filename=file.filename,
        url=file.url,
        sha256=Digest(file.sha256),
        size=file.size,
        yanked=file.yanked,
    )
