"""Read layers to prove what a seal does not: whole, hashed, and stored nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from envbuilder.layers.contents import Contents, scan
from envbuilder.layers.untar import untar
from envbuilder.model.errors import BuildError, MismatchError, NetworkError
from envbuilder.model.image import Image, Layer
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.progress import Progress
from envbuilder.registry.open_image import in_registry
from envbuilder.registry.repository import Repository
from envbuilder.registry.streams import scan_layer
from envbuilder.storage.store import Store

from .findings import Finding, FindingStatus, Level
from .packages import compare_base, compare_packages


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReader:
    """Where layers are read: in ``store`` if that holds them, or else in the repository."""

    repository: Repository
    store: Store | None
    progress: Progress

    def prove(self, sealed: Sequence[Layer], found: Sequence[Layer]) -> Iterator[Finding]:
        """Read each blob that claims a sealed layer's content, but is not the sealed one.

        A runtime that unpacks whole layers compares them with their ``diff_id``, but one that
        fetches files one by one does not: such a blob proves nothing until someone has read it.
        """
        for number, layer in unproven(sealed, found):
            finding = Finding(
                level=Level.CONTENT,
                subject=f"layer {number}",
                status=FindingStatus.NOTE,
                expected=str(sealed[number - 1].digest),
                actual=str(layer.digest),
                explanation="compressed anew: "
                f"its {layer.size} bytes were read, and hold the sealed content",
            )
            try:
                self._read(layer)
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
        opened = replace(opened, scan_layer=lambda layer, _hashed: self._scan(layer))
        try:
            contents = opened.contents(self.progress)
        except MismatchError as error:
            yield _unread(FindingStatus.MISMATCH, error.message)
        except NetworkError as error:
            yield _unread(FindingStatus.UNKNOWN, error.message)
        else:
            yield from compare_packages(lock, contents)

    def _read(self, layer: Layer) -> None:
        title = layer.title or str(layer.digest)
        with self.progress.step("read", title, total=layer.size) as step:
            self._scan(layer)
            step.advance(layer.size)

    def _scan(self, layer: Layer) -> Contents:
        """Read a layer: in the store where that holds it, and nothing of it is wrong."""
        if self.store is not None and self.store.has(layer.digest):
            path = self.store.path(layer.digest)
            with suppress(BuildError), untar(path, layer.media_type, layer.diff_id) as tar:
                return scan(tar)
        return scan_layer(self.repository, layer)


def unproven(sealed: Sequence[Layer], found: Sequence[Layer]) -> Iterator[tuple[int, Layer]]:
    """Return those of ``found``, with their number from 1, that are not the sealed blob there."""
    proven = {(layer.digest, layer.diff_id) for layer in sealed}
    for number, layer in enumerate(found, start=1):
        if (layer.digest, layer.diff_id) not in proven:
            yield number, layer


def _unread(status: FindingStatus, explanation: str) -> Finding:
    return Finding(level=Level.PACKAGES, subject="layers", status=status, explanation=explanation)
