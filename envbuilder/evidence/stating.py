"""State on an image what its signer has not stated there yet, in the form that is kept there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from envbuilder.model.progress import Progress
from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.referrers import Listing, fallback_tag, list_referrers, read_referrers
from envbuilder.registry.repository import Repository

from .attach import (
    attach,
    attach_bundles,
    attestation_tag,
    has_bundles,
    may_be_bundle,
    sign,
    signature_tag,
)
from .keyring import Keyring
from .read import Evidence, is_signed_under, read_bundled, read_tagged
from .signers import KeySigner, Signing
from .standing import Form, Places, Standing, Standings, Tag
from .statements import NAMES, SIGNED, TEST_RESULT, Statement, claimed_moment, finished_on
from .tagged import Tagged


@dataclass(frozen=True, slots=True, kw_only=True)
class Stating:
    """The evidence on the image with manifest ``image`` by whoever is ``signing``.

    ``before`` is the image that the tag named, if any: the form of evidence that it has is kept.
    ``standings`` are what is remembered of the repository.
    """

    repository: Repository
    image: Manifest
    signing: Signing
    standings: Standings
    progress: Progress
    before: Digest | None = None

    def stands(self, result: Statement | None) -> bool:
        """Return whether all that we would state is there: by memory, and by one request.

        ``result`` is the test result that we would state. Raises NetworkError.
        """
        for form in self._forms():
            known = self.standings.find(self.image.digest, self.signing.signer.name, form)
            if known is not None and _payload(result) in {None, known.result}:
                return self.standings.still(known)
        return False

    def attach(self, statements: Sequence[Statement]) -> None:
        """Attach what of ``statements`` is not there yet, and a signature; remember where.

        Raises NetworkError.
        """
        looked, signer = time.time(), self.signing.signer
        there = _There.read(self.repository, self.image.digest, signer.keyring)
        bundles = not isinstance(signer, KeySigner) or self._keeps_bundles(there.listing)
        held = there.bundled if bundles else there.tagged
        unheld = _unheld(statements, held)
        newest = (there.tagged + there.bundled).by_type(TEST_RESULT)[-1:]
        news = [each for each in unheld if not _is_outdated(each, newest, self.progress)]
        if isinstance(signer, KeySigner) and not bundles:
            places = self._tag(signer, news, there.under)
        else:
            places = self._bundle(news, there)
        if isinstance(signer, KeySigner) and news == unheld:  # what is left out is to be told again
            form: Form = "stamped" if signer.stamps else "bundles" if bundles else "tags"
            result = next((e for e in statements if e.predicate_type == TEST_RESULT), None)
            self.standings.keep(
                Standing(
                    image=self.image.digest, signer=signer.name, form=form, looked=looked,
                    result=_payload(result), places=places,
                )
            )  # fmt: skip

    def _forms(self) -> tuple[Form, ...]:
        """Name the forms in which all may stand; none if that takes more than a memory to say."""
        signer, bundles = self.signing.signer, self.signing.bundles
        if not isinstance(signer, KeySigner):
            return ()
        if signer.stamps is not None:
            return ("stamped",)
        if bundles is None:
            return () if self._elsewhere else ("bundles", "tags")
        return ("bundles",) if bundles else ("tags",)

    @property
    def _elsewhere(self) -> Digest | None:
        """The image that the tag named, if that is another one."""
        return self.before if self.before != self.image.digest else None

    def _keeps_bundles(self, listing: Listing) -> bool:
        """Decide between bundles and tags: as asked for, or as the evidence that is there."""
        if self.signing.bundles is not None:
            return self.signing.bundles
        return has_bundles(listing.entries) or (
            self._elsewhere is not None
            and has_bundles(list_referrers(self.repository, self._elsewhere))
        )

    def _tag(self, signer: KeySigner, news: Sequence[Statement], under: Tagged) -> Places:
        """Have ``news`` stand ``under`` the attestation tag, and a signature under its own."""
        image, attested = self.image.digest, under.digest
        if news:
            attested = attach(self.repository, image, news, signer.key, there=under)
        beside = Tagged(self.repository, signature_tag(image))
        signed = beside.digest
        if not is_signed_under(self.repository, image, signer.keyring, beside):
            signed = sign(self.repository, image, signer.key, there=beside)
        left = ((under.tag, attested), (beside.tag, signed))
        return Places(
            tags=tuple(Tag(name=name, digest=digest) for name, digest in left if digest is not None)
        )

    def _bundle(self, news: Sequence[Statement], there: _There) -> Places:
        """Have ``news`` stand in bundles, and a signature beside them."""
        listing, image = there.listing, self.image.digest
        if not there.bundled.by_type(SIGNED):
            news = [*news, Statement(subject=image, predicate_type=SIGNED, predicate={})]
        added = Listing(tagged=listing.tagged)
        if news:
            signer, has_api = self.signing.signer, listing.has_api
            added = attach_bundles(self.repository, self.image, news, signer, has_api=has_api)
        if added.tagged is not None:
            return Places(tags=(Tag(name=fallback_tag(image), digest=added.tagged),))
        bundles = (each for each in (*listing.entries, *added.entries) if may_be_bundle(each))
        return Places(referrers=tuple(each.digest for each in bundles))


@dataclass(frozen=True, slots=True, kw_only=True)
class _There:
    """What of ours stands there: ``under`` the attestation tag, and in bundles of ``listing``."""

    under: Tagged
    listing: Listing
    tagged: Evidence
    bundled: Evidence

    @classmethod
    def read(cls, repository: Repository, image: Digest, keyring: Keyring) -> _There:
        under = Tagged(repository, attestation_tag(image))
        listing = read_referrers(repository, image)
        kinds, wanted = NAMES.values(), {*NAMES.values(), SIGNED}
        return cls(
            under=under,
            listing=listing,
            tagged=read_tagged(repository, image, keyring, kinds, under),
            bundled=read_bundled(repository, image, keyring, wanted, listing.entries),
        )


def _payload(statement: Statement | None) -> Digest | None:
    """Name what a statement says, whatever the image is called there."""
    return None if statement is None else Digest.of(statement.payload(""))


def _is_outdated(statement: Statement, newest: Sequence[Statement], progress: Progress) -> bool:
    """Return whether we have already stated a newer result, which must stay the truth."""
    if statement.predicate_type != TEST_RESULT or not newest:
        return False
    ours, there = claimed_moment(statement), claimed_moment(newest[0])
    if ours is None or there is None or ours >= there:
        return False
    result = newest[0].predicate.get("result")
    progress.note(
        f"the registry has a newer test-result by this signer ({result}, of "
        f"{finished_on(newest[0])}); the one of {finished_on(statement)} is not attached"
    )
    return True


def _unheld(statements: Sequence[Statement], held: Evidence) -> list[Statement]:
    """Return those of ``statements`` that are news: what an image is made of never is again.

    Another smoke test is, since it may have come to another end.
    """
    known = {each.predicate_type for each in held.statements} - {TEST_RESULT}
    results = {each.payload("") for each in held.by_type(TEST_RESULT)}
    return [
        each
        for each in statements
        if each.predicate_type not in known and each.payload("") not in results
    ]
