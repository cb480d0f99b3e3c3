"""Write the image of a lock where other tools find it: an OCI layout, or an archive."""

from __future__ import annotations

from pathlib import Path

from envbuilder.engines.foundation import fetch_base
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.registry.layout import export
from envbuilder.resolve.context import Context


def export_image(context: Context, lock: Lock, image: Image, target: str) -> Path:
    """Write ``image`` to ``target``; what of its base only the registry has is fetched first.

    Building needs no more of an image base than its digests. Raises UsageError, BuildError, and
    NetworkError if a layer is to be fetched and cannot be.
    """
    store, name = context.store, f"{lock.spec.name}:latest"
    if not all(store.has(layer.digest) for layer in image.layers):
        fetch_base(context, lock)
    return export(image, store, target, name=name, progress=context.progress)
