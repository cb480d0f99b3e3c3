"""Find the templates: in the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

_INSTALLED = Path(__file__).parent / "templates"
_CHECKOUT = Path(__file__).parent.parent / "templates"

TEMPLATES = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
"""The folder that holds every template that envbuilder renders."""


def template(name: str) -> str:
    """Read the text of one template."""
    return (TEMPLATES / name).read_text(encoding="utf-8")
