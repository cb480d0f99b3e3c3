"""What a resolver sees of a package that no index has: a wheel that holds its metadata alone.

The resolver then knows the real versions, requirements and extras, and tells who wants what, as it
does for every other package. Nobody ever installs such a wheel.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.spec import Spec, name_of

_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """The metadata of a package: canonical name, version, and requirements."""

    name: str
    version: str
    requires_dist: tuple[str, ...]


def stand_ins(spec: Spec, known: Iterable[StandIn], folder: Path) -> Iterator[str]:
    """Write the stand-ins ``known`` into ``folder``; yield a requirement line for each.

    The lines read ``NAME[EXTRAS] @ file:///…``, with the extras that the spec asks for.
    """
    paths = {each.name: write_stand_in(each, folder) for each in known}
    for key in spec.packages:
        if (path := paths.get(name_of(key))) is not None:
            yield f"{key} @ {path.as_uri()}"


def write_stand_in(known: StandIn, folder: Path) -> Path:
    """Write the wheel that stands for ``known`` into ``folder``; return its path."""
    stem = f"{known.name.replace('-', '_')}-{known.version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", _metadata(known))
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def _metadata(known: StandIn) -> str:
    extras = sorted({extra for line in known.requires_dist for extra in _EXTRA.findall(line)})
    lines = ["Metadata-Version: 2.1", f"Name: {known.name}", f"Version: {known.version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {line}" for line in known.requires_dist]
    return "\n".join(lines) + "\n"
