"""What the layers that an environment lies on show, read once for each stack of layers."""

from __future__ import annotations

from collections.abc import Sequence

from envbuilder.layers.below import Below, asked, below
from envbuilder.layers.bounds import Budget
from envbuilder.layers.contents import Contents, scan
from envbuilder.layers.untar import untar
from envbuilder.model.image import Layer, canonical_json

from .context import Context

_KIND = "below"
_LAYOUT = 2  # raise it whenever the same layers tell something else


def look_below(context: Context, layers: Sequence[Layer]) -> Below:
    """Read ``layers``, which the store holds; it remembers what they show.

    Raises BuildError for layers that are damaged, or not there.
    """
    stack = [str(layer.diff_id) for layer in layers]
    key = canonical_json({"layout": _LAYOUT, "layers": stack}).decode()
    found = context.store.record(_KIND, key, Below)
    if found is None:
        found = below(_contents(context, layers))
        blobs = {layer.digest for layer in layers}
        context.store.put_record(_KIND, key, found, blobs=blobs)
    return found


def _contents(context: Context, layers: Sequence[Layer]) -> list[Contents]:
    contents: list[Contents] = []
    budget = Budget.of_image("the base", sum(layer.size for layer in layers))
    for layer in layers:
        title = layer.title or str(layer.digest)
        with context.progress.step("read", title, total=layer.size) as step:
            path = context.store.checked(layer.digest)
            with untar(path, layer.media_type, layer.diff_id, within=budget) as tar:
                contents.append(scan(tar, asked=asked))
            step.advance(layer.size)
    return contents
