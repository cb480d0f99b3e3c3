"""Import what a distribution installs, in a process of its own: it may crash or hang."""

from __future__ import annotations

import importlib
import importlib.metadata
from importlib.metadata import Distribution

from .environment import canonical
from .facts import Absent, Emitter, Facts
from .touched import Recorder

ASIDE = ("test", "tests", "docs", "examples", "benchmarks", "scripts")
"""Folders that some wheels install at top level by accident."""


def run(request: Facts, emit: Emitter, name: str) -> None:
    """Import the top-level modules of the distribution ``name``, one item each.

    In an image, what of its files that touched is told, too.
    """
    recorder = Recorder() if request.get("start") else None
    found = [
        dist
        for dist in importlib.metadata.distributions()
        if canonical(dist.metadata["Name"] or "") == canonical(name)
    ]
    if not found:
        raise Absent(f"{name} is not installed")
    for module in modules(found[0]):
        emit(doing=f"importing {module}")
        importlib.import_module(module)
        emit(item={"module": module})
    if recorder is not None:
        emit(facts={"touched": recorder.facts()})


def modules(dist: Distribution) -> list[str]:
    """Return the public top-level modules of ``dist``, from top_level.txt or from its files."""
    text = dist.read_text("top_level.txt")
    names = text.split() if text else [_module(file) for file in dist.files or ()]
    public = {name for name in names if name and not name.startswith("_")}
    return sorted(name for name in public if name.isidentifier() and name not in ASIDE)


def _module(file: importlib.metadata.PackagePath) -> str:
    """Return the importable name that ``file`` (a path in a wheel) stands for, or ''."""
    head = file.parts[0]
    if len(file.parts) == 1:
        return head.split(".")[0] if head.endswith((".py", ".so")) else ""
    return head if file.parts[1] == "__init__.py" else ""
