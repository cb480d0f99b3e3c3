"""How a wheel is made again from the layer that took its bytes: one copy on disk, not two.

A complement is what the layer does not hold of the zip (its headers, its directory, the few files
that installing rewrites) and a list of (offset in the wheel, size, offset in the layer's blob).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib
from msgspec import Struct

from envbuilder.model.errors import BuildError
from envbuilder.model.image import canonical_json
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from envbuilder.storage.stream import REPAIR

from .deflate import read_at
from .seekable import seekable

Copy = tuple[int, int, int]


class _Source(Struct, frozen=True, kw_only=True):
    """The blobs that a wheel is made of."""

    layer: Digest
    complement: Digest


def join(copies: Iterable[Copy]) -> list[Copy]:
    """Sort copies by place in the wheel and join those that continue each other."""
    joined: list[Copy] = []
    for start, size, at in sorted(copies):
        if joined:
            last_start, last_size, last_at = joined[-1]
            if (last_start + last_size, last_at + last_size) == (start, at):
                joined[-1] = (last_start, last_size + size, last_at)
                continue
        joined.append((start, size, at))
    return joined


def keep(store: Store, *, wheel: Digest, fd: int, layer: Digest, copies: Iterable[Copy]) -> None:
    """Record how ``wheel`` (open as ``fd``) is made from the blob ``layer``."""
    joined = join(copies)
    literals: list[bytes] = []
    position = 0
    for start, size, _ in joined:
        literals += read_at(fd, position, start - position)
        position = start + size
    literals += read_at(fd, position, os.fstat(fd).st_size - position)
    text = canonical_json({"copies": joined}) + b"\n" + b"".join(literals)
    complement = store.add(isal_zlib.compress(text))
    source = _Source(layer=layer, complement=complement)
    store.put_record(_kind(wheel), str(layer), source, blobs=[layer, complement])


def release(store: Store, wheel: Digest) -> None:
    """Drop the wheel's own blob if a layer holds its bytes as well."""
    if store.has(wheel) and _source(store, wheel) is not None:
        store.discard(wheel)


def has_wheel(store: Store, wheel: Digest) -> bool:
    """Return whether the store can give out the wheel: as a blob, or out of a layer."""
    return store.has(wheel) or _source(store, wheel) is not None


def makers(store: Store, wheels: Iterable[Digest]) -> set[Digest]:
    """Name the blobs that those ``wheels`` are made from which the store holds in layers only."""
    sources = (_source(store, wheel) for wheel in wheels if not store.has(wheel))
    return {blob for source in sources if source for blob in (source.layer, source.complement)}


@contextmanager
def wheel_file(store: Store, wheel: Digest) -> Iterator[Path]:
    """Lend the exact wheel as a file, made again from its layer if need be.

    Raises BuildError if the store does not have it.
    """
    with store.scratch() as scratch:
        path = scratch / "wheel"
        try:
            blob = store.path(wheel).open("rb")
        except FileNotFoundError:
            _make_again(store, wheel, path)
        else:
            with blob:
                _keep_name(blob, path)
        yield path


@contextmanager
def open_wheel(store: Store, wheel: Digest) -> Iterator[BinaryIO]:
    """Open the exact wheel for looking into it, without making it again on disk.

    Raises BuildError if the store does not have it.
    """
    try:
        file = store.path(wheel).open("rb")
    except FileNotFoundError:
        with _open_in_layer(store, wheel) as view:
            yield view
    else:
        with file:
            yield file


@contextmanager
def _open_in_layer(store: Store, wheel: Digest) -> Iterator[BinaryIO]:
    segments, blob = _segments(store, wheel)
    starts = [start for start, _, _ in segments]
    with blob.open("rb") as layer:

        def read_at_once(offset: int, size: int) -> bytes:
            start, length, source = segments[bisect_right(starts, offset) - 1]
            size = min(size, start + length - offset)
            if isinstance(source, bytes):
                return source[offset - start : offset - start + size]
            return os.pread(layer.fileno(), size, source + offset - start)

        yield seekable(segments[-1][0] + segments[-1][1] if segments else 0, read_at_once)


def _kind(wheel: Digest) -> str:
    """Name the records of one wheel: several layers may hold it, and some of them may be pruned."""
    return f"wheel-{wheel.hex}"


def _source(store: Store, wheel: Digest) -> _Source | None:
    return next((found.value for found in store.records(_kind(wheel), _Source)), None)


def _make_again(store: Store, wheel: Digest, path: Path) -> None:
    """Write the wheel to ``path``; raise BuildError if its layer is damaged."""
    segments, blob = _segments(store, wheel)
    found = hashlib.sha256()
    with path.open("wb") as out, blob.open("rb") as layer:
        for _, size, source in segments:
            pieces: Iterable[bytes] = (
                [source] if isinstance(source, bytes) else read_at(layer.fileno(), source, size)
            )
            for piece in pieces:
                out.write(piece)
                found.update(piece)
    if found.hexdigest() != wheel.hex:
        raise BuildError(
            f"blob {blob.name} in the store {store.root} is damaged: wheel {wheel} is made from it",
            hint=REPAIR,
        )


def _keep_name(blob: BinaryIO, path: Path) -> None:
    """Give an open blob the name ``path`` too, which outlives the one that a layer takes away.

    Linux links no file whose name another process replaces at that moment, as it does where two
    fetch one wheel; whatever the reason, a copy serves as well.
    """
    try:
        path.hardlink_to(blob.name)
    except OSError:
        with path.open("xb") as out:
            shutil.copyfileobj(blob, out)


def _segments(store: Store, wheel: Digest) -> tuple[list[tuple[int, int, bytes | int]], Path]:
    """Return the wheel's pieces in order (offset, size, bytes or layer offset), and the layer.

    Pieces are never empty.
    """
    source = _source(store, wheel)
    if source is None:
        raise BuildError(f"wheel {wheel} is not in the store {store.root}", hint="fetch it first")
    text = isal_zlib.decompress(store.read(source.complement))
    head, _, literals = text.partition(b"\n")
    segments: list[tuple[int, int, bytes | int]] = []
    position, used = 0, 0
    for start, size, at in json.loads(head)["copies"]:
        if gap := start - position:
            segments.append((position, gap, literals[used : used + gap]))
            used += gap
        if size:
            segments.append((start, size, at))
        position = start + size
    if rest := literals[used:]:
        segments.append((position, len(rest), rest))
    return segments, store.path(source.layer)
