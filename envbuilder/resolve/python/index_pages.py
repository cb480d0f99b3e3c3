"""The page that an index has for a package: which files, with hashes, dates and sizes.

The simple repository API, as JSON (PEP 691, with PEP 700's dates and sizes) or HTML (PEP 503).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from envbuilder.model.errors import NetworkError
from envbuilder.model.package_spec import ChosenIndex, Index
from envbuilder.storage.temporary import work_folder

from .download import IndexClient
from .indexes import index_flags, uv_environment
from .uv import run_uv

_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_LARGEST = 64 << 20
_INDEX_LINE = re.compile(r"--(?:extra-)?index-url (\S+)")
_SHA256 = re.compile(r"sha256=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file that an index offers at ``url``.

    ``uploaded`` is RFC 3339, ``size`` is in bytes, ``sha256`` is hexadecimal, ``requires_python`` a
    version specifier: 0 or empty if the index does not tell them.
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
            for entry in json.loads(body)["files"]:
                yield _of_json(url, entry)
        else:
            page = _Page(url)
            page.feed(body.decode())
            yield from page.files
    except (
        ValueError, KeyError, TypeError, AttributeError, RecursionError,
        AssertionError,  # html.parser's own, for what begins as a marked section and is none
    ) as error:  # fmt: skip
        raise NetworkError(f"{url} is no page of a package index: {error!r}") from error


def _of_json(url: str, entry: Mapping[str, Any]) -> IndexFile:
    return IndexFile(
        filename=entry["filename"],
        url=urljoin(url, entry.get("url") or ""),
        sha256=(entry.get("hashes") or {}).get("sha256") or "",
        uploaded=entry.get("upload-time") or "",
        size=entry.get("size") or 0,
        yanked=bool(entry.get("yanked")),
        requires_python=entry.get("requires-python") or "",
    )


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
