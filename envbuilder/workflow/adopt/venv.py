"""A virtual environment: what its folder of packages says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from pathlib import Path

from envbuilder.model.errors import UsageError

from .installed import Held, held_distribution, held_statements
from .statements import At, Setting, Statement, left, taken

_CONFIG = "pyvenv.cfg"
_SETTING = re.compile(r"^(?P<key>[\w-]+)\s*=\s*(?P<value>.*?)\s*$", re.MULTILINE)


def is_venv(folder: Path) -> bool:
    """Return whether ``folder`` is a virtual environment."""
    return (folder / _CONFIG).is_file()


def read_venv(folder: Path, *, pin: bool) -> Iterator[Statement]:
    """Read the packages of a virtual environment; raise UsageError if it cannot be read."""
    try:
        sites = sorted(folder.glob("lib/python3.*/site-packages"))
        found = [_held(each) for site in sites for each in sorted(site.glob("*.dist-info"))]
        yield from _config(folder / _CONFIG, sites)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    yield from held_statements([each for each in found if each is not None], pin=pin)


def _config(path: Path, sites: list[Path]) -> Iterator[Statement]:
    said = {match["key"]: match["value"] for match in _SETTING.finditer(path.read_text("utf-8"))}
    if not sites:
        raise UsageError(
            f"{path.parent} has no lib/python3.*/site-packages",
            hint="name the folder of a virtual environment, as `python -m venv` makes it",
        )
    at = At(place=path.name, text=f"Python {sites[-1].parent.name.removeprefix('python')}")
    yield taken(at, Setting(path=("python",), value=sites[-1].parent.name.removeprefix("python")))
    if said.get("include-system-site-packages", "false").lower() == "true":
        at = At(place=path.name, text="include-system-site-packages = true")
        yield left(at, "packages of the machine's own Python are not read")


def _held(path: Path) -> Held | None:
    found = PathDistribution(path)
    name, version = found.metadata["Name"], found.metadata["Version"]
    if not name or not version:
        return None  # half removed: installers overlook it, too
    return held_distribution(
        At(place=path.name, text=f"{name} {version}"),
        name=name,
        version=version,
        requires=found.requires or (),
        asked=(path / "REQUESTED").is_file(),
        origin=found.read_text("direct_url.json") or "",
    )
