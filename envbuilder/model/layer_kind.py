"""What a layer is: told by who makes it, or by its title where only a text is left of it."""

from __future__ import annotations

import re
from enum import StrEnum


class LayerKind(StrEnum):
    """The kinds of layers of our images, lowest first; OTHER is not ours."""

    BASE = "base"
    SYSTEM = "system"
    PYTHON = "python"
    STEP = "step"
    ACCOUNT = "account"
    PACKAGES = "packages"
    BYTECODE = "bytecode"
    FILES = "files"
    ENVIRONMENT = "environment"
    LOCK = "lock"
    SETTINGS = "settings"
    OTHER = "other"


OWN = frozenset({LayerKind.ENVIRONMENT, LayerKind.LOCK, LayerKind.SETTINGS})
"""Kinds that hold an environment's own files, and so are new in every image."""
_TITLES = (
    (LayerKind.BASE, "base"),
    (LayerKind.SYSTEM, r"(Debian|Ubuntu) \S+: .+|system packages"),
    (LayerKind.PYTHON, r"Python \S+, standalone"),
    (LayerKind.STEP, r"step \d+ (before|after) Python"),
    (LayerKind.ACCOUNT, r"user [a-z_]\S*"),
    (LayerKind.BYTECODE, r"bytecode of \S.*"),
    (LayerKind.FILES, r"files /\S+|replaced modules"),
    (LayerKind.ENVIRONMENT, "environment( [a-z0-9-]+)?"),
    (LayerKind.LOCK, "lock"),
    (LayerKind.SETTINGS, "settings"),
    (LayerKind.PACKAGES, r"packages \d+/\d+|[a-z0-9-]+ [0-9]\S*"),
)


def kind_of(title: str) -> LayerKind:
    """Return what the layer is that a lock or an image's history calls ``title``."""
    return next((kind for kind, known in _TITLES if re.fullmatch(known, title)), LayerKind.OTHER)
