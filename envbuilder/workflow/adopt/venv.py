"""A virtual environment: what its folder of packages says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from envbuilder.model.errors import UsageError

from .installed import Held, held_distribution, held_statements
from .statements import At, Setting, Statement, left, taken
from .texts import read_bytes

_CONFIG = "pyvenv.cfg"
_METADATA = "[!~]*.dist-info/METADATA"
"""Names that begin with a tilde are what pip did not get rid of when it replaced a package."""
_LONGEST = 4 << 20  # bytes of a METADATA, as of a wheel's
_SETTING = re.compile(r"^(?P<key>[\w-]+)\s*=\s*(?P<value>.*?)\s*$", re.MULTILINE)


def is_venv(folder: Path) -> bool:
    """Return whether ``folder`` is a virtual environment."""
    return (folder / _CONFIG).is_file()


def read_venv(folder: Path, *, pin: bool) -> Iterator[Statement]:
    """Read the packages of a virtual environment; raise UsageError if it cannot be read."""
    try:
        sites = sorted(folder.glob("lib/python3.*/site-packages"))
        places = [each for site in sites for each in sorted(site.glob(_METADATA))]
        found = [_held(each) for each in places if each.is_file()]
        yield from _config(folder / _CONFIG, sites)
    except OSError as error:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
    yield from held_statements([each for each in found if each is not None], pin=pin)


def _config(path: Path, sites: list[Path]) -> Iterator[Statement]:
    text = read_bytes(path).decode(errors="replace")
    said = {match["key"]: match["value"] for match in _SETTING.finditer(text)}
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


def _held(metadata: Path) -> Held | None:
    folder = metadata.parent
    origin = folder / "direct_url.json"
    return held_distribution(
        folder.name,
        read_bytes(metadata, limit=_LONGEST),
        asked=(folder / "REQUESTED").is_file(),
        origin=read_bytes(origin) if origin.is_file() else b"",
    )
