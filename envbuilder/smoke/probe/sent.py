"""Count what the model's processor makes of the items that are sent to a running server."""

from __future__ import annotations

from .facts import Emitter, Facts, Inapplicable
from .model import opened
from .samples import Sample
from .tokens import placeholders


def run(request: Facts, emit: Emitter) -> None:
    """Emit one item per sent sample of a modality that the model takes.

    ``added`` is how much longer than without the item its prompt is, in the words of ``real``
    tokenizers (also of a model whose weights are not there) or in those of a family's tiny one.
    Raises Inapplicable for a model of text alone.
    """
    emit(doing="loading the model's processor")
    with opened(request) as subject:
        family, processor = subject.family, subject.processor
        emit(facts={"real": bool(request["model"]["path"])})
        if not family.modalities:
            raise Inapplicable("the model takes text alone: nothing to compare")
        tokenizer = getattr(processor, "tokenizer", processor)
        without = len(tokenizer(family.prompt([]))["input_ids"])
        for modality, label, shape in request["sent"]:
            if modality not in family.modalities:
                continue
            emit(doing=f"counting {modality} {label}")
            sample = Sample(modality, "sent", shape, label)
            options = family.whole if modality == "video" else {}  # a server takes what was sent
            inputs = family.call(processor, [(modality, sample.make())], **options)
            emit(
                item={
                    "modality": modality,
                    "label": label,
                    "placeholders": placeholders(subject, inputs)[modality],
                    "added": family.length(inputs) - without,
                }
            )
