"""Put signed evidence beside an image in its registry, where stock ``cosign`` finds it.

Two styles: tags ``sha256-HEX.att`` and ``.sig``, which every cosign and every registry knows; and
Sigstore bundles as referrers, which newer ones prefer (cosign 3 then ignores the tags).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envbuilder.model.image import OCI_CONFIG, OCI_MANIFEST, canonical_json
from envbuilder.model.reference import Digest
from envbuilder.net.messages import MissingError
from envbuilder.registry.blobs import read_blob
from envbuilder.registry.manifests import EMPTY, EMPTY_TYPE, Descriptor, Manifest, NoImageError
from envbuilder.registry.referrers import attach_referrer
from envbuilder.registry.repository import ForbiddenError, Repository
from envbuilder.registry.uploads import put_bytes

from . import dsse
from .bundle import BUNDLE_TYPE, BUNDLE_TYPES
from .keys import PrivateKey, PublicKey
from .signers import Signer
from .statements import Statement

BUNDLE_NOTE = "dev.sigstore.bundle.predicateType"
SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_NOTE = "dev.cosignproject.cosign/signature"
PREDICATE_NOTE = "predicateType"
DOCUMENT_LIMIT = 16 << 20  # bytes of one envelope, of which a bill of materials is the largest


def may_be_bundle(referrer: Descriptor) -> bool:
    """Return whether a listing's entry may be a bundle; cosign lists its own by their config."""
    return referrer.artifact_type in {"", EMPTY_TYPE, *BUNDLE_TYPES}


def attestation_tag(image: Digest) -> str:
    """Name the tag that holds the attestations of ``image``."""
    return f"sha256-{image.hex}.att"


def signature_tag(image: Digest) -> str:
    """Name the tag that holds the signatures of ``image``."""
    return f"sha256-{image.hex}.sig"


def attach(
    repository: Repository, image: Digest, statements: Sequence[Statement], key: PrivateKey
) -> None:
    """Sign ``statements`` and write them in one go beside what others have attached.

    What the same key stated earlier, by the same predicate, is replaced.
    """
    mine = {statement.predicate_type for statement in statements}
    kept = [
        layer
        for layer in tagged_layers(repository, attestation_tag(image))
        if layer.annotations.get(PREDICATE_NOTE) not in mine
        or not _is_ours(repository, layer, key.public_key())
    ]
    new = [
        put_bytes(
            repository,
            dsse.sign(statement.payload(repository.name), key),
            dsse.ENVELOPE_TYPE,
            {SIGNATURE_NOTE: "", PREDICATE_NOTE: statement.predicate_type},
        )
        for statement in statements
    ]
    _put_tagged(repository, attestation_tag(image), [*kept, *new])


def sign(repository: Repository, image: Digest, key: PrivateKey) -> None:
    """Sign ``image`` as ``cosign sign`` does: a small document that names its digest."""
    payload = canonical_json(
        {
            "critical": {
                "identity": {"docker-reference": str(repository)},
                "image": {"docker-manifest-digest": str(image)},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )
    tag = signature_tag(image)
    same = Digest.of(payload)
    kept = [
        layer
        for layer in tagged_layers(repository, tag)
        if layer.digest != same
        or not dsse.is_signed(payload, layer.annotations.get(SIGNATURE_NOTE, ""), key.public_key())
    ]
    notes = {SIGNATURE_NOTE: dsse.sign_bytes(payload, key)}
    _put_tagged(repository, tag, [*kept, put_bytes(repository, payload, SIGNING_TYPE, notes)])


def attach_bundles(
    repository: Repository, image: Manifest, statements: Iterable[Statement], signer: Signer
) -> None:
    """Have ``statements`` signed, and attach each to ``image`` as a Sigstore bundle."""
    subject = Descriptor(media_type=image.media_type, digest=image.digest, size=len(image.body))
    for statement in statements:
        bundle = signer.bundle(statement.payload(repository.name))
        layer = put_bytes(repository, bundle, BUNDLE_TYPE)
        content = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": BUNDLE_TYPE,
            "config": put_bytes(repository, EMPTY, EMPTY_TYPE).to_json(),
            "layers": [layer.to_json()],
            "subject": subject.to_json(),
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                BUNDLE_NOTE: statement.predicate_type,
            },
        }
        manifest = Manifest(body=canonical_json(content), media_type=OCI_MANIFEST)
        attach_referrer(repository, image.digest, manifest)


def tagged_layers(repository: Repository, tag: str) -> tuple[Descriptor, ...]:
    """List the documents under a ``.att`` or ``.sig`` tag; none in what a stranger put there."""
    try:
        manifest = repository.manifest(tag)
        return () if manifest.is_index else manifest.layers
    except (MissingError, ForbiddenError, NoImageError):
        return ()


def _is_ours(repository: Repository, layer: Descriptor, key: PublicKey) -> bool:
    """Return whether ``key`` signed a document; what cannot be had is not ours to replace."""
    try:
        return dsse.opened(read_blob(repository, layer, limit=DOCUMENT_LIMIT), key) is not None
    except MissingError:
        return False


def _put_tagged(repository: Repository, tag: str, layers: Sequence[Descriptor]) -> None:
    """Write the manifest that cosign expects: an image whose layers are the documents."""
    moment = "0001-01-01T00:00:00Z"  # what cosign writes where no time is meant
    config = canonical_json(
        {
            "architecture": "",
            "config": {},
            "created": moment,
            "history": [{"created": moment} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
        }
    )
    content = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": put_bytes(repository, config, OCI_CONFIG).to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    repository.put_manifest(Manifest(body=canonical_json(content), media_type=OCI_MANIFEST), tag)
