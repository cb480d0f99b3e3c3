"""Put signed evidence beside an image in its registry, where stock ``cosign`` finds it.

Two styles: tags ``sha256-HEX.att`` and ``.sig``, which every cosign and every registry knows; and
Sigstore bundles as referrers, which newer ones prefer (cosign 3 then ignores the tags).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envbuilder.model.image import OCI_MANIFEST, canonical_json
from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import EMPTY, EMPTY_TYPE, Descriptor, Manifest
from envbuilder.registry.referrers import Listing, attach_referrers
from envbuilder.registry.repository import Repository
from envbuilder.registry.uploads import put_bytes

from . import dsse
from .bundle import BUNDLE_TYPE, BUNDLE_TYPES
from .keys import PrivateKey
from .signers import Signer
from .statements import Statement
from .tagged import Tagged

BUNDLE_NOTE = "dev.sigstore.bundle.predicateType"
SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_NOTE = "dev.cosignproject.cosign/signature"
PREDICATE_NOTE = "predicateType"


def may_be_bundle(referrer: Descriptor) -> bool:
    """Return whether a listing's entry may be a bundle; cosign lists its own by their config."""
    return referrer.artifact_type in {"", EMPTY_TYPE, *BUNDLE_TYPES}


def has_bundles(referrers: Iterable[Descriptor]) -> bool:
    """Return whether a listing may have bundles."""
    return any(map(may_be_bundle, referrers))


def attestation_tag(image: Digest) -> str:
    """Name the tag that holds the attestations of ``image``."""
    return f"sha256-{image.hex}.att"


def signature_tag(image: Digest) -> str:
    """Name the tag that holds the signatures of ``image``."""
    return f"sha256-{image.hex}.sig"


def attach(
    repository: Repository,
    image: Digest,
    statements: Sequence[Statement],
    key: PrivateKey,
    *,
    there: Tagged | None = None,
) -> Digest:
    """Sign ``statements`` and write them in one go beside what others have attached.

    What the same key stated earlier, by the same predicate, is replaced. ``there`` is what was read
    of the tag; returns the digest of what stands under it now.
    """
    there = there or Tagged(repository, attestation_tag(image))
    mine, public = {statement.predicate_type for statement in statements}, key.public_key()
    kept = [
        layer
        for layer in there.layers
        if layer.annotations.get(PREDICATE_NOTE) not in mine
        or dsse.opened(there.document(layer) or b"", public) is None
    ]
    new = [
        put_bytes(
            repository,
            dsse.sign(statement.payload(repository.name), key),
            dsse.ENVELOPE_TYPE,
            {SIGNATURE_NOTE: "", PREDICATE_NOTE: statement.predicate_type},
            new=True,
        )
        for statement in statements
    ]
    return there.put([*kept, *new])


def sign(
    repository: Repository, image: Digest, key: PrivateKey, *, there: Tagged | None = None
) -> Digest:
    """Sign ``image`` as ``cosign sign`` does: a small document that names its digest.

    ``there`` and what is returned are as of :func:`attach`.
    """
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
    there = there or Tagged(repository, signature_tag(image))
    same, public = Digest.of(payload), key.public_key()
    kept = [
        layer
        for layer in there.layers
        if layer.digest != same
        or not dsse.is_signed(payload, layer.annotations.get(SIGNATURE_NOTE, ""), public)
    ]
    notes = {SIGNATURE_NOTE: dsse.sign_bytes(payload, key)}
    return there.put([*kept, put_bytes(repository, payload, SIGNING_TYPE, notes, new=True)])


def attach_bundles(
    repository: Repository,
    image: Manifest,
    statements: Iterable[Statement],
    signer: Signer,
    *,
    has_api: bool = True,
) -> Listing:
    """Have ``statements`` signed, and attach each to ``image`` as a Sigstore bundle.

    Without ``has_api`` the registry is known to list no referrers. Returns the entries of these.
    """
    subject = Descriptor(media_type=image.media_type, digest=image.digest, size=len(image.body))
    empty = put_bytes(repository, EMPTY, EMPTY_TYPE)

    def referrer(statement: Statement) -> Manifest:
        bundle = signer.bundle(statement.payload(repository.name))
        content = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": BUNDLE_TYPE,
            "config": empty.to_json(),
            "layers": [put_bytes(repository, bundle, BUNDLE_TYPE, new=True).to_json()],
            "subject": subject.to_json(),
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                BUNDLE_NOTE: statement.predicate_type,
            },
        }
        return Manifest(body=canonical_json(content), media_type=OCI_MANIFEST)

    manifests = [referrer(statement) for statement in statements]
    return attach_referrers(repository, image.digest, manifests, has_api=has_api)
