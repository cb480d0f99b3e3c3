"""A layer in the making: gzip members that hold one tar, hashed as blob and as tar at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from envbuilder.storage.stream import Writer

from . import tar
from .bounds import check_path
from .deflate import HEADER, STORED_BLOCK, stored, stored_block, trailer
from .worker import Worker


class LayerWriter:
    """Write tar entries as gzip members; get one from :func:`layer_writer`.

    Raises BuildError for a path that no layer may have: who reads layers would refuse this one.
    """

    def __init__(
        self, blob: Writer, packed: Worker, plain: Worker, plain_hash: hashlib._Hash
    ) -> None:
        self._blob = blob
        self._packed_worker = packed
        self._plain_worker = plain
        self._plain_hash = plain_hash
        self._packed = 0
        self._literal: list[bytes] = []

    def entry(
        self, path: str, *, mode: int, content: bytes = b"", owner: tuple[int, int] = (0, 0)
    ) -> None:
        """Write a whole file, or a directory where ``path`` ends with ``/``."""
        kind = tar.DIRECTORY if path.endswith("/") else tar.FILE
        head = tar.header(_bounded(path), mode=mode, kind=kind, size=len(content), owner=owner)
        self._literal += (head, content, tar.padding(len(content)))

    def symlink(self, path: str, target: str, *, owner: tuple[int, int] = (0, 0)) -> None:
        """Write a symbolic link."""
        head = tar.header(_bounded(path), mode=0o777, kind=tar.SYMLINK, link=target, owner=owner)
        self._literal.append(head)

    def begin(self, path: str, *, mode: int, size: int, owner: tuple[int, int] = (0, 0)) -> None:
        """Announce a file whose ``size`` bytes follow by :meth:`deflated` or :meth:`plain`."""
        self._literal.append(tar.header(_bounded(path), mode=mode, size=size, owner=owner))
        self._flush_literal()
        self._put(HEADER, b"")

    def deflated(self, packed: bytes, content: bytes) -> int:
        """Append deflate data and what it inflates to, either of which may lag behind.

        Returns where in the blob ``packed`` lies.
        """
        at = self._packed
        self._put(packed, content)
        return at

    def plain(self, content: bytes) -> Iterator[tuple[int, int, int]]:
        """Append content in stored blocks; yield (offset in content, size, place in the blob)."""
        for start in range(0, len(content), STORED_BLOCK):
            block = content[start : start + STORED_BLOCK]
            self._put(stored_block(len(block), last=False), b"")
            yield start, len(block), self._packed
            self._put(block, block)

    def end(self, *, crc: int, size: int, deflated: bool) -> None:
        """Finish the file that :meth:`begin` announced, of this CRC-32 and size (bytes)."""
        if not deflated:
            self._put(stored_block(0, last=True), b"")
        self._put(trailer(crc, size), b"")
        self._literal.append(tar.padding(size))

    def finish(self) -> Layer:
        """End the tar, wait for the hashes, and make the blob permanent."""
        self._literal.append(tar.END)
        self._flush_literal()
        self._packed_worker.drain()
        self._plain_worker.drain()
        diff_id = Digest(self._plain_hash.hexdigest())
        return Layer(digest=self._blob.commit(), size=self._packed, diff_id=diff_id)

    def _flush_literal(self) -> None:
        data = b"".join(self._literal)
        self._literal.clear()
        self._put(stored(data), data)

    def _put(self, packed: bytes, plain: bytes) -> None:
        self._packed += len(packed)
        self._packed_worker.put(packed)
        self._plain_worker.put(plain)


def _bounded(path: str) -> str:
    if why := check_path(path):
        raise BuildError(f"a layer cannot hold this: {why}", hint="shorten its path")
    return path


@contextmanager
def layer_writer(store: Store) -> Iterator[LayerWriter]:
    """Open a new layer in ``store``; without :meth:`LayerWriter.finish` nothing of it stays."""
    plain_hash = hashlib.sha256()
    with (
        store.writer() as blob,
        Worker(blob.write) as packed,
        Worker(plain_hash.update) as plain,
    ):
        yield LayerWriter(blob, packed, plain, plain_hash)
