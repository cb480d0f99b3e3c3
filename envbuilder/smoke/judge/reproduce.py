"""The smallest program that shows a finding, for one that the cause book does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envbuilder.smoke.probe.samples import RATE

ARGUMENTS = {"image": "images", "video": "videos", "audio": "audio"}
FOLDER = "MODEL"
"""Stands for the folder of the user's model, if the smoke made a tiny one."""


def reproduction(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return three lines of Python that count the placeholders of the sample in ``facts``.

    Empty if ``facts`` are not those of a sample of known shape, in a model with a known token.
    """
    modality, shape, token = (facts.get(key) for key in ("modality", "shape", "token"))
    argument = ARGUMENTS.get(str(modality))
    if argument is None or not shape or not token or not isinstance(token, str):
        return ()
    model = facts.get("model") or FOLDER
    number = facts.get("token_id")
    counted = number if isinstance(number, int) else "processor.tokenizer.encode(prompt)[-1]"
    return (
        f"import numpy, transformers; prompt = {token!r}; "
        f"processor = transformers.AutoProcessor.from_pretrained({str(model)!r})",
        f"found = processor(text=[prompt], {argument}={_item(str(modality), shape)})",
        f"print(numpy.asarray(found['input_ids']).ravel().tolist().count({counted}))",
    )


def _item(modality: str, shape: Sequence[int]) -> str:
    """Return the sample as an array, all zeros: counts depend on sizes alone."""
    sizes = ", ".join(map(str, shape))
    if modality == "audio":
        return f"[numpy.zeros(({sizes},), 'float32')], sampling_rate={RATE}"
    return f"[numpy.zeros(({sizes}, 3), 'uint8')]"
