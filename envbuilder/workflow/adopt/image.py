"""A container image: its packages, its config, and what it stands on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from envbuilder.layers.contents import Contents
from envbuilder.model.errors import UsageError
from envbuilder.model.image import Image

from .bases import base_of_image
from .debian import asked_packages
from .installed import Held, held_distribution, held_statements
from .settings import environment_statement, settings_statements
from .statements import At, Setting, Statement, left, taken

_SITE = re.compile(
    r"(?P<site>(?P<home>.*?)/?lib/python(?P<minor>3\.\d+)/(?:site|dist)-packages)/"
    r"(?P<folder>[^/~][^/]*\.dist-info)/METADATA"  # pip's leftovers begin with a tilde
)
_OF_SYSTEM = "usr/lib/python3/dist-packages/"


def read_image(name: str, image: Image, contents: Contents, *, pin: bool) -> Iterator[Statement]:
    """Read what an image holds; ``name`` is what the user called it.

    Raises UsageError if it has no Python packages, which an environment consists of.
    """
    metadata = {path: match for path in contents.documents if (match := _SITE.fullmatch(path))}
    if not metadata:
        raise UsageError(
            f"{name} holds no Python packages: no *.dist-info lies in any site-packages",
            hint="name the image that runs the model, or a Dockerfile, or a requirements file",
        )
    chosen = _fullest(metadata)
    minor = next(match["minor"] for match in metadata.values() if match["site"] == chosen)
    at = At(place=name, text=f"Python {minor} in /{chosen}")
    yield taken(at, Setting(path=("python",), value=minor))
    yield from base_of_image(name, image, contents, minor)
    yield from asked_packages(name, contents.documents, pin=pin)
    yield from held_statements(_distributions(contents, metadata, chosen), pin=pin)
    for path, match in metadata.items():
        if match["site"] != chosen:
            yield left(At(place=f"/{path}", text=match["folder"]), f"lies outside of /{chosen}")
    yield from _config(name, image.settings)


def _fullest(metadata: Mapping[str, re.Match[str]]) -> str:
    """Return the folder with the most packages: the others are the system's, or a tool's."""
    sites = [match["site"] for match in metadata.values()]
    return max(sorted(set(sites)), key=sites.count)


def _distributions(
    contents: Contents, metadata: Mapping[str, re.Match[str]], site: str
) -> list[Held]:
    chosen = (path for path, match in sorted(metadata.items()) if match["site"] == site)
    found = (_held(contents, path) for path in chosen)
    return [each for each in found if each is not None]


def _held(contents: Contents, path: str) -> Held | None:
    folder = path.rpartition("/")[0]
    return held_distribution(
        f"/{folder}",
        contents.documents[path],
        asked=f"{folder}/REQUESTED" in contents.files,
        origin=contents.documents.get(f"{folder}/direct_url.json", b""),
    )


def _config(name: str, settings: Mapping[str, Any]) -> Iterator[Statement]:
    for entry in settings.get("Env") or ():
        variable, _, value = str(entry).partition("=")
        at = At(place=name, text=f"ENV {variable}")
        yield environment_statement(at, variable, value, inherited=True)
    yield from settings_statements(name, settings)
