"""Which image of an index is taken: platforms as containerd, podman and Docker read them (no I/O).

Source: containerd's ``platforms`` (``Normalize``, ``Only``), whose rules Docker shares: names in
any case, machine names of other systems, and variants are brought to one spelling; an entry without
a platform comes last. podman compares spellings to the letter, and prefers zstd among equals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .manifests import Descriptor, NoImageError, Platform

_SYSTEMS = {"macos": "darwin"}
_ARCHITECTURES = {  # each other spelling, with the variant that it implies; None keeps the stated
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "i386": ("386", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_VARIANTS = {  # what is no variant at all, or another spelling of one
    ("amd64", "v1"): "",
    ("arm64", "8"): "",
    ("arm64", "v8"): "",
    ("arm64", "v8.0"): "",
    ("arm", ""): "v7",
    ("arm", "5"): "v5",
    ("arm", "6"): "v6",
    ("arm", "7"): "v7",
    ("arm", "8"): "v8",
}
_PLAIN = {"arm64": {"", "v8"}, "arm": {"v5", "v6", "v7", "v8"}}  # variants that podman knows, too


def normalized(platform: Platform) -> Platform:
    """Bring a platform to containerd's spelling."""
    system = platform.os.strip().lower()
    stated = platform.architecture.strip().lower()
    architecture, implied = _ARCHITECTURES.get(stated, (stated, None))
    variant = platform.variant.strip().lower() if implied is None else implied
    return replace(
        platform,
        os=_SYSTEMS.get(system, system),
        architecture=architecture,
        variant=_VARIANTS.get((architecture, variant), variant),
    )


def is_plain(platform: Platform) -> bool:
    """Return whether every puller reads this platform alike: in spelling, and without conditions.

    A version or features of the system are conditions: whether they hold is each puller's own view.
    """
    known = _PLAIN.get(platform.architecture, {""})
    spelled = replace(normalized(platform), variant=platform.variant) == platform
    return spelled and platform.variant in known and not platform.version and not platform.features


def contenders(children: Iterable[Descriptor], platform: Platform) -> list[Descriptor]:
    """Return all that any puller for ``platform`` might take, whatever variant or condition.

    An entry that does not say where it runs is one of them.
    """
    wanted = normalized(platform)
    return [child for child in children if _may_run(child.platform, wanted)]


def select(children: Iterable[Descriptor], platform: Platform, source: str) -> Descriptor:
    """Choose the manifest for ``platform`` as containerd does; of equals, the first.

    Raises NetworkError that names what there is.
    """
    listed = list(children)
    wanted = normalized(platform)
    for child in listed:
        if child.platform is not None and _is_same(normalized(child.platform), wanted):
            return child
    for child in listed:
        if child.platform is None:
            return child
    names = sorted({str(child.platform) for child in listed if str(child.platform)})
    there = ", ".join(name for name in names if not name.startswith("unknown")) or "none"
    raise NoImageError(f"{source} has no image for {platform}; it has: {there}")


def accepts(wanted: Platform, stated: Platform) -> bool:
    """Return whether an image whose config states one platform runs on another.

    A variant matters only if both sides name one: configs often name none.
    """
    one, other = normalized(wanted), normalized(stated)
    same = (one.os, one.architecture) == (other.os, other.architecture)
    return same and (not one.variant or not other.variant or one.variant == other.variant)


def _is_same(one: Platform, other: Platform) -> bool:
    whole = (one.os, one.architecture, one.variant) == (other.os, other.architecture, other.variant)
    return whole and not one.features


def _may_run(stated: Platform | None, wanted: Platform) -> bool:
    if stated is None:
        return True
    found = normalized(stated)
    return found.os in {"", wanted.os} and found.architecture in {"", wanted.architecture}
