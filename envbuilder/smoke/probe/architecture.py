"""Build the model's configuration and the model itself, of any size, without memory for weights.

A release of transformers that does not know the model fails here, as a server would at its start.
"""

from __future__ import annotations

from . import bare
from .facts import Emitter, Facts
from .model import described


def run(request: Facts, emit: Emitter) -> None:
    """Emit which classes the configuration and the model have, and how large the model is."""
    emit(doing="importing transformers")
    with described(request) as (family, directory):
        import transformers

        emit(facts={"transformers": transformers.__version__, "family": family.name})
        emit(doing="building the configuration")
        config = family.load_config(directory)
        emit(facts={"config": type(config).__name__, "model_type": config.model_type})
        emit(doing="building the model without its weights")
        model = bare.hollow(family, directory)
        size = sum(weight.numel() for weight in model.parameters())
        emit(facts={"model": type(model).__name__, "parameters": size})
