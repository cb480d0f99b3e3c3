"""Write the vocabulary file of Mistral's own tokenizer (``tekken.json``): bytes and its marks."""

from __future__ import annotations

import base64
from typing import Mapping

from .. import tokenizer
from ..facts import Facts

RESERVED = 40
"""Ids below those of the bytes, of which the marks have some (1000 in the released files)."""


def write(directory: str, marks: Mapping[str, int], *, version: str, **more: Facts) -> None:
    """Write ``tekken.json`` to ``directory``: the 256 bytes, and ``marks`` at their ids.

    ``version`` is that of the prompt's format; ``more`` are the parts for images and sound.
    """
    named = {number: text for text, number in marks.items()}
    specials = [
        {"rank": rank, "token_str": named.get(rank, f"<SPECIAL_{rank}>"), "is_control": True}
        for rank in range(RESERVED)
    ]
    vocabulary = [
        {
            "rank": byte,
            "token_bytes": base64.b64encode(bytes([byte])).decode("ascii"),
            "token_str": chr(byte) if byte < 0x80 else None,
        }
        for byte in range(tokenizer.BYTES)
    ]
    config = {
        "pattern": r"[^\s]+|\s+",
        "num_vocab_tokens": tokenizer.BYTES,
        "default_vocab_size": RESERVED + tokenizer.BYTES,
        "default_num_special_tokens": RESERVED,
        "version": version,
    }
    file = {"config": config, "vocab": vocabulary, "special_tokens": specials, **more}
    tokenizer.write_json(directory, "tekken.json", file)
