"""The lock's base -> the layers that everything else lies on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from envbuilder.model.errors import NetworkError
from envbuilder.model.image import Layer
from envbuilder.model.lock import DebianBase, ImageBase, Lock
from envbuilder.model.progress import Progress
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.images import fetch_image
from envbuilder.registry.manifests import Platform
from envbuilder.registry.transfer import pull_layers
from envbuilder.resolve.debian.archives import debian_archives
from envbuilder.resolve.debian.debs import fetch_debs
from envbuilder.resolve.debian.system_layer import stored_system_layer, system_layer
from envbuilder.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What the Python layers lie on, and the settings that come with it (OCI ``config``)."""

    layers: tuple[Layer, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def foundation_layers(
    lock: Lock, *, store: Store, offline: bool, progress: Progress, stop: Event
) -> Foundation:
    """Make the system layer of a Debian base, or look up an image base without pulling it.

    ``stop`` ends the work. Raises NetworkError, BuildError and MissingToolError.
    """
    if isinstance(lock.base, ImageBase):
        config = base_config(lock, lock.base, store=store, offline=offline)
        settings = json.loads(config).get("config") or {}
        return Foundation(layers=lock.base.layers, settings=settings)
    architecture = _architecture(lock)
    layer = stored_system_layer(store, lock.base, architecture=architecture)
    if layer is None:
        fetch_base(lock, store=store, offline=offline, progress=progress)
        layer = system_layer(
            store, lock.base, architecture=architecture, progress=progress, stop=stop
        )
    return Foundation(layers=(layer,))


def fetch_base(lock: Lock, *, store: Store, offline: bool, progress: Progress) -> None:
    """Bring what the base is made of into the store: .deb files, or an image's layers."""
    if isinstance(lock.base, ImageBase):
        _pull_base(lock, lock.base, store=store, offline=offline, progress=progress)
    else:
        _fetch_debian(lock, lock.base, store=store, offline=offline, progress=progress)


def _fetch_debian(
    lock: Lock, base: DebianBase, *, store: Store, offline: bool, progress: Progress
) -> None:
    missing = [deb for deb in base.packages if not store.has(deb.sha256)]
    if not missing:
        return
    if offline:
        raise _offline(lock, f"{len(missing)} .deb files of Debian {base.suite}")
    archives = debian_archives(base.suite)
    fetch_debs(missing, archives=archives, store=store, progress=progress)


def _pull_base(
    lock: Lock, base: ImageBase, *, store: Store, offline: bool, progress: Progress
) -> None:
    base_config(lock, base, store=store, offline=offline)  # a build without a network needs it too
    if all(store.has(layer.digest) for layer in base.layers):
        return
    if offline:
        raise _offline(lock, f"layers of {base.reference}")
    with Client.from_environment() as client:
        repository = client.repository(ImageRef.parse(base.reference))
        pull_layers(repository, base.layers, store, progress)


def base_config(lock: Lock, base: ImageBase, *, store: Store, offline: bool) -> bytes:
    """Return the config of an image base, as its registry has it; the store keeps it."""
    if store.has(base.config):
        return store.read(base.config)
    if offline:
        raise _offline(lock, f"the config of {base.reference}")
    ref = ImageRef.parse(base.reference).at(base.digest)
    with Client.from_environment() as client:
        image = fetch_image(client, ref, Platform.parse(lock.spec.platform))
    store.add(image.config)
    return image.config


def _offline(lock: Lock, what: str) -> NetworkError:
    hint = f"run envbuilder fetch {lock.spec.name} while there is a network"
    return NetworkError(f"--offline, and the store lacks {what}", hint=hint)


def _architecture(lock: Lock) -> str:
    return lock.spec.platform.partition("/")[2]
