"""Which releases of a package the machine's indexes offer, with dates and sizes.

Reads the simple repository API, as JSON (PEP 691, with PEP 700's dates and sizes) or HTML (PEP
503). Resolving is uv's work; this is only for looking around: what is newer, what is near.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from envbuilder.model.errors import NetworkError, ResolutionError
from envbuilder.model.spec import Index
from envbuilder.storage.temporary import work_folder

from .download import IndexClient
from .indexes import index_flags, uv_environment, visible_until
from .requirements import PythonTarget
from .uv import run_uv

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_LARGEST = 64 << 20
_INDEX_LINE = re.compile(r"--(?:extra-)?index-url (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version with a wheel that fits.

    ``uploaded`` is RFC 3339 and ``size`` is in bytes; empty and 0 where the index tells neither.
    """

    version: str
    uploaded: str = ""
    size: int = 0
    yanked: bool = False


def releases(
    indexes: IndexClient, name: str, *, target: PythonTarget, index: Index
) -> tuple[Release, ...]:
    """List the releases of ``name`` that have a wheel for ``target``, oldest first.

    What ``index.exclude_newer`` hides is left out. Raises NetworkError, and ResolutionError if
    no index knows the package.
    """
    urls = indexes.once(index, lambda: _index_urls(index))
    pages = [
        (url, page)
        for url in (urljoin(f"{base.rstrip('/')}/", f"{name}/") for base in urls)
        if (page := indexes.read_page(url, accept=_ACCEPT, limit=_LARGEST)) is not None
    ]
    if not pages:
        raise ResolutionError(
            f"none of the {len(urls)} configured indexes has a package {name}",
            hint="check the name, and the index settings (UV_* or PIP_* variables)",
        )
    files = (entry for url, (kind, body) in pages for entry in _files(url, kind, body))
    found = _by_version(files, name, target.tags())
    until = visible_until(index)
    return tuple(each for each in found if until is None or _is_before(each.uploaded, until))


def _is_before(uploaded: str, until: datetime) -> bool:
    """Return whether a file was there; where the index tells no date, it counts as newer."""
    return bool(uploaded) and datetime.fromisoformat(uploaded) < until


def _index_urls(index: Index) -> tuple[str, ...]:
    """Ask uv, which reads its own configuration, where it would look; best first."""
    with work_folder("envbuilder-index") as folder:
        (folder / "none.in").touch()
        environment = uv_environment(index)
        arguments = ["pip", "compile", "none.in", "--emit-index-url", "--no-header", "--no-build"]
        arguments += ["--no-python-downloads", *index_flags(index, environment)]
        text = run_uv(arguments, environment=environment, cwd=folder)
    return tuple(dict.fromkeys(_INDEX_LINE.findall(text)))


def _by_version(
    files: Iterable[Mapping[str, Any]], name: str, ranks: Mapping[Tag, int]
) -> list[Release]:
    """Take for each version the first wheel that fits; a version is yanked when all files are."""
    found: dict[Version, Release] = {}
    for file in files:
        version = _fitting_version(file["filename"], name, ranks)
        if version is None:
            continue
        release = Release(
            version=str(version),
            uploaded=file.get("upload-time") or "",
            size=file.get("size") or 0,
            yanked=bool(file.get("yanked")),
        )
        known = found.get(version)
        if known is None or (known.yanked and not release.yanked):
            found[version] = release
    return [found[version] for version in sorted(found)]


def _fitting_version(filename: str, name: str, ranks: Mapping[Tag, int]) -> Version | None:
    try:
        found, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:  # an sdist, or an old installer
        return None
    return version if found == canonicalize_name(name) and not tags.isdisjoint(ranks) else None


def _files(url: str, kind: str, body: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        if kind == _JSON:
            known = ("filename", "upload-time", "size", "yanked")
            for entry in json.loads(body)["files"]:
                yield {key: entry[key] for key in known if key in entry}
        else:
            page = _Page()
            page.feed(body.decode())
            yield from page.files
    except (ValueError, KeyError, TypeError) as error:
        raise NetworkError(f"{url} is no page of a package index: {error!r}") from error


class _Page(HTMLParser):
    """PEP 503: one anchor per file; ``data-yanked`` may stand on it."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "a" and (href := attributes.get("href")):
            filename = unquote(urlsplit(href).path.rsplit("/", 1)[-1])
            self.files.append({"filename": filename, "yanked": "data-yanked" in attributes})
