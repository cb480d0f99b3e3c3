"""What a base says of the wheels that run on it."""

from __future__ import annotations

import re

from envbuilder.model.lock import DebianBase, ImageBase, Lock
from envbuilder.model.plan import interpreter
from envbuilder.model.spec import Spec

from .python.requirements import PythonTarget

NEWEST_GLIBC = 40
"""The newest that uv has a platform's name for: glibc 2.40."""
ASSUMED_GLIBC = 28
"""What wheels may count on where neither the base nor the spec tells: glibc 2.28."""


def python_target(spec: Spec, base: DebianBase | ImageBase) -> PythonTarget:
    """Say what wheels must run on, as far as the base tells."""
    return PythonTarget(
        python=spec.minor,
        platform=spec.platform,
        glibc=_glibc(spec, base),
        musl=_musl(spec, base),
        patch=_patch(spec, base),
    )


def base_words(spec: Spec, base: DebianBase | ImageBase) -> str:
    """Say in one line what wheels run on: C library, Python, and where that lies."""
    target = python_target(spec, base)
    told = spec.base.glibc is not None or not isinstance(base, ImageBase) or base.glibc is not None
    libc = f"glibc 2.{target.glibc}" if told else f"glibc 2.{target.glibc} (assumed)"
    libc = libc if target.musl is None else f"musl 1.{target.musl}"
    place = interpreter(Lock(spec=spec, base=base, wheels=()))
    return f"{libc}, Python {target.full} at {place}"


def presumed_target(spec: Spec) -> PythonTarget:
    """Say the best that any base could offer: what has no wheel for this has none at all."""
    glibc = NEWEST_GLIBC if spec.base.glibc is None else int(spec.base.glibc.removeprefix("2."))
    return PythonTarget(
        python=spec.minor,
        platform=spec.platform,
        glibc=glibc,
        patch=None if spec.python == spec.minor else int(spec.python.rpartition(".")[2]),
    )


def debian_patch(minor: str, base: DebianBase) -> int | None:
    """Read the patch release of the base's own Python ``minor`` off its package's version."""
    for deb in base.packages:
        match = re.match(rf"{re.escape(minor)}\.(\d+)", deb.version)
        if deb.name == f"python{minor}" and match:
            return int(match[1])
    return None


def _patch(spec: Spec, base: DebianBase | ImageBase) -> int | None:
    if spec.python != spec.minor:
        return int(spec.python.removeprefix(f"{spec.minor}."))
    if isinstance(base, DebianBase) and base.standalone is not None:
        return int(base.standalone.version.split(".")[2])
    if isinstance(base, DebianBase) and spec.base.python is None:
        return debian_patch(spec.minor, base)
    if isinstance(base, ImageBase) and base.python is not None:
        return int(base.python.removeprefix(f"{spec.minor}."))
    return None


def _musl(spec: Spec, base: DebianBase | ImageBase) -> int | None:
    """Return the minor version of musl 1, unless the spec says that it is glibc."""
    if spec.base.glibc is not None or isinstance(base, DebianBase) or base.musl is None:
        return None
    return int(base.musl.split(".")[1])


def _glibc(spec: Spec, base: DebianBase | ImageBase) -> int:
    if spec.base.glibc is not None:
        return int(spec.base.glibc.removeprefix("2."))
    if isinstance(base, ImageBase) and base.glibc is not None:
        return int(base.glibc.removeprefix("2."))
    if isinstance(base, DebianBase):
        for deb in base.packages:
            if deb.name == "libc6" and (match := re.match(r"(?:\d+:)?2\.(\d+)", deb.version)):
                return int(match[1])
    return ASSUMED_GLIBC
