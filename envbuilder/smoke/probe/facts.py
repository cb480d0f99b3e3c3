"""The facts that a job leaves behind, and the two ways to say that there is nothing to measure.

A job writes JSON lines to a file of its own, so that what it found before a crash is not lost:
``{"facts": {…}}`` merges into its facts, ``{"item": {…}}`` appends to its items, ``{"doing": …}``
says what it is about to try, ``{"failure": {…}}`` and ``{"finished": …}`` end it.

Optional keys, beside those that a job always writes:

- ``tokens.*``, facts ``counts``: what is counted; "placeholders", or for an encoder-decoder that
  has none the positions of its encoder, in words.
- ``tokens.*``, failure ``{"kind": "uncountable"}`` (:class:`Uncountable`): the processor takes this
  modality, and nothing could be compared; the message says why.
- ``tokens.*``, item ``embeddings`` None with a ``note`` that begins with "the encoder cannot be
  asked: " (:data:`UNASKED`): this version of the model offers no way to.
- ``tokens.*``, item ``turned``: where the formula disagrees, what it gives for the image turned by
  a quarter.
- ``tokens.mixed``, item ``unasked``: such modalities and why; ``embeddings`` and ``placeholders``
  leave them out.
"""

from __future__ import annotations

import json
import os
from typing import IO, Any, Dict

Facts = Dict[str, Any]

STARVED = ("can't allocate memory", "Cannot allocate memory", "out of memory")
"""How torch and the C library word an allocation that failed."""
LONGEST = 500
"""How much (characters) of an exception's message is worth showing."""


UNASKED = "the encoder cannot be asked: "
"""How the note of an item begins whose encoder offers no way to ask."""


class Absent(Exception):  # noqa: N818 - a state, not an error
    """Something that this job needs is missing; the message says what."""


class Inapplicable(Exception):  # noqa: N818 - likewise
    """There is nothing to check here; the message says why."""


class Unasked(Exception):  # noqa: N818 - likewise
    """This version offers no way to ask a part of the model; the message says which."""


class Uncountable(Inapplicable):
    """What was asked for is there, and there is no way to count it; the message says why."""


class Emitter:
    """Writes a job's facts, one JSON line each, flushed at once."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8")

    def __call__(self, **line: Any) -> None:
        """Write one line."""
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()


def nothing() -> Facts:
    """Return the facts of a job that never ran."""
    return {"facts": {}, "items": [], "doing": None, "failure": None, "finished": False}


def read_facts(stream: IO[bytes]) -> Facts:
    """Merge the lines that a job wrote to ``stream`` into one document."""
    merged = nothing()
    stream.seek(0)
    for raw in stream.read().decode("utf-8", "replace").split("\n"):
        try:
            line = json.loads(raw)
        except ValueError:
            continue  # the process died while it wrote this line
        merged["facts"].update(line.get("facts", {}))
        if "item" in line:
            merged["items"].append(line["item"])
        merged["doing"] = line.get("doing", merged["doing"])
        merged["failure"] = line.get("failure", merged["failure"])
        if "finished" in line:
            merged["finished"] = True
            merged["peak_memory"] = line["finished"]["peak_memory"]
    return merged


def kind_of(error: BaseException) -> str:
    """Return "memory" where ``error`` is an allocation that failed, else "error"."""
    text = str(error)
    starved = isinstance(error, MemoryError) or any(sign in text for sign in STARVED)
    return "memory" if starved else "error"


def describe(error: BaseException) -> str:
    """Return ``Type: message`` on one line, and the innermost cause if there is one.

    transformers hides the import that really failed below two generic messages.
    """
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST]
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    return text if root is error else f"{text} Caused by {describe(root)}"
