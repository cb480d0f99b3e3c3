"""What the package brings besides its modules: templates, and the smoke's model families."""

from __future__ import annotations

import re
from difflib import get_close_matches
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


def other_family(name: str) -> str | None:
    """Return a hint which family may be meant by ``name``; None if one is called so.

    People write names as models have them: Gemma-3, Qwen2.5-VL.
    """
    known = families()
    if name in known:
        return None
    near = get_close_matches(re.sub(r"[^a-z0-9]+", "_", name.casefold()), known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def template(name: str) -> str:
    """Read the text of one template."""
    return (TEMPLATES / name).read_text(encoding="utf-8")
