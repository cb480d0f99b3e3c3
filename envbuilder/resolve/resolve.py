"""Spec -> Lock: base first, since it decides which wheels fit, then the Python packages."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.errors import ResolutionError, UsageError
from envbuilder.model.image import Layer
from envbuilder.model.lock import DebianBase, GitSource, ImageBase, Lock, Wheel
from envbuilder.model.progress import Progress
from envbuilder.model.reference import ImageRef
from envbuilder.model.spec import Spec, requirement_lines
from envbuilder.registry.client import Client
from envbuilder.registry.images import fetch_image
from envbuilder.registry.manifests import Platform
from envbuilder.storage.store import Store

from .debian.packages import lock_base
from .python.metadata_wheel import stand_ins
from .python.requirements import PythonTarget, resolve_python

EVERYTHING = "*"
SYSTEM = "system"
"""Names for ``release`` beside those of packages."""

LockSources = Callable[[PythonTarget, Lock | None], tuple[GitSource, ...]]
"""Locks a spec's git packages for a target, holding what an earlier lock pinned."""

_IMAGE_GLIBC = 28  # what wheels may count on where the base image does not tell its glibc


def resolve(
    spec: Spec,
    *,
    store: Store,
    progress: Progress,
    previous: Lock | None = None,
    release: Collection[str] = (),
    sources: LockSources | None = None,
) -> Lock:
    """Pin every artifact of ``spec``.

    What ``previous`` pinned is kept unless the spec forces something else, or ``release`` names it:
    a package, SYSTEM for the base and its packages, or EVERYTHING. ``sources`` locks what comes
    from git; a spec that has such packages needs it. Raises ResolutionError, NetworkError and
    MissingToolError.
    """
    keep = previous if EVERYTHING not in release else None
    held = keep if SYSTEM not in release else None
    base = resolve_base(spec, held, store=store, progress=progress)
    built: tuple[GitSource, ...] = ()
    if spec.sources:
        assert sources is not None  # noqa: S101 - the caller knows its spec
        built = sources(python_target(spec, base), keep)
    return Lock(
        spec=spec,
        base=base,
        wheels=_wheels(spec, base, built, keep, frozenset(release), progress=progress),
        sources=built,
        builder=resolve_builder(spec, held, progress=progress),
    )


def releasable(names: Collection[str], spec: Spec, previous: Lock | None) -> frozenset[str]:
    """Return the canonical ``names`` for ``release``.

    Raises UsageError for a name that neither ``spec`` nor ``previous`` has: letting go of it would
    do nothing.
    """
    known = spec.requested | {SYSTEM, EVERYTHING}
    if previous is not None:
        known |= {wheel.name for wheel in previous.wheels}
        known |= {source.name for source in previous.sources}
    asked = frozenset(canonicalize_name(name) for name in names)
    for name in sorted(asked - known):
        near = get_close_matches(name, sorted(known), n=3)
        raise UsageError(
            f"{spec.name} has no package {name}",
            hint=f"did you mean {' or '.join(near)}?" if near else f"or is it part of {SYSTEM}?",
        )
    return asked


def python_target(spec: Spec, base: DebianBase | ImageBase) -> PythonTarget:
    """Say what wheels must run on, as far as the base tells."""
    return PythonTarget(python=spec.python, platform=spec.platform, glibc=_glibc(base))


def resolve_base(
    spec: Spec, previous: Lock | None, *, store: Store, progress: Progress
) -> DebianBase | ImageBase:
    """Pin the base of ``spec``: as ``previous`` did where that still fits, else the newest."""
    held = previous.base if previous is not None else None
    if spec.base.image is not None:
        return _image(spec.base.image, spec, held, previous, progress)
    assert spec.base.debian is not None  # noqa: S101 - the spec's own check
    if previous is not None and isinstance(held, DebianBase) and _same_base(spec, previous.spec):
        _check_python(spec, held)
        return held  # nothing to ask apt, which takes seconds to say the same
    same_suite = isinstance(held, DebianBase) and held.suite == spec.base.debian
    base = lock_base(
        suite=spec.base.debian,
        packages=spec.system.packages,
        architecture=spec.platform.partition("/")[2],
        store=store,
        progress=progress,
        held=held.packages if same_suite and isinstance(held, DebianBase) else (),
    )
    _check_python(spec, base)
    return base


def _same_base(one: Spec, other: Spec) -> bool:
    return (one.base, one.system.packages, one.platform) == (
        other.base,
        other.system.packages,
        other.platform,
    )


def resolve_builder(spec: Spec, previous: Lock | None, *, progress: Progress) -> ImageBase | None:
    """Pin the image that git sources are built in: as ``previous`` did, else the newest."""
    if spec.build.image is None or not spec.sources:
        return None
    held = previous.builder if previous is not None else None
    return _image(spec.build.image, spec, held, previous, progress)


def _image(
    reference: str,
    spec: Spec,
    held: DebianBase | ImageBase | None,
    previous: Lock | None,
    progress: Progress,
) -> ImageBase:
    """Pin an image to its digest; what is held stays, unless the spec names another.

    A digest is one platform's: that of another does not stay.
    """
    ref = ImageRef.parse(reference)
    same_platform = previous is not None and previous.spec.platform == spec.platform
    if same_platform and isinstance(held, ImageBase) and held.reference == str(ref):
        return held
    with Client.from_environment() as client, progress.step("resolve", str(ref), unit="items"):
        image = fetch_image(client, ref, Platform.parse(spec.platform))
    return ImageBase(
        reference=str(ref),
        digest=image.digest,
        config=image.config_digest,
        layers=tuple(_plain(layer) for layer in image.layers),
        user=image.settings.get("User") or None,
    )


def _plain(layer: Layer) -> Layer:
    return Layer(
        digest=layer.digest,
        size=layer.size,
        diff_id=layer.diff_id,
        media_type=layer.media_type,
        title="base",
    )


def _check_python(spec: Spec, base: DebianBase) -> None:
    """Find out now, not in the container, that the suite has another Python than the spec."""
    if spec.base.python is not None:
        return
    found = {
        match[1] for deb in base.packages if (match := re.fullmatch(r"python(3\.\d+)", deb.name))
    }
    if spec.python in found:
        return
    if found:
        raise ResolutionError(
            f"Debian {base.suite} has Python {', '.join(sorted(found))}, not {spec.python}",
            hint=f'python: "{max(found)}", or another suite',
        )
    raise ResolutionError(
        f"the base has no Python {spec.python}", hint="system: {packages: [python3]}"
    )


def _wheels(
    spec: Spec,
    base: DebianBase | ImageBase,
    sources: tuple[GitSource, ...],
    previous: Lock | None,
    release: frozenset[str],
    *,
    progress: Progress,
) -> tuple[Wheel, ...]:
    held = {} if previous is None else {wheel.name: wheel.version for wheel in previous.wheels}
    provided: set[str] = set()
    if spec.system.site_packages and isinstance(base, DebianBase):
        provided = {found.name for found in base.python} - spec.requested
    with (
        progress.step("resolve", "Python packages", unit="items") as step,
        tempfile.TemporaryDirectory(prefix="envbuilder-sources-") as folder,
    ):
        lines = [str(each) for each in spec.requirements]
        wheels = resolve_python(
            [*lines, *stand_ins(spec, sources, Path(folder))],
            apart={source.name for source in sources},
            target=python_target(spec, base),
            index=spec.indexes,
            held={name: version for name, version in held.items() if name not in release},
            provided=sorted(provided),
            constraints=requirement_lines(spec.constraints),
            overrides=requirement_lines(spec.overrides),
            note=progress.note,
        )
        step.advance(len(wheels))
    _note_idle(
        spec,
        {wheel.name for wheel in wheels} | {source.name for source in sources},
        python_target(spec, base),
        progress,
    )
    return wheels


def _note_idle(
    spec: Spec, locked: Collection[str], target: PythonTarget, progress: Progress
) -> None:
    """Tell of overrides that change nothing, since nobody needs such a package: a slip, often."""
    for line in map(Requirement, requirement_lines(spec.overrides)):
        applies = line.marker is None or line.marker.evaluate(dict(target.markers()))
        if applies and canonicalize_name(line.name) not in locked:
            progress.note(f"warning: overrides names {line.name}, which nothing here needs")


def _glibc(base: DebianBase | ImageBase) -> int:
    if isinstance(base, DebianBase):
        for deb in base.packages:
            if deb.name == "libc6" and (match := re.match(r"(?:\d+:)?2\.(\d+)", deb.version)):
                return int(match[1])
    return _IMAGE_GLIBC
