"""A layer in another form of compression: the same tar, so its ``diff_id`` stays.

What was made is remembered, by the tar and by what its bytes depend on, as long as the store keeps
it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import BinaryIO, cast

from msgspec import Struct

from envbuilder.model.image import OCI_LAYER_ZSTD, Layer
from envbuilder.model.reference import Digest
from envbuilder.model.spec_words import Compression
from envbuilder.storage.store import Store

from .chunked_writer import TABLE_CHECKSUM, NoTableError, write_chunked
from .frames import CODEC, PIECE, Frames
from .untar import Untar, untar_stream

_KIND = "forms"
_VERSION = 2
"""Raise it whenever a form is written in another way."""
_READ = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FormedLayer:
    """A layer as it was recompressed, and the annotations that a manifest has for it.

    ``why_no_table`` says why a layer that should have a table of contents has none.
    """

    layer: Layer
    annotations: dict[str, str] = field(default_factory=dict)
    why_no_table: str = ""

    @property
    def table(self) -> Digest | None:
        """The hash of the layer's table of contents, packed, if it has one."""
        found = self.annotations.get(TABLE_CHECKSUM)
        return None if found is None else Digest.parse(found)


class _Made(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    digest: Digest
    size: int
    annotations: dict[str, str]
    why_no_table: str


def recompress(
    store: Store,
    layer: Layer,
    compression: Compression,
    *,
    pool: Executor,
    advance: Callable[[int], object],
) -> FormedLayer:
    """Return ``layer``, which ``store`` has, in another ``compression`` than gzip.

    ``pool`` packs; ``advance`` is told how many bytes of the layer were read, and may raise to give
    up. A tar that no table of contents fits travels as plain zstd. Raises BuildError if the layer
    is missing or damaged.
    """
    if compression == "zstd" and layer.media_type == OCI_LAYER_ZSTD:
        advance(layer.size)
        return FormedLayer(layer=layer)
    key = f"{_VERSION} {CODEC} {compression} {layer.diff_id}"
    made = store.record(_KIND, key, _Made)
    if made is None:
        made = _make(store, layer, compression, pool=pool, advance=advance)
        store.put_record(_KIND, key, made, blobs=[made.digest])
    else:
        advance(layer.size)
    formed = replace(layer, digest=made.digest, size=made.size, media_type=OCI_LAYER_ZSTD)
    return FormedLayer(layer=formed, annotations=made.annotations, why_no_table=made.why_no_table)


def _make(
    store: Store,
    layer: Layer,
    compression: Compression,
    *,
    pool: Executor,
    advance: Callable[[int], object],
) -> _Made:
    if compression == "zstd":
        return _written(store, layer, _write_plain, pool, advance)
    try:
        return _written(store, layer, write_chunked, pool, advance)
    except NoTableError as error:
        why = error.message
    # The layer was counted already, as far as it was read; what watches may still give up.
    plain = recompress(store, layer, "zstd", pool=pool, advance=lambda _: advance(0)).layer
    return _Made(digest=plain.digest, size=plain.size, annotations={}, why_no_table=why)


def _written(
    store: Store,
    layer: Layer,
    write: Callable[[Untar, Frames], dict[str, str]],
    pool: Executor,
    advance: Callable[[int], object],
) -> _Made:
    """Write a blob of the layer's tar, which must be its ``diff_id``, or leave nothing."""
    with (
        store.open(layer.digest) as packed,
        store.writer() as out,
    ):
        metered = io.BufferedReader(_Metered(packed, advance), _READ)
        source = cast("BinaryIO", metered)
        frames = Frames(out.write, pool)
        with untar_stream(
            source, layer.media_type, layer.diff_id, str(layer.digest), size=layer.size
        ) as tar:
            annotations = write(tar, frames)
            frames.finish()
        return _Made(
            digest=out.commit(), size=frames.size, annotations=annotations, why_no_table=""
        )


def _write_plain(tar: Untar, frames: Frames) -> dict[str, str]:
    for plain in tar.rest(PIECE):
        frames.put(plain)
    return {}


class _Metered(io.RawIOBase):
    """A file that tells how much of it was read."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], object]) -> None:
        super().__init__()
        self._file = file
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        count = int(self._file.readinto(buffer))  # type: ignore[attr-defined]
        self._advance(count)
        return count
