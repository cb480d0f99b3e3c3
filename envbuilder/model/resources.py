"""What the package brings besides its modules: templates, and the smoke's model families."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_INSTALLED = _PACKAGE / "templates"
_CHECKOUT = _PACKAGE.parent / "templates"

TEMPLATES = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
"""The folder that holds every template that envbuilder renders."""


_FAMILIES = _PACKAGE / "smoke" / "probe" / "families"
_SHARED = ("base", "generic")


def families() -> list[str]:
    """Name the model families that a spec may ask for, sorted.

    The probe, which knows more of them, runs inside images and is not imported here.
    """
    names = (path.stem for path in _FAMILIES.glob("[!_]*.py"))
    return sorted(name for name in names if name not in _SHARED)


def template(name: str) -> str:
    """Read the text of one template."""
    return (TEMPLATES / name).read_text(encoding="utf-8")
