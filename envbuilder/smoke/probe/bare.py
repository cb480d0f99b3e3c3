"""The encoders of a model, without its weights: as wide as they are, without their depth.

For weights that are not here, and for quantised ones, with which transformers may not compute. How
many rows an encoder makes follows from shapes, never from values, and a layer of a stack gives
as many as it takes. So the model that ``config.json`` describes is built without memory for its
weights, its stacks are cut down to the layers whose output the configuration selects, and what is
left is filled with zeros, page by page as it is read: a model of gigabytes takes seconds and a few
hundred megabytes.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

from .facts import Facts
from .families._model_files import read_json
from .families.base import Family

LAYERS = ("Layer", "Block")
"""How the classes of modules end that are stacked, and each give what they take."""


def encoders(family: Family, directory: str) -> Any:
    """Return the model that ``directory`` describes, good for counting what its encoders make."""
    model = hollow(family, directory)
    shorten(model, max(map(abs, selected(model.config)), default=0))
    for name, weight in [*model.named_parameters()]:
        if weight.is_meta:
            holder, _, last = name.rpartition(".")
            setattr(model.get_submodule(holder), last, _zeros(weight))
    return model.eval()


def _zeros(weight: Any) -> Any:
    """Return zeros in the place of ``weight``; their memory is taken when they are read."""
    import numpy as np
    import torch

    size = weight.numel() * weight.element_size()
    flat = torch.from_numpy(np.zeros(size, np.uint8)).view(weight.dtype)
    return torch.nn.Parameter(flat.reshape(weight.shape), requires_grad=False)


def hollow(family: Family, directory: str) -> Any:
    """Return the model with weights that have shapes and no memory; its buffers are real."""
    stated: Facts = read_json(directory, "config.json")
    named = stated.get("architectures") or []
    kind = family.find_class(named[0] if named and not family.model_class else family.model_class)
    config = family.load_config(directory)
    with weightless():
        return kind(config)


@contextlib.contextmanager
def weightless() -> Iterator[None]:
    """Let every parameter that a module registers lose its memory at once."""
    import torch

    register = torch.nn.Module.register_parameter

    def registered(module: Any, name: str, weight: Any) -> None:
        register(module, name, weight)
        if weight is not None and not weight.is_meta:
            empty = torch.nn.Parameter(weight.to("meta"), requires_grad=False)
            module._parameters[name] = empty

    torch.nn.Module.register_parameter = registered
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = register


def shorten(model: Any, depth: int) -> None:
    """Keep ``depth`` layers of every stack in ``model``."""
    import torch

    for module in [*model.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, torch.nn.ModuleList) and len(child) > depth and _stacked(child):
                setattr(module, name, child[:depth])


def _stacked(modules: Any) -> bool:
    return all(type(one).__name__.endswith(LAYERS) for one in modules)


def selected(config: Any) -> list[int]:
    """Return how many layers the configuration asks of a stack; counted from its end, negative.

    That is the layer whose output is taken, or the one behind which patches are merged.
    """
    found = getattr(config, "vision_feature_layer", None)
    layers = [*found] if isinstance(found, (list, tuple)) else [found]
    for part in ("vision_config", "audio_config"):
        encoder = getattr(config, part, None)
        merged = getattr(encoder, "insert_layer_id", None)
        layers += [getattr(encoder, "feature_layer", None), None if merged is None else merged + 1]
    return [int(one) for one in layers if one is not None]
