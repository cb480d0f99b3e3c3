"""Layers in a registry, read as they come: nothing is stored, and every byte is hashed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import BinaryIO, TypeVar, cast

from envbuilder.layers.bounds import Budget
from envbuilder.layers.contents import Contents, scan
from envbuilder.layers.untar import Untar, untar_stream
from envbuilder.model.errors import BuildError, MismatchError
from envbuilder.model.image import OCI_LAYER_TAR, OCI_LAYER_ZSTD, Layer

from .blobs import stream_blob
from .images import layer_descriptor
from .repository import Repository

Result = TypeVar("Result")
_PIECE = 1 << 20
_TWINS = {  # what Docker's family calls these
    "application/vnd.docker.image.rootfs.diff.tar": OCI_LAYER_TAR,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": OCI_LAYER_ZSTD,
}


def scan_layer(
    repository: Repository, layer: Layer, *, hashed: bool = False, within: Budget | None = None
) -> Contents:
    """Read a layer from ``repository`` to its end, and say what is in it; as :func:`read_layer`."""
    return read_layer(repository, layer, partial(scan, hashed=hashed), within=within)


def read_layer(
    repository: Repository,
    layer: Layer,
    read: Callable[[Untar], Result],
    *,
    within: Budget | None = None,
) -> Result:
    """Return what ``read`` makes of a layer's tar, which is read to its end, and stored nowhere.

    ``within`` is what is left for its image.

    Raises NetworkError if it does not come, MismatchError if its tar is not its diff_id, or if
    ``read`` raises BuildError.
    """
    with closing(stream_blob(repository, layer_descriptor(layer))) as chunks:
        blob = cast("BinaryIO", io.BufferedReader(_Chunks(chunks), _PIECE))
        try:
            kind = _TWINS.get(layer.media_type, layer.media_type)
            name = str(layer.digest)
            with untar_stream(
                blob, kind, layer.diff_id, name, size=layer.size, within=within
            ) as tar:
                result = read(tar)
            for _ in chunks:  # only who has read to the end knows that the blob is right
                pass
        except BuildError as error:
            raise MismatchError(f"{repository}: {error.message}") from error
    return result


class _Chunks(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
