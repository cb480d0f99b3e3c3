"""Where a model takes an item: the text that marks it in a prompt, and the id that is repeated.

The two need not be the same token. Gemma 3's prompt holds ``<start_of_image>`` and its processor
repeats ``<image_soft_token>``; Llama 4's ``<|image|>`` becomes ``<|patch|>``; a video of GLM-4.xV
or SmolVLM becomes frames of the image's token. What counts is the id at which the model inserts
its encoder's rows, and that is what its own ``config.json`` names.
"""

from __future__ import annotations

from typing import Any

from ..facts import Facts
from . import _prompts

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "audio": ("audio", "audios"),
    "image": ("images",),
    "video": ("videos",),
}
"""The processor's keyword for items of a modality, newest first."""
PARTS = {
    "audio": ("feature_extractor", "audio_processor"),
    "image": ("image_processor",),
    "video": ("video_processor",),
}
"""The attributes of a processor that take items of a modality."""
ENCODERS = {"audio": "audio_config", "image": "vision_config", "video": "vision_config"}
"""Where configurations describe the encoder of a modality; null says that the model has none."""
NAMES = ("{}_token_id", "{}_token_index", "{}_placeholder_token_id")
"""How configurations name the id that stands for one row of a modality's encoder."""
OTHER_NAMES = {"image": ("img_context_token_id", "im_patch_id", "media_placeholder_token_id")}


class Mark:
    """One modality of a model that no family describes.

    ``text`` marks an item in a prompt, ``stated`` is the id that the configuration names (None if
    it names none), ``counted`` the id that is counted.
    """

    def __init__(self, text: str, stated: int | None, counted: int) -> None:
        self.text = text
        self.stated = stated
        self.counted = counted


def find(processor: Any, config: Any) -> tuple[dict[str, Mark], dict[str, str]]:
    """Return the marks of the modalities that ``processor`` takes, and why others have none.

    What ``config`` says the model has no encoder for is not among either.
    """
    found: dict[str, Mark] = {}
    reasons: dict[str, str] = {}
    for kind in ("audio", "image", "video"):
        if getattr(config, ENCODERS[kind], config) is None:
            continue  # its processor serves models with this encoder, too
        stated, own = stated_id(config, kind), own_token(processor, kind)
        if not takes(processor, kind) or (stated is None and own is None):
            continue
        text = _text(processor, kind, own) or vocabulary(processor).convert_ids_to_tokens(stated)
        counted = stated if stated is not None else id_of(processor, str(own))
        if counted is None and kind == "video" and "image" in found:
            counted = found["image"].counted  # its frames are pictures to the processor
        if text is None or counted is None:
            reasons[kind] = f"neither config.json nor the tokenizer has an id for its {text or own}"
        else:
            found[kind] = Mark(text, stated, counted)
    return found, reasons


def _text(processor: Any, kind: str, own: str | None) -> str | None:
    """Return what marks an item in a prompt: the processor's own token, if the template agrees."""
    specials = getattr(vocabulary(processor), "all_special_tokens", ())
    written = _prompts.written_mark(processor, kind, [own or "", *specials])
    bare = _prompts.written_mark(processor, kind, [own or ""])
    return own if bare else written or own


def stated_id(config: Any, kind: str) -> int | None:
    """Return the id that ``config`` or its part for the encoder names for ``kind``, or None."""
    names = (*(name.format(kind) for name in NAMES), *OTHER_NAMES.get(kind, ()))
    holders = (config, getattr(config, ENCODERS[kind], None))
    values = (getattr(one, name, None) for one in holders for name in names)
    return next((value for value in values if isinstance(value, int)), None)


def own_token(processor: Any, kind: str) -> str | None:
    """Return the text by which ``processor`` finds an item of ``kind`` in a prompt."""
    for holder in (processor, vocabulary(processor)):
        token = getattr(holder, f"{kind}_token", None)
        if isinstance(token, str) and token:
            return token
    return None


def takes(processor: Any, kind: str) -> bool:
    """Return whether ``processor`` has a part, or an argument of its own, for ``kind``."""
    import inspect

    if any(getattr(processor, part, None) is not None for part in PARTS[kind]):
        return True
    own = vars(type(processor)).get("__call__")  # what all processors inherit takes everything
    accepted = inspect.signature(own).parameters if own is not None else {}
    return any(name in accepted for name in ARGUMENTS[kind])


def id_of(processor: Any, token: str) -> int | None:
    """Return the id of ``token``; None if the vocabulary does not hold it as one."""
    known: Facts = vocabulary(processor).get_vocab()
    return known.get(token)


def vocabulary(processor: Any) -> Any:
    """Return the tokenizer of ``processor``, which may be a bare tokenizer itself."""
    return getattr(processor, "tokenizer", processor)


def repeated(counts: dict[int, int], mark: Mark, others: dict[str, int]) -> int:
    """Return the id that a processor really repeats for ``mark``.

    ``counts`` says how often each id stands in the prompt of one item; ``others`` are the ids of
    the text that marks an item (``own``) and of the image, into whose frames a video may turn.
    """
    if counts.get(mark.counted, 0) > 0:
        return mark.counted
    likely = [number for number in others.values() if counts.get(number, 0) > 1]
    return likely[0] if likely else mark.counted
