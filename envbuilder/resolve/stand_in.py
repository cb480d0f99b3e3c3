"""What a resolver sees of a source that is not built yet: a wheel that holds its metadata alone.

The resolver then knows the real versions, requirements and extras, and tells who wants what, as it
does for every other package. Nobody ever installs such a wheel.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from envbuilder.lock import GitSource

_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def write_stand_in(source: GitSource, folder: Path) -> Path:
    """Write the stand-in of ``source`` into ``folder`` and return its path."""
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
