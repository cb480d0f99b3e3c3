"""Write the image of a lock where other tools find it: an OCI layout, or an archive."""

from __future__ import annotations

from envbuilder.engines.foundation import fetch_base
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.seal import Form
from envbuilder.model.spec_words import Compression
from envbuilder.registry.layout import export
from envbuilder.resolve.context import Context

from .forms import chosen_compression, in_form


def export_image(
    context: Context,
    lock: Lock,
    image: Image,
    target: str,
    *,
    compression: Compression | None = None,
) -> Form | None:
    """Write ``image`` to ``target``; what of its base only the registry has is fetched first.

    Its layers are in ``compression``, or else as the spec says; returns that form for the seal if
    it is not the sealed image's own. Building needs no more of an image base than its digests.
    Raises UsageError, BuildError, and NetworkError if a layer is to be fetched and cannot be.
    """
    store, name = context.store, f"{lock.spec.name}:latest"
    if not all(store.has(layer.digest) for layer in image.layers):
        fetch_base(context, lock)
    chosen = chosen_compression(lock.spec, compression)
    written, form = in_form(context, lock, image, chosen)
    export(written, store, target, name=name, progress=context.progress)
    return form
