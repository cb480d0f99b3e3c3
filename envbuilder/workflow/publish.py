"""Sealed lock and store -> an image in a registry, with evidence beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envbuilder.evidence.statements import result_of
from envbuilder.model.errors import LockError, NetworkError
from envbuilder.model.image import OCI_LAYER_ZSTD, Image, parse_image
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Form, Seal
from envbuilder.model.spec_words import Compression
from envbuilder.registry.images import read_image
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.repository import Repository
from envbuilder.registry.transfer import RefusedImageError, check_digest, push
from envbuilder.resolve.context import Context
from envbuilder.storage.build_records import recall_report
from envbuilder.storage.store import Store

from .forms import chosen_compression, in_form, is_sealed_form

if TYPE_CHECKING:
    from envbuilder.evidence.signers import Signing


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a push left: the image by ``digest``, and the names of the evidence by our key.

    ``form`` is the one that it was pushed in, if that is not the sealed image's own. ``image`` is
    what lies there now, None for an index.
    """

    digest: Digest
    image: Image | None = None
    evidence: tuple[str, ...] = ()
    form: Form | None = None


def publish(
    context: Context,
    lock: Lock,
    ref: ImageRef,
    *,
    signing: Signing | None = None,
    built: str | None = None,
    compression: Compression | None = None,
) -> Published:
    """Push the image of a sealed ``lock`` to ``ref``, evidence first and the tag last.

    Its layers travel in ``compression``, or else as the spec says.
    An image that is there already costs one request, and one more if its evidence was there less
    than a day ago. One in a form that the seal lists is not made again where the store has it, or
    the registry: that costs three more. With an empty store, only layers that the registry lacks
    are made. ``built`` is when the ledger says that it
    was (RFC 3339). Raises LockError for a lock that was never built or builds
    to something else, NetworkError.
    """
    seal = lock.seal
    if seal is None:
        raise LockError(
            f"the lock of {lock.spec.name} has no seal: it was never built",
            hint=f"envbuilder build {lock.spec.name}",
        )
    repository = context.registries.repository(ref).for_writing()
    chosen = chosen_compression(lock.spec, compression)
    image, form = _listed(context.store, repository, seal, chosen) or _made(
        context, lock, seal, repository, chosen
    )
    named: tuple[str, ...] = ()

    def attach_evidence(repository: Repository, before: Digest | None) -> None:
        nonlocal named
        if signing is not None:
            # What signs takes a tenth of a second to load, and not every push does.
            from .signing import attach_evidence as attach  # noqa: PLC0415

            named = attach(
                context, lock, seal, repository, image, signing=signing, before=before, built=built
            )

    _warn(context, seal.manifest, signed=signing is not None)
    with _explained(form):
        push(
            context.registries, image, context.store, ref, context.progress,
            sources=_sources(context, lock),
            before_tag=None if signing is None else attach_evidence,
        )  # fmt: skip
    return Published(digest=image.digest, image=image, evidence=named, form=form)


def publish_index(
    context: Context,
    index: Manifest,
    ref: ImageRef,
    *,
    signing: Signing | None = None,
) -> Published:
    """Push an ``index`` whose images are there to ``ref``: signed first, and the tag last.

    Raises UsageError if ``ref`` names another digest, and NetworkError.
    """
    check_digest(ref, index.digest)
    repository = context.registries.repository(ref).for_writing()
    before = repository.find(ref.tag) if ref.tag else None
    is_there = before == index.digest
    if not is_there and (signing is not None or not ref.tag):
        repository.put_manifest(index, index.digest)
    named: tuple[str, ...] = ()
    if signing is not None:
        from .signing import attach_signature  # noqa: PLC0415 (as above)

        named = attach_signature(context, repository, index, signing, before=before)
    if ref.tag and not is_there:
        repository.put_manifest(index, ref.tag)
    return Published(digest=index.digest, evidence=named)


def _listed(
    store: Store, repository: Repository, seal: Seal, compression: Compression
) -> tuple[Image, Form] | None:
    """Read the image in a form that ``seal`` lists, from ``store`` or where the registry has it."""
    form = seal.form(compression)
    if form is None:
        return None
    held = (form.manifest, seal.config, *(layer.digest for layer in form.layers))
    if all(store.has(digest) for digest in held):
        return parse_image(store.read(form.manifest), store.read(seal.config)), form
    if repository.find(form.manifest) is None:
        return None
    return read_image(repository, repository.manifest(form.manifest)), form


def _made(
    context: Context, lock: Lock, seal: Seal, repository: Repository, compression: Compression
) -> tuple[Image, Form | None]:
    """Take the image in ``compression`` from the store, or make it; raises as its makers do."""
    there = repository if is_sealed_form(compression) else None
    return in_form(context, lock, sealed_image(context, lock, seal, there), compression)


@contextmanager
def _explained(form: Form | None) -> Iterator[None]:
    """Say what may be wrong where a registry refuses a manifest with layers in another form."""
    try:
        yield
    except RefusedImageError as error:
        if form is None:
            raise
        raise NetworkError(
            error.message,
            hint=f"a registry that takes no {OCI_LAYER_ZSTD} needs --compression gzip",
        ) from error


def _warn(context: Context, image: Digest, *, signed: bool) -> None:
    """Say that the image was last found bad: a tag that moves to it should surprise nobody."""
    kept = recall_report(context.store, image)
    if kept is not None and result_of(kept[0]) == "FAILED":
        says = "the signed test-result says so" if signed else "add --key KEY to have that signed"
        context.progress.note(
            f"warning: the last smoke test of this image FAILED, on {kept[1]}: {says}"
        )


def sealed_image(context: Context, lock: Lock, seal: Seal, repository: Repository | None) -> Image:
    """Take the sealed image from the store, or make what neither store nor ``repository`` has.

    Without a repository all layers are made that the store lacks. Raises LockError if what was made
    is not the sealed image, and what building raises.
    """
    store = context.store
    if store.has(seal.manifest) and store.has(seal.config):
        return parse_image(store.read(seal.manifest), store.read(seal.config))
    # All that builds takes half a second to load, and a push of what is built needs none of it.
    from envbuilder.engines.reuse import held_in, reusable  # noqa: PLC0415

    from .make import make_image  # noqa: PLC0415

    held = None if repository is None else held_in(repository, reusable(lock, lock))
    image = make_image(context, lock, held=held)
    if image.digest != seal.manifest:
        raise LockError(
            f"building {lock.spec.name} gave {image.digest}, not the sealed {seal.manifest}",
            hint=f"envbuilder build {lock.spec.name} says what differs",
        )
    return image


def _sources(context: Context, lock: Lock) -> Iterator[ImageRef]:
    """Name where layers are that the store may lack: the base's, and those that a team shares."""
    if isinstance(lock.base, ImageBase):
        yield ImageRef.parse(lock.base.reference).at(lock.base.digest)
    if context.remote is not None:
        yield context.remote.place
