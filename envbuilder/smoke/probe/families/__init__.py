"""Model families: one small file each, found by the name that a spec uses.

To add one: copy the file of its nearest relative, take the values from the model's published
``preprocessor_config.json`` and ``config.json``, shrink what carries weights, write the formula
with its source, and choose samples around its caps. ``docs/how-to/add-a-family.md`` walks through
it.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from ..facts import Absent, Facts
from ._model_files import read_json
from ._text import Text, is_text
from .base import Family


def names() -> list[str]:
    """Return the names of all families, sorted; modules with an underscore are what they share."""
    found = [entry.name for entry in pkgutil.iter_modules(__path__)]
    return sorted(name for name in found if name[0] != "_" and name not in ("base", "generic"))


def load(name: str) -> Family:
    """Return the family called ``name``."""
    if name not in names():
        raise Absent(f"no family is called {name!r}; known are {', '.join(names())}")
    return _family(name)


def of_directory(directory: str) -> Family:
    """Return the family of the real model in ``directory``, with its own settings.

    Its ``model_type`` alone does not tell: Pixtral and LLaVA are both ``llava``. A named family is
    chosen if the processor and the encoders are those that its formula was written for.
    """
    path = Path(directory, "config.json")
    if not path.is_file():
        raise Absent(f"{directory} has no config.json, so it is not a model directory")
    config = read_json(directory, "config.json")
    if not isinstance(config, dict):
        raise ValueError("config.json holds no JSON object")
    if is_text(config, directory):
        return Text().of(directory)
    kind = config.get("model_type", "")
    if kind in names() and _fits(load(kind), config, directory):
        return load(kind).real(directory)
    return _family("generic").of(directory)


def _fits(family: Family, config: Facts, directory: str) -> bool:
    """Return whether the processor and the encoders that a model states are those of ``family``."""
    stated = _processor_class(directory)
    if stated is not None and stated.replace("Fast", "") != family.processor_class:
        return False
    own = _flat(family.config(family.ids()))
    for part in ("vision_config", "audio_config"):
        theirs = (_flat(config).get(part) or {}).get("model_type")
        ours = (own.get(part) or {}).get("model_type")
        if theirs is not None and ours is not None and theirs != ours:
            return False
    return True


def _processor_class(directory: str) -> str | None:
    """Return the processor's class as the first of its files that names one states it."""
    for name in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        path = Path(directory, name)
        if path.is_file():
            stated = read_json(directory, name).get("processor_class")
            if isinstance(stated, str):
                return stated
    return None


def _flat(config: Facts) -> Facts:
    """Return the part of ``config`` that names the encoders; Omni models wrap it."""
    found: Facts = config.get("thinker_config") or config
    return found


def _family(name: str) -> Family:
    family: Family = importlib.import_module("." + name, __name__).FAMILY
    return family
