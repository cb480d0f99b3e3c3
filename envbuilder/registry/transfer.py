"""Move images between a registry and the local store: only what is missing, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from typing import BinaryIO, TypeVar

from envbuilder.model.errors import EnvbuilderError, LockError, UsageError
from envbuilder.model.image import OCI_CONFIG, Image, Layer
from envbuilder.model.progress import Progress, Step
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.storage.store import Store

from .blobs import has_blob, stream_blob
from .client import Client
from .images import fetch_image, layer_descriptor
from .manifests import Manifest, Platform
from .repository import InvalidError, Repository
from .seen import SeenBlobs
from .uploads import BlobSource, mounted, put_bytes, upload

WORKERS = 4
ASKERS = 8  # that only ask: what takes a round trip, and no line
Item = TypeVar("Item")


class RefusedImageError(InvalidError):
    """The registry does not take the manifest of an image, maybe for the media types in it."""


def pull(
    client: Client, ref: ImageRef, platform: Platform, store: Store, progress: Progress
) -> Image:
    """Fetch an image and those of its layers that ``store`` lacks.

    Every blob is in the store whole, or not at all; the manifest comes last. Raises NetworkError.
    """
    image = fetch_image(client, ref, platform)
    pull_layers(client.repository(ref), image.layers, store, progress)
    store.add(image.config)
    store.add(image.manifest)
    return image


def pull_layers(
    repository: Repository, layers: Iterable[Layer], store: Store, progress: Progress
) -> None:
    """Fetch those of ``layers`` that ``store`` lacks, hashed on the way; raise NetworkError."""
    missing = {layer.digest: layer for layer in layers if not store.has(layer.digest)}

    def fetch(layer: Layer, stop: threading.Event) -> None:
        title = layer.title or str(layer.digest)
        with (
            progress.step("pull", title, total=layer.size) as step,
            store.writer() as out,
        ):
            for chunk in stream_blob(repository, layer_descriptor(layer)):
                out.write(chunk)
                step.advance(len(chunk))
                check(stop)
            out.commit(layer.digest)

    each(largest_first(missing.values()), fetch)


def push(
    client: Client,
    image: Image,
    store: Store,
    ref: ImageRef,
    progress: Progress,
    *,
    sources: Iterable[ImageRef] = (),
    before_tag: Callable[[Repository, Digest | None], None] | None = None,
) -> Digest:
    """Bring ``image`` to ``ref``: blobs that are missing, the manifest by digest, the tag last.

    ``sources`` are images whose layers ``image`` may share: a layer that the store lacks is
    mounted or fetched from there. ``before_tag`` attaches evidence before the tag moves; it hears
    what the tag named until now. An image that is there already costs one request. Raises
    NetworkError, which is RefusedImageError for the manifest; LockError for a layer that is to be
    had nowhere.
    """
    check_digest(ref, image.digest)
    repository = client.repository(ref).for_writing()
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    before = repository.find(ref.tag) if ref.tag else None
    is_there = before == image.digest
    if not is_there and repository.find(image.digest) is None:
        origins = tuple(client.repository(source) for source in sources)
        BlobPush(repository, store, progress, origins).blobs(image)
        if before_tag is not None or not ref.tag:
            _put(repository, manifest, image.digest)
    if before_tag is not None:
        before_tag(repository, before)
    if ref.tag and not is_there:
        _put(repository, manifest, ref.tag)
    return image.digest


def check_digest(ref: ImageRef, digest: Digest) -> None:
    """Raise UsageError if ``ref`` names another digest than that of what is to be pushed."""
    if ref.digest not in {None, digest}:
        raise UsageError(f"this image is {digest}, so it cannot become {ref}")


def _put(repository: Repository, manifest: Manifest, reference: str | Digest) -> None:
    try:
        repository.put_manifest(manifest, reference)
    except InvalidError as error:
        raise RefusedImageError(error.message, hint=error.hint) from error


class BlobPush:
    """The blobs of one push: where they go, and from ``origins`` those that we lack."""

    def __init__(
        self,
        repository: Repository,
        store: Store,
        progress: Progress,
        origins: tuple[Repository, ...] = (),
    ) -> None:
        self._repository = repository
        self._store = store
        self._progress = progress
        self._origins = origins
        self._seen = SeenBlobs(store, repository)
        near = (other for other in origins if other.registry == repository.registry)
        self._mounts = tuple(other.name for other in near if other.name != repository.name)

    def layers(self, layers: Iterable[Layer]) -> None:
        """Bring those of ``layers`` there that are missing; raises NetworkError, LockError."""
        self._seen.remember(self._bring(layers))

    def blobs(self, image: Image) -> None:
        """Bring the layers and the config of ``image`` there; raises as :meth:`layers` does."""
        brought, config = self._bring(image.layers), Digest.of(image.config)
        if not self._is_mounted(config):
            put_bytes(self._repository, image.config, OCI_CONFIG)
        self._seen.remember([*brought, config])

    def _bring(self, layers: Iterable[Layer]) -> Collection[Digest]:
        distinct = {layer.digest: layer for layer in layers}
        missing: list[Layer] = []

        def ask(layer: Layer, stop: threading.Event) -> None:
            check(stop)
            if not self._is_there(layer):
                missing.append(layer)

        each(distinct.values(), ask, workers=ASKERS)
        each(largest_first(missing), self._send)
        return distinct.keys()

    def _is_there(self, layer: Layer) -> bool:
        """Return whether the repository has a layer, or takes it over from one that had it."""
        if not self._is_mounted(layer.digest) and not has_blob(self._repository, layer.digest):
            return False
        with self._step(layer) as step:
            step.advance(layer.size)
        return True

    def _is_mounted(self, digest: Digest) -> bool:
        names = self._seen.names(digest)
        return any(mounted(self._repository, digest, name) for name in names)

    def _send(self, layer: Layer, stop: threading.Event) -> None:
        with self._step(layer) as step:
            source = BlobSource(
                digest=layer.digest,
                size=layer.size,
                open=lambda: self._open(layer),
            )
            upload(self._repository, source, step=_Stoppable(step, stop), mount=self._mounts)

    def _step(self, layer: Layer) -> AbstractContextManager[Step]:
        title = layer.title or str(layer.digest)
        return self._progress.step("push", title, total=layer.size)

    def _open(self, layer: Layer) -> BinaryIO:
        """Open a layer's file, fetching it first where the store lacks it."""
        if not self._store.has(layer.digest):
            self._fetch(layer)
        return self._store.checked(layer.digest).open("rb")

    def _fetch(self, layer: Layer) -> None:
        for other in self._origins:
            if has_blob(other, layer.digest):
                pull_layers(other, [layer], self._store, self._progress)
                return
        raise LockError(
            f"layer {layer.digest} ({layer.title or 'untitled'}) is neither in the store "
            f"nor in {self._repository}",
            hint="build the image again, then push it",
        )


class _StoppedError(EnvbuilderError):
    """Another transfer failed, so this one was given up; nobody gets to see it."""


class _Stoppable:
    """A step that breaks off its transfer once ``stop`` is set."""

    def __init__(self, step: Step, stop: threading.Event) -> None:
        self._step = step
        self._stop = stop

    def advance(self, amount: int) -> None:
        check(self._stop)
        self._step.advance(amount)


def check(stop: threading.Event) -> None:
    """Raise an error that nobody gets to see if ``stop`` is set: another transfer failed."""
    if stop.is_set():
        raise _StoppedError("given up")


def largest_first(layers: Iterable[Layer]) -> list[Layer]:
    """Order transfers so that no large one is left alone at the end."""
    return sorted(layers, key=lambda layer: (-layer.size, layer.digest))


def each(
    items: Iterable[Item],
    work: Callable[[Item, threading.Event], None],
    *,
    workers: int = WORKERS,
) -> None:
    """Do ``work`` for all items, a few at a time; the first failure stops the others."""
    stop = threading.Event()
    with ThreadPoolExecutor(workers, thread_name_prefix="transfer") as pool:
        running = [pool.submit(work, item, stop) for item in items]
        try:
            for future in as_completed(running):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
