"""Count what the model's processor makes of the items that are sent to a running server."""

from __future__ import annotations

from .facts import Emitter, Facts
from .model import opened
from .samples import Sample
from .tokens import placeholders


def run(request: Facts, emit: Emitter) -> None:
    """Emit one item per sent sample of a modality that the model takes: its placeholders."""
    emit(doing="loading the model's processor")
    with opened(request) as subject:
        family = subject.family
        for modality, label, shape in request["sent"]:
            if modality not in family.modalities:
                continue
            emit(doing=f"counting {modality} {label}")
            sample = Sample(modality, "sent", shape, label)
            inputs = family.call(subject.processor, [(modality, sample.make())])
            found = placeholders(subject, inputs)[modality]
            emit(item={"modality": modality, "label": label, "placeholders": found})
