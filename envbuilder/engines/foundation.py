"""The lock's base -> the layers that everything else lies on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from envbuilder.model.errors import BuildError, EnvbuilderError, NetworkError
from envbuilder.model.image import Layer
from envbuilder.model.image_settings import settings_of
from envbuilder.model.lock import DebianBase, ImageBase, Lock
from envbuilder.model.reference import ImageRef
from envbuilder.registry.images import fetch_image
from envbuilder.registry.manifests import Platform
from envbuilder.registry.transfer import pull_layers
from envbuilder.resolve.context import Context
from envbuilder.resolve.debian.archives import debian_archives
from envbuilder.resolve.debian.debs import fetch_debs
from envbuilder.resolve.debian.distribution import DISTRIBUTIONS
from envbuilder.resolve.debian.system_layers import stored_system_layers, system_layers
from envbuilder.resolve.python.standalone import bring_standalone

from .standalone import standalone_layers


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What the Python layers lie on, and the settings that come with it (OCI ``config``)."""

    layers: tuple[Layer, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def foundation_layers(context: Context, lock: Lock) -> Foundation:
    """Make the system layers of a Debian base, or look up an image base without pulling it.

    Raises NetworkError, BuildError and MissingToolError.
    """
    if isinstance(lock.base, ImageBase):
        settings = base_settings(context, lock, lock.base)
        return Foundation(layers=lock.base.layers, settings=settings)
    architecture = _architecture(lock)
    layers = stored_system_layers(context.store, lock.base, architecture=architecture)
    if layers is None:
        fetch_base(context, lock)
        layers = system_layers(context, lock.base, architecture=architecture)
    return Foundation(layers=(*layers, *standalone_layers(context, lock, lock.base)))


def has_base(context: Context, lock: Lock) -> bool:
    """Return whether the layers of a Debian base are made already; those of an image always are."""
    if isinstance(lock.base, ImageBase):
        return True
    known = stored_system_layers(context.store, lock.base, architecture=_architecture(lock))
    return known is not None


def fetch_base(context: Context, lock: Lock) -> None:
    """Bring what the base is made of into the store: .deb files, or an image's layers."""
    if isinstance(lock.base, ImageBase):
        _pull_base(context, lock, lock.base)
    else:
        _fetch_debian(context, lock, lock.base)
        if lock.base.standalone is not None:
            bring_standalone(context, lock.spec, lock.base.standalone)


def _fetch_debian(context: Context, lock: Lock, base: DebianBase) -> None:
    of = DISTRIBUTIONS[base.distribution]
    missing = [deb for deb in base.packages if not context.store.has(deb.sha256)]
    if not missing:
        return
    if context.offline:
        raise _offline(lock, f"{len(missing)} .deb files of {of.name} {base.suite}")
    fetch_debs(context, missing, archives=debian_archives(base.suite, of=of))


def _pull_base(context: Context, lock: Lock, base: ImageBase) -> None:
    base_config(context, lock, base)  # a build without a network needs it too
    if all(context.store.has(layer.digest) for layer in base.layers):
        return
    if context.offline:
        raise _offline(lock, f"layers of {base.reference}")
    repository = context.registries.repository(ImageRef.parse(base.reference))
    pull_layers(repository, base.layers, context.store, context.progress)


def base_settings(context: Context, lock: Lock, base: ImageBase) -> Mapping[str, Any]:
    """Return the settings of an image base; raise BuildError if they are none."""
    config = base_config(context, lock, base)
    try:
        return settings_of(config)
    except EnvbuilderError as error:
        raise BuildError(f"{base.reference}: {error.message}") from error


def base_config(context: Context, lock: Lock, base: ImageBase) -> bytes:
    """Return the config of an image base, as its registry has it; the store keeps it."""
    if context.store.has(base.config):
        return context.store.read(base.config)
    if context.offline:
        raise _offline(lock, f"the config of {base.reference}")
    ref = ImageRef.parse(base.reference).at(base.digest)
    image = fetch_image(context.registries, ref, Platform.parse(lock.spec.platform))
    context.store.add(image.config)
    return image.config


def _offline(lock: Lock, what: str) -> NetworkError:
    hint = f"run envbuilder fetch {lock.spec.name} while there is a network"
    return NetworkError(f"--offline, and the store lacks {what}", hint=hint)


def _architecture(lock: Lock) -> str:
    return lock.spec.platform.partition("/")[2]
