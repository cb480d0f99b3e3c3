"""What travels to a job and back: an order, and its answer, which the job's log holds in a frame.

The frame names the attempt and the hash of what is in it, so that neither what an earlier attempt
printed into the same log, nor half of an answer, is taken for one.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from typing import Any

from msgspec import Struct

from envbuilder.model import errors
from envbuilder.model.codec import MisfitError, from_json
from envbuilder.model.errors import EnvbuilderError
from envbuilder.runtime import Completed
from envbuilder.storage.ledger import LedgerEntry

_MOST = 256 << 20
"""Bytes of an answer: a report with the answers of many models has some megabytes."""
_FRAME = re.compile(
    r"^envbuilder-answer (?P<attempt>\w+) (?P<sha256>[0-9a-f]{64})\n"
    r"(?P<text>[A-Za-z0-9+/=\n]*)^envbuilder-end (?P=attempt)$",
    re.MULTILINE,
)


class Order(Struct, frozen=True, kw_only=True):
    """Build ``lock`` and smoke it, or run ``args`` in its image instead.

    ``envbuilder`` and ``layout`` are the versions that both sides must have. ``folder`` is where,
    in the package, the spec's samples and answers lie. Without ``gpus`` it keeps off the GPUs of
    its machine, which somebody else may have.
    """

    envbuilder: str
    layout: int
    name: str
    lock: str
    folder: str
    engine: str
    runtime: str
    gpus: int
    args: tuple[str, ...] = ()


class Built(Struct, frozen=True, kw_only=True):
    """A build: the sealed lock, the image's own bytes, the smoke report, and the ledger's line.

    ``start`` is the text of what a start needs (``NAME.start.json``), empty if that is not known.
    """

    lock: str
    manifest: bytes
    config: bytes
    report: dict[str, Any]
    entry: LedgerEntry
    start: str = ""


class Answer(Struct, frozen=True, kw_only=True):
    """What came of an order: what was ``built`` or ``ran``, or the ``error`` with its exit code."""

    code: int
    error: str = ""
    hint: str = ""
    built: Built | None = None
    ran: Completed | None = None


def read_answer(log: str, attempt: str) -> Answer | None:
    """Return the answer that an attempt has left in its job's log; None without a whole one."""
    for found in reversed(list(_FRAME.finditer(log))):
        if found["attempt"] != attempt:
            continue
        try:
            data = _inflated(base64.b64decode(found["text"]))
            if hashlib.sha256(data).hexdigest() == found["sha256"]:
                return from_json(data, Answer)
        except (ValueError, zlib.error, MisfitError):
            continue
    return None


def _inflated(data: bytes) -> bytes:
    """Return what was compressed; raise ValueError for what is cut, or larger than any answer."""
    stream = zlib.decompressobj()
    whole = stream.decompress(data, _MOST)
    if not stream.eof:
        raise ValueError("it is cut, or too large")
    return whole


def error_of(answer: Answer, where: str) -> EnvbuilderError:
    """Return the error that an answer tells, of the class that its exit code has."""
    kinds = {
        kind.exit_code: kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, EnvbuilderError)
        and kind.__base__ is EnvbuilderError
    }
    kind = kinds.get(answer.code, EnvbuilderError)
    return kind(f"{where}{answer.error}", hint=answer.hint)
