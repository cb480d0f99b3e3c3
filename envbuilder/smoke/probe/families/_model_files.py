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


def read_json(directory: str, name: str) -> Any:
    """Return the JSON file ``name`` of ``directory``; what is no JSON is named (ValueError)."""
    try:
        return json.loads(Path(directory, name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
