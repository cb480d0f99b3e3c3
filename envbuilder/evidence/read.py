"""Read the evidence beside an image, and keep what one key has signed about that very image.

Anyone who may write to a repository may attach anything. So what is not signed by the asked key, or
speaks of another image, is counted and left alone: it can neither help nor harm.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from envbuilder.model.errors import NetworkError
from envbuilder.model.image import canonical_json
from envbuilder.model.reference import Digest
from envbuilder.net.messages import MissingError
from envbuilder.registry.blobs import read_blob
from envbuilder.registry.manifests import Descriptor
from envbuilder.registry.referrers import list_referrers
from envbuilder.registry.repository import Repository

from . import dsse
from .attach import (
    BUNDLE_TYPE,
    DOCUMENT_LIMIT,
    PREDICATE_NOTE,
    SIGNATURE_NOTE,
    attestation_tag,
    signature_tag,
    tagged_layers,
)
from .keys import PublicKey
from .statements import Statement, parse_statement

_MOST = 64  # documents that are read of what strangers may have attached


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a key states of an image; and how many documents are not by it, or not about it."""

    statements: tuple[Statement, ...]
    by_others: int = 0
    about_others: int = 0

    def by_type(self, predicate_type: str) -> tuple[Statement, ...]:
        """Return the statements of one predicate type, the newest last."""
        return tuple(each for each in self.statements if each.predicate_type == predicate_type)


def read_evidence(
    repository: Repository, image: Digest, key: PublicKey, wanted: Collection[str]
) -> Evidence:
    """Read the statements on ``image`` of the ``wanted`` predicate types that ``key`` has signed.

    Bundles are looked at only where the tags do not give all types. Raises NetworkError.
    """
    tagged = read_tagged(repository, image, key, wanted)
    if set(wanted) <= {statement.predicate_type for statement in tagged.statements}:
        return tagged
    bundled = read_bundled(repository, image, key)
    return Evidence(
        statements=(*tagged.statements, *bundled.statements),
        by_others=tagged.by_others + bundled.by_others,
        about_others=tagged.about_others + bundled.about_others,
    )


def read_tagged(
    repository: Repository, image: Digest, key: PublicKey, wanted: Collection[str]
) -> Evidence:
    """Read what stands under the attestation tag; as :func:`read_evidence`."""
    layers = tagged_layers(repository, attestation_tag(image))[:_MOST]
    fitting = (layer for layer in layers if layer.annotations.get(PREDICATE_NOTE) in wanted)
    return _opened((_document(repository, layer) for layer in fitting), image, key)


def read_bundled(repository: Repository, image: Digest, key: PublicKey) -> Evidence:
    """Read what stands in bundles that refer to ``image``, of every type. Raises NetworkError."""
    referrers = list_referrers(repository, image)[:_MOST]
    bundles = (each for referrer in referrers for each in _bundles(repository, referrer, image))
    return _opened(map(_unwrapped, bundles), image, key)


def _opened(envelopes: Iterable[bytes | None], image: Digest, key: PublicKey) -> Evidence:
    """Sort envelopes by whose they are and what they are about; None is a stranger's junk."""
    found: list[Statement] = []
    by_others = about_others = 0
    for envelope in envelopes:
        if envelope is None:
            continue
        payload = dsse.opened(envelope, key)
        statement = None if payload is None else parse_statement(payload, image)
        if statement is not None:
            found.append(statement)
        elif payload is None:
            by_others += 1
        else:
            about_others += 1
    return Evidence(statements=tuple(found), by_others=by_others, about_others=about_others)


def is_signed(repository: Repository, image: Digest, key: PublicKey) -> bool:
    """Return whether ``key`` has signed ``image`` as ``cosign sign`` does."""
    for layer in tagged_layers(repository, signature_tag(image))[:_MOST]:
        payload = _document(repository, layer)
        signature = layer.annotations.get(SIGNATURE_NOTE, "")
        if (
            payload is not None
            and dsse.is_signed(payload, signature, key)
            and _names(payload, image)
        ):
            return True
    return False


def _document(repository: Repository, layer: Descriptor) -> bytes | None:
    """Fetch a document, if it is there and not longer than any of ours can be."""
    if layer.size > DOCUMENT_LIMIT:
        return None
    try:
        return read_blob(repository, layer, limit=DOCUMENT_LIMIT)
    except MissingError:  # listed still, but deleted: as good as never attached
        return None


def _bundles(repository: Repository, referrer: Descriptor, image: Digest) -> Iterator[bytes | None]:
    """Fetch the bundles in a referrer of ``image``; the listing's own words are not trusted."""
    try:
        manifest = repository.manifest(referrer.digest)
    except MissingError:  # as above
        return
    subject = manifest.content.get("subject")
    named = subject.get("digest") if isinstance(subject, dict) else None
    if named == str(image) and manifest.content.get("artifactType") == BUNDLE_TYPE:
        fitting = (layer for layer in manifest.layers if layer.media_type == BUNDLE_TYPE)
        yield from (_document(repository, layer) for layer in fitting)


def _unwrapped(bundle: bytes | None) -> bytes | None:
    """Return the envelope in a Sigstore bundle; None in a stranger's document that is none."""
    if bundle is None:
        return None
    try:
        return canonical_json(json.loads(bundle)["dsseEnvelope"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _names(payload: bytes, image: Digest) -> bool:
    try:
        named = json.loads(payload)["critical"]["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise NetworkError(f"a signature of {image} by this key is damaged") from error
    return bool(named == str(image))
