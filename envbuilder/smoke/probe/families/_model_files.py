"""Read what the JSON files of a model's directory state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..facts import Facts


def processor_settings(directory: str) -> Facts:
    """Return what the processor's files in ``directory`` state about pictures and sound, flat.

    transformers 5 nests in ``processor_config.json`` what 4 writes to ``preprocessor_config.json``,
    and both may call the limits on pixels ``size``; if both names stand, pixels win there, too.
    """
    stated: Facts = {}
    for name in ("preprocessor_config.json", "processor_config.json"):
        if Path(directory, name).is_file():
            file = read_json(directory, name)
            for part in (file, file.get("image_processor"), file.get("feature_extractor")):
                stated.update(part or {})
    size = stated.get("size") or {}
    for limit, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        stated[limit] = stated.get(limit) or size.get(edge)
    return stated


QUANTISED = {
    "hf_quant_config.json": "modelopt",
    "quant_config.json": "awq",
    "quantize_config.json": "gptq",
}
"""Files beside config.json by which older tools say alone how they quantised the weights."""


def quantised(directory: str) -> str | None:
    """Return by which method the weights in ``directory`` are quantised; None if they are not."""
    stated = _quantisation(read_json(directory, "config.json"))
    known = (kind for name, kind in QUANTISED.items() if Path(directory, name).is_file())
    return stated or next(known, None)


def _quantisation(config: Any) -> str | None:
    """Return the method that ``config``, or a part of it for one modality, states."""
    if not isinstance(config, dict):
        return None
    stated = config.get("quantization_config") or config.get("compression_config")
    if stated:
        named = stated.get("quant_method") if isinstance(stated, dict) else None
        return str(named or "by a method without a name")
    return next(filter(None, map(_quantisation, config.values())), None)


def read_json(directory: str, name: str) -> Any:
    """Return the JSON file ``name`` of ``directory``; what is no JSON is named (ValueError)."""
    try:
        return json.loads(Path(directory, name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
