"""What a resolver sees of a source that is not built yet: a wheel that holds its metadata alone.

The resolver then knows the real versions, requirements and extras, and tells who wants what, as it
does for every other package. Nobody ever installs such a wheel.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.lock import GitSource
from envbuilder.model.spec import Package, Spec

_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def stand_ins(spec: Spec, sources: Iterable[GitSource], folder: Path) -> Iterator[str]:
    """Write the stand-ins of ``sources`` into ``folder``; yield a requirement line for each.

    The lines read ``NAME[EXTRAS] @ file:///…``, with the extras that the spec asks for.
    """
    paths = {source.name: _write(source, folder) for source in sources}
    for key, pin in spec.packages.items():
        if isinstance(pin, Package) and pin.git is not None:
            yield f"{key} @ {paths[canonicalize_name(Requirement(key).name)].as_uri()}"


def _write(source: GitSource, folder: Path) -> Path:
    stem = f"{source.name.replace('-', '_')}-{source.version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", _metadata(source))
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def _metadata(source: GitSource) -> str:
    extras = sorted({extra for line in source.requires_dist for extra in _EXTRA.findall(line)})
    lines = ["Metadata-Version: 2.1", f"Name: {source.name}", f"Version: {source.version}"]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {line}" for line in source.requires_dist]
    return "\n".join(lines) + "\n"
