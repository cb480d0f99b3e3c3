"""Folders of wheels on this machine (pip's and uv's find-links), lent to a build over loopback.

A build sees no folder of ours. As a context it would get all of it, each time that one wheel is
new; over HTTP it takes what it installs, and no step's cache key knows of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

from envbuilder.net.http_server import HOST, serving


def local_folder(place: str) -> Path | None:
    """Read one find-links entry: a folder of this machine, or None for what is elsewhere."""
    path = Path(place.removeprefix("file://")).expanduser()
    return path if "://" not in str(path) and path.is_dir() else None


@contextmanager
def lent(places: Iterable[str]) -> Iterator[Mapping[str, str]]:
    """Serve the folders among ``places`` for the while; yield the URL of each."""
    with ExitStack() as stack:
        yield {
            place: stack.enter_context(_served(folder))
            for place in places
            if (folder := local_folder(place)) is not None
        }


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    with serving(partial(_Quiet, directory=str(folder))) as port:
        yield f"http://{HOST}:{port}/"


class _Quiet(SimpleHTTPRequestHandler):
    """Lists the folder as HTML, which is the page that find-links wants."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name there)
        """Say nothing."""
