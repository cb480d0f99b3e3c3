"""Ask a model's encoders: by which method, with which arguments, and how many rows came back."""

from __future__ import annotations

import inspect
from typing import Any, Callable

from ..facts import Facts, Unasked


def feature_method(model: Any, name: str) -> Any:
    """Return the encoding method ``name`` of the model, or of the body that some versions wrap."""
    body = getattr(model, "model", model)
    return getattr(model, name, None) or getattr(body, name, None)


def parameters(model: Any, name: str) -> list[inspect.Parameter]:
    """Return what the encoding method ``name`` takes: what its body does, if it only passes on."""
    found: dict[str, inspect.Parameter] = {}
    for holder in (model, getattr(model, "model", None)):
        method = getattr(holder, name, None)
        taken = list(inspect.signature(method).parameters.values()) if method is not None else []
        for one in taken:
            if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
                found.setdefault(one.name, one)
        if taken and not any(one.kind is one.VAR_KEYWORD for one in taken):
            break  # it takes nothing else, whatever the body would take
    return list(found.values())


def settled(model: Any, name: str) -> list[Any]:
    """Return what the configuration says of ``name``, itself or its vision part; [] if nothing."""
    config = model.config
    holders = (config, getattr(config, "vision_config", None))
    return [getattr(one, name) for one in holders if hasattr(one, name)][:1]


def rows(features: Any) -> int:
    """Count the embedding rows in whatever an encoder returned.

    transformers 4.x gives a tensor or a tuple of them; 5.x a model output whose ``pooler_output``
    may be None, in which case ``last_hidden_state`` holds the rows. Rows of padding do not count
    if an ``attention_mask`` beside them tells which they are.
    """
    if hasattr(features, "last_hidden_state") or hasattr(features, "pooler_output"):
        pooled = getattr(features, "pooler_output", None)
        made = features.last_hidden_state if pooled is None else pooled
        mask = getattr(features, "attention_mask", None)
        if mask is not None and mask.shape == getattr(made, "shape", ())[:-1]:
            return int(mask.sum())
        return rows(made)
    if isinstance(features, (list, tuple)):
        return sum(rows(part) for part in features)
    return int(features.numel() // features.shape[-1])


class _Handed(Exception):  # noqa: N818 - a way out, not an error
    """What was handed over."""

    def __init__(self, given: Facts) -> None:
        super().__init__()
        self.given = given


def handed(holder: Any, method: str, call: Callable[[], object]) -> Facts:
    """Return the arguments with which ``call`` comes to call ``holder.method``, and go no further.

    By their names, those without one by their place, from "0". For models that offer no method
    that gives what their encoders make.
    """

    def stop(*args: object, **kwargs: object) -> None:
        raise _Handed({**{str(at): value for at, value in enumerate(args)}, **kwargs})

    setattr(holder, method, stop)
    try:
        call()
    except _Handed as found:
        return found.given
    finally:
        delattr(holder, method)
    raise Unasked(f"the model calls no {method} of {type(holder).__name__}")
