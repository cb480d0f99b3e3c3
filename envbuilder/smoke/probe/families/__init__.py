"""Model families: one small file each, found by the name that a spec uses.

To add one: copy the file of its nearest relative, take the values from the model's published
``preprocessor_config.json`` and ``config.json``, shrink what carries weights, write the formula
with its source, and choose samples around its caps. ``docs/how-to/add-a-family.md`` walks through
it.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path

from ..facts import Absent
from .base import Family


def names() -> list[str]:
    """Return the names of all families, sorted; modules with an underscore are what they share."""
    found = [entry.name for entry in pkgutil.iter_modules(__path__)]
    return sorted(name for name in found if name[0] != "_" and name not in ("base", "generic"))


def load(name: str) -> Family:
    """Return the family called ``name``."""
    if name not in names():
        raise Absent(f"no family is called {name!r}; known are {', '.join(names())}")
    return _family(name)


def of_directory(directory: str) -> Family:
    """Return the family whose ``model_type`` the ``config.json`` in ``directory`` states.

    Its settings are those of the processor's files there.
    """
    path = Path(directory, "config.json")
    if not path.is_file():
        raise Absent(f"{directory} has no config.json, so it is not a model directory")
    kind = json.loads(path.read_text(encoding="utf-8")).get("model_type", "")
    if kind in names():
        return load(kind).of(directory)
    return _family("generic")


def _family(name: str) -> Family:
    family: Family = importlib.import_module("." + name, __name__).FAMILY
    return family
