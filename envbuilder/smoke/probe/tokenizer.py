"""Write a byte-level BPE tokenizer that knows the 256 bytes and a family's special tokens.

It is complete and loads offline like the real one; only its vocabulary is small.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Sequence

from .facts import Facts

BYTES = 256
NEWLINES = ("\n", "\n\n", "\n\n\n", "\n\n\n\n")
"""Line ends that are one token each, as Gemma has them: vLLM joins those around an image itself."""


def byte_alphabet() -> list[str]:
    """Return the printable stand-ins of the 256 bytes in order (GPT-2's ``bytes_to_unicode``).

    Printable Latin-1 bytes stand for themselves; the others are moved to U+0100 and up.
    """
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = iter(range(0x100, 0x200))
    return [chr(byte) if byte in set(kept) else chr(next(moved)) for byte in range(BYTES)]


def token_ids(specials: Sequence[str]) -> dict[str, int]:
    """Return the id of every special token, in the order given, from 256 up."""
    return {token: BYTES + number for number, token in enumerate(specials)}


def _added_tokens(specials: Sequence[str]) -> list[Facts]:
    return [
        {
            "id": number,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token, number in token_ids(specials).items()
    ]


def write(directory: str, specials: Sequence[str], settings: Facts) -> None:
    """Write tokenizer.json, tokenizer_config.json, vocab.json and merges.txt to ``directory``.

    ``settings`` completes tokenizer_config.json: class name, named special tokens.
    """
    vocabulary = {sign: number for number, sign in enumerate(byte_alphabet())}
    added = _added_tokens(specials)
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": True,
    }
    fast: Facts = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [],
        },
    }
    decoder = {
        str(token["id"]): {key: value for key, value in token.items() if key != "id"}
        for token in added
    }
    config = {
        "added_tokens_decoder": decoder,
        "additional_special_tokens": list(specials),
        "model_max_length": 32768,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **settings,
    }
    write_json(directory, "tokenizer.json", fast)
    write_json(directory, "tokenizer_config.json", config)
    write_json(directory, "vocab.json", vocabulary)
    Path(directory, "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def write_json(directory: str, name: str, value: object) -> None:
    """Write ``value`` as the JSON file ``name`` of ``directory``."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    Path(directory, name).write_text(text, encoding="utf-8")
