"""Check installed files against the hashes in RECORD (the wheel format's own inventory)."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution
from pathlib import Path
from typing import Iterator, Tuple

from .facts import Facts

CHUNK = 1 << 20
Row = Tuple[int, str, str]
"""When it was installed, beside others; whose RECORD says it; the hash that it states."""


def verify(named: list[tuple[str, Distribution]], installed: list[str], shown: int) -> Facts:
    """Hash every file that a RECORD lists and count the rest; at most ``shown`` findings each.

    Where several RECORDs list one path, that of the last in ``installed`` counts, for its file is
    there; of distributions that it does not name, any may have been the last.
    """
    started = time.monotonic()
    order = {name: number for number, name in enumerate(installed, 1)}
    listed: dict[str, list[Row]] = {}
    unrecorded = []
    for name, dist in named:
        label = f"{dist.metadata['Name']} {dist.version}"
        text = dist.read_text("RECORD")
        if text is None:
            unrecorded.append(label)
            continue
        root = os.path.realpath(str(dist.locate_file("")))
        for row in csv.reader(io.StringIO(text, newline="")):
            if row:
                path = os.path.normpath(os.path.join(root, row[0]))
                said = (order.get(name, 0), label, row[1] if len(row) > 1 else "")
                listed.setdefault(path, []).append(said)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashing releases the interpreter lock
        states = list(pool.map(_state, listed.items(), chunksize=64))
    bad = [state for state in states if state["problem"]]
    roots = {os.path.realpath(str(dist.locate_file(""))) for _, dist in named}
    strangers = sorted(_unlisted(roots, listed))
    return {
        "hashed": sum(1 for state in states if state["hashed"]),
        "bytes": sum(state["bytes"] for state in states),
        "seconds": round(time.monotonic() - started, 3),
        "damaged": bad[:shown],
        "damaged_count": len(bad),
        "unlisted": strangers[:shown],
        "unlisted_count": len(strangers),
        "without_record": unrecorded[:shown],
    }


def _state(entry: tuple[str, list[Row]]) -> Facts:
    """Return whether one file is there and is what who wrote it last recorded of it."""
    path, rows = entry
    last = max(place for place, _, _ in rows)
    states = [_compared(path, owner, text) for place, owner, text in rows if place == last]
    return next((state for state in states if not state["problem"]), states[-1])


def _compared(path: str, owner: str, recorded: str) -> Facts:
    """Return whether one file is there and has the recorded hash; only sha256 and up are used."""
    state = {"path": path, "owner": owner, "problem": "", "hashed": False, "bytes": 0}
    method, _, wanted = recorded.partition("=")
    try:
        if method in ("sha256", "sha384", "sha512"):
            digest, state["bytes"] = _digest(path, method)
            state["hashed"] = True
            if digest != wanted.rstrip("="):
                state["problem"] = "changed since it was installed"
        elif not path.endswith(".pyc") and not os.path.lexists(path):
            state["problem"] = "missing"
    except FileNotFoundError:
        state["problem"] = "missing"
    except OSError as error:
        state["problem"] = f"unreadable: {error.strerror}"
    return state


def _digest(path: str, method: str) -> tuple[str, int]:
    digest, size = hashlib.new(method), 0
    buffer = memoryview(bytearray(CHUNK))
    with open(path, "rb", buffering=0) as stream:
        while True:
            count = stream.readinto(buffer)
            if not count:
                break
            digest.update(buffer[:count])
            size += count
    return base64.urlsafe_b64encode(digest.digest()).decode().rstrip("="), size


def _unlisted(roots: set[str], listed: dict[str, list[Row]]) -> Iterator[str]:
    """Yield files in ``roots`` that no RECORD lists: leftovers, or files copied in by hand."""
    for root in roots:
        for folder, names, files in os.walk(root):
            names[:] = [name for name in names if name != "__pycache__"]
            for name in files:
                path = os.path.join(folder, name)
                if path not in listed and Path(path).suffix not in (".pyc", ".pth"):
                    yield path
