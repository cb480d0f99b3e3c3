"""Sealed lock and store -> an image in a registry, with evidence beside it."""

from __future__ import annotations

from dataclasses import dataclass

from .engines.reuse import held_in, reusable
from .errors import LockError, UsageError
from .evidence.attach import attach, attach_bundles, attestation_tag, sign
from .evidence.keys import PrivateKey, read_private
from .evidence.statements import Statement, provenance, test_result
from .image import Image, parse_image
from .keep import recall_report
from .layers.store import Store
from .ledger import now
from .lock import ImageBase, Lock, Seal
from .pipeline import Options, make_image
from .progress import Progress
from .reference import Digest, ImageRef
from .registry.client import Client
from .registry.manifests import Manifest
from .registry.repository import Repository
from .registry.transfer import push


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """With which key evidence is signed; ``bundles`` for Sigstore bundles instead of tags."""

    key: PrivateKey
    bundles: bool = False


def signing_with(key: str | None, *, bundles: bool = False) -> Signing | None:
    """Read the private key that ``key`` names; None means that nothing is to be signed.

    Raises UsageError for a key that cannot be read, or for ``bundles`` without one.
    """
    if key is not None:
        return Signing(key=read_private(key), bundles=bundles)
    if bundles:
        raise UsageError("bundles are signed evidence", hint="add --key KEY to sign it")
    return None


def publish(
    client: Client,
    lock: Lock,
    ref: ImageRef,
    *,
    store: Store,
    progress: Progress,
    signing: Signing | None = None,
) -> Digest:
    """Push the image of a sealed ``lock`` to ``ref``, evidence first and the tag last.

    An image that is there already costs one request, and a second one to see that its evidence is
    there. With an empty store, only layers that the registry lacks are made. Raises LockError for
    a lock that was never built or builds to something else, NetworkError.
    """
    seal = lock.seal
    if seal is None:
        raise LockError(
            f"the lock of {lock.spec.name} has no seal: it was never built",
            hint=f"envbuilder build {lock.spec.name}",
        )
    repository = client.repository(ref)
    image = sealed_image(lock, seal, repository, store=store, progress=progress)
    done = False

    def attach_evidence(repository: Repository) -> None:
        nonlocal done
        done = True
        if signing is not None:
            statements = evidence(lock, seal, store=store, progress=progress)
            _attach(repository, image, statements, signing)

    push(client, image, store, ref, progress, sources=_sources(lock), before_tag=attach_evidence)
    if signing is not None and not done and not _has_evidence(repository, image, signing):
        attach_evidence(repository)
    return image.digest


def sealed_image(
    lock: Lock, seal: Seal, repository: Repository, *, store: Store, progress: Progress
) -> Image:
    """Take the sealed image from the store, or make what neither store nor ``repository`` has.

    Raises LockError where what was made is not the sealed image, and what building raises.
    """
    if store.has(seal.manifest) and store.has(seal.config):
        return parse_image(store.read(seal.manifest), store.read(seal.config))
    held = held_in(repository, reusable(lock, lock))
    options = Options(locked=True)
    image = make_image(lock, store=store, progress=progress, options=options, held=held)
    if image.digest != seal.manifest:
        raise LockError(
            f"building {lock.spec.name} gave {image.digest}, not the sealed {seal.manifest}",
            hint=f"envbuilder build {lock.spec.name} says what differs",
        )
    return image


def evidence(lock: Lock, seal: Seal, *, store: Store, progress: Progress) -> list[Statement]:
    """Make the statements on the sealed image; the smoke report's only where there is one."""
    from .evidence.sbom import sbom  # noqa: PLC0415 (the library takes 0.1 s to load)

    moment = now()
    image = seal.manifest
    statements = [
        provenance(lock, image, engine=seal.engine, finished=moment),
        sbom(lock, image, finished=moment),
    ]
    kept = recall_report(store, image)
    if kept is None:
        progress.note("warning: this image was not smoked here, so there is no test result to sign")
    else:
        report, finished = kept
        statements.append(test_result(lock, image, report, finished=finished))
    return statements


def _attach(
    repository: Repository, image: Image, statements: list[Statement], signing: Signing
) -> None:
    if signing.bundles:
        manifest = Manifest(body=image.manifest, media_type=image.media_type)
        attach_bundles(repository, manifest, statements, signing.key)
    else:
        attach(repository, image.digest, statements, signing.key)
        sign(repository, image.digest, signing.key)


def _has_evidence(repository: Repository, image: Image, signing: Signing) -> bool:
    """Look for evidence, whoever's; bundles are told apart only by reading them, so never again."""
    return signing.bundles or repository.find(attestation_tag(image.digest)) is not None


def _sources(lock: Lock) -> tuple[ImageRef, ...]:
    """Name where the base's layers are, which the store may lack."""
    if not isinstance(lock.base, ImageBase):
        return ()
    return (ImageRef.parse(lock.base.reference).at(lock.base.digest),)
