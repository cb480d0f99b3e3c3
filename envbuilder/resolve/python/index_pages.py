"""The page that an index has for a package: which files, with hashes, dates and sizes.

The simple repository API, as JSON (PEP 691, with PEP 700's dates and sizes) or HTML (PEP 503).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from msgspec import Struct

from envbuilder.model.codec import from_json
from envbuilder.model.errors import NetworkError
from envbuilder.model.package_spec import ChosenIndex, Index
from envbuilder.storage.temporary import work_folder

from .download import IndexClient
from .indexes import index_flags, uv_environment
from .uv import run_uv

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_LARGEST = 64 << 20
_PIECE, _TAG = 1 << 16, 1 << 18  # characters
_INDEX_LINE = re.compile(r"--(?:extra-)?index-url (\S+)")
_SHA256 = re.compile(r"sha256=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file that an index offers at ``url``.

    ``uploaded`` is an ISO 8601 moment with its zone, ``size`` is in bytes, ``sha256`` is
    hexadecimal, ``requires_python`` a version specifier: 0 or empty if the index does not tell.
    """

    filename: str
    url: str
    sha256: str = ""
    uploaded: str = ""
    size: int = 0
    yanked: bool = False
    requires_python: str = ""


def index_urls(indexes: IndexClient, name: str, index: Index) -> tuple[str, ...]:
    """List the indexes asked for a package: the one that it names, or all, the default first."""
    if isinstance(index, ChosenIndex) and name in index.chosen:
        return (index.named[index.chosen[name]],)
    asked = index.url, index.extra_urls
    return indexes.once(("indexes", asked), lambda: _index_urls(*asked))


def index_page(indexes: IndexClient, index_url: str, name: str) -> tuple[IndexFile, ...] | None:
    """Read the files that one index has of a package; None if it does not know that.

    Raises NetworkError if the index does not answer, or with something else.
    """
    url = urljoin(f"{index_url.rstrip('/')}/", f"{name}/")
    page = indexes.read_page(url, accept=_ACCEPT, limit=_LARGEST)
    return None if page is None else tuple(_files(url, *page))


def _index_urls(url: str | None, extra_urls: tuple[str, ...]) -> tuple[str, ...]:
    """Ask uv, which reads its own configuration, where it would look: the default index first."""
    index = Index(url=url, extra_urls=extra_urls)
    with work_folder("envbuilder-index") as folder:
        (folder / "none.in").touch()
        environment = uv_environment(index)
        arguments = ["pip", "compile", "none.in", "--emit-index-url", "--no-header", "--no-build"]
        arguments += ["--no-python-downloads", *index_flags(index, environment)]
        said = run_uv(arguments, environment=environment, cwd=folder)
    return tuple(dict.fromkeys(_INDEX_LINE.findall(said.output)))


def _files(url: str, kind: str, body: bytes) -> Iterator[IndexFile]:
    try:
        if kind == _JSON:
            for entry in from_json(body, _Listing).files:
                yield _of_json(url, entry)
        else:
            page = _Page(url)
            _feed(page, body.decode())
            yield from page.files
    except (
        ValueError, RecursionError,
        AssertionError,  # html.parser's own, for what begins as a marked section and is none
    ) as error:  # fmt: skip
        raise NetworkError(f"{url} is no page of a package index: {error}") from error


def _feed(page: _Page, text: str) -> None:
    """Feed ``page``; raise ValueError for a tag so long that parsing it takes gigabytes."""
    for at in range(0, len(text), _PIECE):
        page.feed(text[at : at + _PIECE])
        if len(page.rawdata) > _TAG:
            raise ValueError(f"it has a tag or a comment of more than {_TAG} characters")


class _Entry(Struct, frozen=True, kw_only=True, rename="kebab"):
    """A file of a page (PEP 691 and 700), as far as it is read here."""

    filename: str
    url: str = ""
    hashes: dict[str, str | None] | None = None
    upload_time: str | None = None
    size: int | None = None
    yanked: str | bool | None = None
    requires_python: str | None = None


class _Listing(Struct, frozen=True, kw_only=True):
    files: tuple[_Entry, ...]


def _of_json(url: str, entry: _Entry) -> IndexFile:
    return IndexFile(
        filename=entry.filename,
        url=urljoin(url, entry.url),
        sha256=(entry.hashes or {}).get("sha256") or "",
        uploaded=_moment(entry.upload_time or ""),
        size=entry.size or 0,
        yanked=bool(entry.yanked),
        requires_python=entry.requires_python or "",
    )


def _moment(text: str) -> str:
    """Return a moment as RFC 3339; one without a zone is UTC, one that is none is not told."""
    try:
        moment = datetime.fromisoformat(text)
        told = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        told.astimezone(UTC)  # a moment of year 1 or 9999 may lie outside of what can be compared
    except (ValueError, OverflowError):
        return ""
    return text if moment.tzinfo else told.isoformat()


class _Page(HTMLParser):
    """PEP 503: one anchor per file; ``data-yanked`` may stand on it."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.files: list[IndexFile] = []
        self._url = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "base" and (base := attributes.get("href")):
            self._url = urljoin(self._url, base)
        if tag != "a" or not (href := attributes.get("href")):
            return
        parts = urlsplit(urljoin(self._url, href))
        found = _SHA256.fullmatch(parts.fragment)
        self.files.append(
            IndexFile(
                filename=unquote(parts.path.rsplit("/", 1)[-1]),
                url=parts._replace(fragment="").geturl(),
                sha256=found[1] if found else "",
                yanked="data-yanked" in attributes,
                requires_python=attributes.get("data-requires-python") or "",
            )
        )
