"""Write the image of a lock where other tools find it: an OCI layout, or an archive."""

from __future__ import annotations

from pathlib import Path

from envbuilder.engines.foundation import fetch_base
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Progress
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store


def export_image(
    lock: Lock, image: Image, target: str, *, store: Store, progress: Progress, offline: bool
) -> Path:
    """Write ``image`` to ``target``; what of its base only the registry has is fetched first.

    Building needs no more of an image base than its digests. Raises UsageError, BuildError, and
    NetworkError if a layer is to be fetched and cannot be.
    """
    if not all(store.has(layer.digest) for layer in image.layers):
        fetch_base(lock, store=store, offline=offline, progress=progress)
    return export(image, store, target, name=f"{lock.spec.name}:latest", progress=progress)
