"""Spec -> the base that everything lies on, and the image that git sources are built in."""

from __future__ import annotations

import re
from dataclasses import asdict, replace

from envbuilder.model.errors import ResolutionError
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase, ImageBase, Lock
from envbuilder.model.reference import ImageRef
from envbuilder.model.spec import Spec
from envbuilder.registry.images import fetch_image
from envbuilder.registry.manifests import Platform

from .base_facts import BaseFacts, ask_base
from .context import Context
from .debian.packages import lock_base
from .python.standalone import lock_standalone
from .target import debian_patch


def resolve_base(context: Context, spec: Spec, previous: Lock | None) -> DebianBase | ImageBase:
    """Pin the base of ``spec``: as ``previous`` did if that still fits, else the newest."""
    held = previous.base if previous is not None else None
    if spec.base.image is not None:
        return _image(context, spec.base.image, spec, held, previous, asked=True)
    distribution = "debian" if spec.base.debian is not None else "ubuntu"
    suite = spec.base.debian or spec.base.ubuntu or ""
    if previous is not None and isinstance(held, DebianBase) and _same_base(spec, previous.spec):
        # Nothing to ask apt, which takes seconds to say the same.
        return _with_python(context, spec, held, held)
    same_suite = isinstance(held, DebianBase) and (held.distribution, held.suite) == (
        distribution,
        suite,
    )
    base = lock_base(
        context,
        suite=suite,
        distribution=distribution,
        packages=spec.system.packages,
        architecture=spec.platform.partition("/")[2],
        held=held.packages if same_suite and isinstance(held, DebianBase) else (),
    )
    same_platform = previous is not None and previous.spec.platform == spec.platform
    return _with_python(context, spec, base, held if same_platform else None)


def _with_python(
    context: Context, spec: Spec, base: DebianBase, held: DebianBase | ImageBase | None
) -> DebianBase:
    """See that ``base`` has the spec's Python: among its packages, or as a standalone build."""
    if spec.base.python is not None:
        return base
    has = _minors(base)
    if spec.minor in has:
        _check_patch(spec, base)
        return replace(base, standalone=None)
    if spec.system.site_packages:
        raise ResolutionError(
            f"the base has {_listed(has)}, not {spec.minor}, whose site_packages it could share",
            hint="a `python` that the suite has, or no site_packages",
        )
    before = held.standalone if isinstance(held, DebianBase) else None
    python = lock_standalone(context, spec, before)
    if python != before:
        context.progress.note(
            f"the base has {_listed(has)}: Python {python.version} comes as a standalone build"
        )
    return replace(base, standalone=python)


def _minors(base: DebianBase) -> set[str]:
    names = (re.fullmatch(r"python(3\.\d+)", deb.name) for deb in base.packages)
    return {match[1] for match in names if match}


def _listed(minors: set[str]) -> str:
    return f"Python {', '.join(sorted(minors))}" if minors else "no Python of its own"


def _same_base(one: Spec, other: Spec) -> bool:
    return (one.base, one.system.packages, one.platform) == (
        other.base,
        other.system.packages,
        other.platform,
    )


def resolve_builder(context: Context, spec: Spec, previous: Lock | None) -> ImageBase | None:
    """Pin the image that sources are built in: as ``previous`` did, else the newest."""
    if spec.build.image is None or not spec.builds:
        return None
    held = previous.builder if previous is not None else None
    return _image(context, spec.build.image, spec, held, previous)


def _image(
    context: Context,
    reference: str,
    spec: Spec,
    held: DebianBase | ImageBase | None,
    previous: Lock | None,
    *,
    asked: bool = False,
) -> ImageBase:
    """Pin an image to its digest; what is held stays, unless the spec names another.

    A digest is one platform's: that of another does not stay. With ``asked``, its files are asked
    for what they tell of this spec's Python.
    """
    ref = ImageRef.parse(reference)
    same_platform = previous is not None and previous.spec.platform == spec.platform
    stays = same_platform and isinstance(held, ImageBase) and held.reference == str(ref)
    if stays and isinstance(held, ImageBase):
        if not asked or (previous is not None and _asks_the_same(previous.spec, spec)):
            return held
        ref = ref.at(held.digest)
    with context.progress.step("resolve", str(ref), unit="items"):
        image = fetch_image(context.registries, ref, Platform.parse(spec.platform))
    return ImageBase(
        reference=str(ImageRef.parse(reference)),
        digest=image.digest,
        config=image.config_digest,
        layers=tuple(_plain(layer) for layer in image.layers),
        user=image.settings.get("User") or None,
        **asdict(ask_base(context, spec, ref, image) if asked else BaseFacts()),
    )


def _asks_the_same(one: Spec, other: Spec) -> bool:
    return (one.python, one.base) == (other.python, other.base)


def _plain(layer: Layer) -> Layer:
    return Layer(
        digest=layer.digest,
        size=layer.size,
        diff_id=layer.diff_id,
        media_type=layer.media_type,
        title="base",
        kind=LayerKind.BASE,
    )


def _check_patch(spec: Spec, base: DebianBase) -> None:
    patch = debian_patch(spec.minor, base)
    if spec.python != spec.minor and patch is not None and spec.python != f"{spec.minor}.{patch}":
        name = f"{base.distribution.title()} {base.suite}"
        raise ResolutionError(
            f"{name} has Python {spec.minor}.{patch}, not {spec.python}",
            hint=f'python: "{spec.minor}" takes what the base has',
        )
