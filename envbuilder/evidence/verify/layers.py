"""Read layers to prove what a seal does not: whole, hashed, and stored nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from envbuilder.layers.bounds import Budget
from envbuilder.layers.chunked import most_table, prove_table, read_table
from envbuilder.layers.contents import Contents, scan, stacked
from envbuilder.layers.untar import Untar, untar
from envbuilder.model.errors import BuildError, MismatchError, NetworkError
from envbuilder.model.image import Image, Layer
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.progress import Progress
from envbuilder.model.reference import Digest
from envbuilder.registry.blobs import read_part
from envbuilder.registry.images import layer_descriptor
from envbuilder.registry.open_image import in_registry
from envbuilder.registry.repository import Repository
from envbuilder.registry.streams import read_layer, scan_layer
from envbuilder.storage.store import Store

from .bytecode import compare_bytecode
from .findings import Finding, FindingStatus, Level
from .packages import compare_base, compare_packages
from .tables import TableNote


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReader:
    """Where layers are read: in ``store`` if that holds them, or else in the repository."""

    repository: Repository
    store: Store | None
    progress: Progress

    def prove(
        self, sealed: Sequence[Layer], found: Sequence[Layer], notes: Sequence[TableNote | None]
    ) -> Iterator[Finding]:
        """Read each blob that claims a sealed layer's content, but is not the sealed one.

        ``notes`` say which of them have a table of contents, which is then compared with the tar.
        A runtime that unpacks whole layers compares them with their ``diff_id``, but one that
        fetches files one by one does not: such a blob proves nothing until someone has read it.
        """
        budget = Budget.of_image(str(self.repository), sum(layer.size for layer in found))
        for number, layer in unproven(sealed, found):
            note = notes[number - 1]
            and_table = ", and its table of contents lists just that" if note else ""
            finding = Finding(
                level=Level.CONTENT,
                subject=f"layer {number}",
                status=FindingStatus.NOTE,
                expected=str(sealed[number - 1].digest),
                actual=str(layer.digest),
                explanation="compressed anew: "
                f"its {layer.size} bytes were read, and hold the sealed content{and_table}",
            )
            try:
                self._read(layer, note, budget)
            except MismatchError as error:
                why = f"claims the sealed content, but {error.message}"
                finding = replace(finding, status=FindingStatus.MISMATCH, explanation=why)
            except NetworkError as error:
                why = f"is another blob, which could not be read: {error.message}"
                finding = replace(finding, status=FindingStatus.UNKNOWN, explanation=why)
            yield finding

    def packages(self, lock: Lock, image: Image) -> Iterator[Finding]:
        """Read all layers, and compare base and packages with the lock."""
        if isinstance(lock.base, ImageBase):
            yield compare_base(lock.base, image)
        opened = in_registry(self.repository, image)
        opened = replace(opened, scan_layer=self._scan)
        try:
            held = opened.read_layers(self.progress)
        except MismatchError as error:
            yield _unread(FindingStatus.MISMATCH, error.message)
        except NetworkError as error:
            yield _unread(FindingStatus.UNKNOWN, error.message)
        else:
            shown = stacked(held)
            yield from compare_packages(lock, shown)
            yield from compare_bytecode(image.layers, held, shown)

    def _read(self, layer: Layer, note: TableNote | None, within: Budget) -> None:
        title = layer.title or str(layer.digest)
        with self.progress.step("read", title, total=layer.size) as step:
            if note is None:
                self._scan(layer, within=within)
            else:
                read_layer(self.repository, layer, self._prover(layer, note), within=within)
            step.advance(layer.size)

    def _prover(self, layer: Layer, note: TableNote) -> Callable[[Untar], None]:
        """Fetch a layer's table, as its puller will; return what compares a tar with it."""
        blob = layer_descriptor(layer)
        if note.plain_size > most_table(layer.size):
            raise MismatchError("its table of contents is larger than any honest one of its size")
        packed = read_part(self.repository, blob, note.offset, note.size)
        if Digest.of(packed) != note.checksum:
            raise MismatchError("its table of contents is not the one that is named")
        try:
            table = read_table(packed, note.plain_size)
        except BuildError as error:
            raise MismatchError(error.message) from error
        return lambda tar: prove_table(tar, table)

    def _scan(
        self, layer: Layer, *, hashed: bool = False, within: Budget | None = None
    ) -> Contents:
        """Read a layer: in the store where that holds it, and nothing of it is wrong."""
        if self.store is not None and self.store.has(layer.digest):
            path = self.store.path(layer.digest)
            kind, diff_id = layer.media_type, layer.diff_id
            with suppress(BuildError), untar(path, kind, diff_id, within=within) as tar:
                return scan(tar, hashed=hashed)
        return scan_layer(self.repository, layer, hashed=hashed, within=within)


def unproven(sealed: Sequence[Layer], found: Sequence[Layer]) -> Iterator[tuple[int, Layer]]:
    """Return those of ``found``, with their number from 1, that are not the sealed blob there."""
    proven = {(layer.digest, layer.diff_id) for layer in sealed}
    for number, layer in enumerate(found, start=1):
        if (layer.digest, layer.diff_id) not in proven:
            yield number, layer


def _unread(status: FindingStatus, explanation: str) -> Finding:
    return Finding(level=Level.PACKAGES, subject="layers", status=status, explanation=explanation)
