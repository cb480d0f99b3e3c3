"""What a base says of the wheels that run on it."""

from __future__ import annotations

import re

from envbuilder.model.lock import DebianBase, ImageBase
from envbuilder.model.spec import Spec

from .python.requirements import PythonTarget

_IMAGE_GLIBC = 28  # what wheels may count on where the base image does not tell its glibc


def python_target(spec: Spec, base: DebianBase | ImageBase) -> PythonTarget:
    """Say what wheels must run on, as far as the base tells."""
    return PythonTarget(python=spec.python, platform=spec.platform, glibc=_glibc(base))


def _glibc(base: DebianBase | ImageBase) -> int:
    if isinstance(base, DebianBase):
        for deb in base.packages:
            if deb.name == "libc6" and (match := re.match(r"(?:\d+:)?2\.(\d+)", deb.version)):
                return int(match[1])
    return _IMAGE_GLIBC
