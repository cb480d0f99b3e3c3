"""Read the evidence beside an image, and keep what a trusted key has signed about that very image.

Anyone who may write to a repository may attach anything. So what is not signed by a trusted key, or
speaks of another image, is counted and left alone: it can neither help nor harm. What is read is
bounded; more than that is an error, since what was not read might say otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from msgspec import Struct, field

from envbuilder.model.codec import MisfitError, from_json
from envbuilder.model.errors import NetworkError
from envbuilder.model.reference import Digest
from envbuilder.net.messages import MissingError
from envbuilder.registry.manifests import MANIFEST_LIMIT, Descriptor, NoImageError
from envbuilder.registry.referrers import list_referrers
from envbuilder.registry.repository import Repository

from . import dsse
from .attach import (
    BUNDLE_NOTE,
    PREDICATE_NOTE,
    SIGNATURE_NOTE,
    SIGNING_TYPE,
    attestation_tag,
    may_be_bundle,
    signature_tag,
)
from .bundle import BUNDLE_TYPES, Document, parse_bundle
from .keyring import Keyring, Opened
from .statements import SIGNED, Statement, moment_of, parse_statement
from .tagged import DOCUMENT_LIMIT, Tagged, read_document

_MOST = 1024  # documents of the wanted kinds, most of which strangers may have attached
_TOTAL = 256 << 20  # bytes of all these
_MOST_REASONS = 3  # for which documents do not count, that are told


class _Subject(Struct, frozen=True):
    digest: str


class _Referrer(Struct, frozen=True, rename="camel"):
    """What a referrer's manifest says of itself."""

    subject: _Subject
    artifact_type: str


class _Named(Struct, frozen=True):
    digest: str = field(name="docker-manifest-digest")


class _Critical(Struct, frozen=True):
    image: _Named


class _Signing(Struct, frozen=True):
    """What cosign's simple signing signs."""

    critical: _Critical


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What those trusted state of an image; how many documents are not by them, or not about it.

    ``refusals`` say why some of the former do not count.
    """

    statements: tuple[Statement, ...] = ()
    by_others: int = 0
    about_others: int = 0
    refusals: tuple[str, ...] = ()

    def by_type(self, predicate_type: str) -> tuple[Statement, ...]:
        """Return the statements of one predicate type, the newest by its signed moment last.

        One without a moment is the oldest; of two with the same, one that did not pass is newer. Of
        one that was stamped several times the first stamp tells: anyone can have it stamped again.
        """
        found: dict[bytes, Statement] = {}
        for each in sorted(self.statements, key=_age, reverse=True):
            if each.predicate_type == predicate_type:
                found[each.payload("")] = each
        return tuple(sorted(found.values(), key=_age))

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(
            statements=(*self.statements, *other.statements),
            by_others=self.by_others + other.by_others,
            about_others=self.about_others + other.about_others,
            refusals=(*self.refusals, *other.refusals)[:_MOST_REASONS],
        )


def _age(statement: Statement) -> tuple[bool, float, bool]:
    moment = moment_of(statement)
    passed = statement.predicate.get("result") == "PASSED"
    return moment is not None, moment.timestamp() if moment else 0.0, not passed


def read_evidence(
    repository: Repository, image: Digest, keyring: Keyring, wanted: Collection[str]
) -> Evidence:
    """Read the statements on ``image`` of the ``wanted`` predicate types, in either form.

    Both are always looked at: the newer of two results may stand in the other. Raises NetworkError.
    """
    there = Tagged(repository, attestation_tag(image))
    tagged = read_tagged(repository, image, keyring, wanted, there)
    return tagged + read_bundled(
        repository, image, keyring, wanted, list_referrers(repository, image)
    )


def read_tagged(
    repository: Repository,
    image: Digest,
    keyring: Keyring,
    wanted: Collection[str],
    there: Tagged,
) -> Evidence:
    """Read the attestations ``there``, under their tag; as :func:`read_evidence`."""
    fitting = [
        layer
        for layer in there.layers
        if layer.annotations.get(PREDICATE_NOTE) in wanted
        and layer.media_type == dsse.ENVELOPE_TYPE
        and layer.size <= DOCUMENT_LIMIT
    ]
    _bound(repository, image, fitting)
    found = (there.document(layer) for layer in fitting)
    envelopes = (None if each is None else Document(envelope=each) for each in found)
    return _opened(envelopes, image, keyring, wanted)


def read_bundled(
    repository: Repository,
    image: Digest,
    keyring: Keyring,
    wanted: Collection[str],
    referrers: Iterable[Descriptor],
) -> Evidence:
    """Read the bundles among the ``referrers`` of ``image``; as :func:`read_evidence`."""
    fitting = [
        referrer
        for referrer in referrers
        if may_be_bundle(referrer)
        and referrer.annotations.get(BUNDLE_NOTE) in {None, *wanted}
        and referrer.size <= MANIFEST_LIMIT
    ]
    _bound(repository, image, fitting)
    bundles = (each for referrer in fitting for each in _bundles(repository, referrer, image))
    documents = (None if each is None else parse_bundle(each) for each in bundles)
    return _opened(documents, image, keyring, wanted)


def _bound(repository: Repository, image: Digest, documents: Sequence[Descriptor]) -> None:
    if len(documents) > _MOST or sum(each.size for each in documents) > _TOTAL:
        raise NetworkError(
            f"{repository} has {len(documents)} documents of the wanted kind about {image}, "
            f"more than are read ({_MOST}, and {_TOTAL >> 20} MiB)",
            hint="have the registry's owner remove what strangers attached",
        )


def _opened(
    documents: Iterable[Document | None], image: Digest, keyring: Keyring, wanted: Collection[str]
) -> Evidence:
    """Sort documents by whose they are and what they are about; None is a stranger's junk."""
    found = Evidence()
    for document in documents:
        if document is not None:
            found += _sorted_in(keyring, document, image, wanted)
    return found


def _sorted_in(
    keyring: Keyring, document: Document, image: Digest, wanted: Collection[str]
) -> Evidence:
    opened = keyring.open(document)
    if not isinstance(opened, Opened):
        return Evidence(by_others=1, refusals=(opened.why,) if opened.why else ())
    statement = parse_statement(opened.payload, image)
    if statement is None:
        return Evidence(about_others=1)
    if statement.predicate_type not in wanted:
        return Evidence()
    stated = replace(statement, since=opened.since)
    if any(each.holds(moment_of(stated)) for each in opened.signers):
        return Evidence(statements=(stated,))
    return Evidence(by_others=1)  # by a key that no longer counted


def is_signed(repository: Repository, image: Digest, keyring: Keyring) -> bool:
    """Return whether a trusted key has signed ``image`` as ``cosign sign`` does, in either form."""
    if is_signed_under(repository, image, keyring, Tagged(repository, signature_tag(image))):
        return True
    referrers = list_referrers(repository, image)
    return bool(read_bundled(repository, image, keyring, {SIGNED}, referrers).statements)


def is_signed_under(repository: Repository, image: Digest, keyring: Keyring, there: Tagged) -> bool:
    """Return whether a trusted key has signed ``image`` in what stands ``there``, under a tag."""
    layers = [
        layer
        for layer in there.layers
        if layer.media_type == SIGNING_TYPE and layer.size <= DOCUMENT_LIMIT
    ]
    _bound(repository, image, layers)
    for layer in layers:
        payload = there.document(layer)
        signature = layer.annotations.get(SIGNATURE_NOTE, "")
        if payload is not None and keyring.signed(payload, signature) and _names(payload, image):
            return True
    return False


def _bundles(repository: Repository, referrer: Descriptor, image: Digest) -> Iterator[bytes | None]:
    """Fetch the bundles in a referrer of ``image``; the listing's own words are not trusted."""
    with suppress(MissingError, NoImageError, MisfitError):  # deleted, or a stranger's junk
        manifest = repository.manifest(referrer.digest)
        says = from_json(manifest.body, _Referrer)
        if says.subject.digest == str(image) and says.artifact_type in BUNDLE_TYPES:
            first = next(
                (each for each in manifest.layers if each.media_type in BUNDLE_TYPES), None
            )
            if first is not None:
                yield read_document(repository, first)


def _names(payload: bytes, image: Digest) -> bool:
    """Return whether what our key signed is a signature of ``image``: it signs other things too."""
    try:
        return from_json(payload, _Signing).critical.image.digest == str(image)
    except MisfitError:
        return False
