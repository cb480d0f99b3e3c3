"""What is signed about a pushed image, by whom, and in which form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from envbuilder.evidence.attach import attach, attach_bundles, may_be_bundle, sign
from envbuilder.evidence.bill import facts_of_store
from envbuilder.evidence.keys import builder_id, read_private
from envbuilder.evidence.read import Evidence, is_signed, read_bundled, read_tagged
from envbuilder.evidence.signers import KeySigner, Signer, Signing
from envbuilder.evidence.statements import (
    NAMES,
    SIGNED,
    TEST_RESULT,
    Statement,
    claimed_moment,
    finished_on,
    provenance,
    test_result,
)
from envbuilder.model.errors import UsageError
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Progress
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Seal
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.referrers import list_referrers
from envbuilder.registry.repository import Repository
from envbuilder.resolve.context import Context
from envbuilder.storage.build_records import recall_report
from envbuilder.storage.ledger import now

_NAMES = {predicate_type: name for name, predicate_type in NAMES.items()}


def signing_with(
    key: str | None,
    *,
    bundles: bool | None = None,
    keyless: bool = False,
    identity_token: str | None = None,
    timestamp_server: str | None = None,
) -> Signing | None:
    """Read the private key that ``key`` names; None means that nothing is to be signed.

    ``keyless`` signs as whoever ``identity_token`` (a file or ``env://NAME``) or the CI system says
    that we are; ``timestamp_server`` is the address of an RFC 3161 authority.
    Raises UsageError for a key that cannot be read, or for options that do not go together.
    """
    if keyless or identity_token is not None:
        if key is not None or timestamp_server is not None:
            raise UsageError(
                "--keyless signs without --key, and is stamped as its Sigstore has it",
                hint="leave out --key and --timestamp-server, or --keyless",
            )
        from envbuilder.evidence.keyless import open_signer  # noqa: PLC0415 (loads slowly)

        return Signing(signer=open_signer(identity_token), bundles=True)
    if key is not None:
        stamped = True if timestamp_server else bundles  # tags have no room for a stamp
        signer = KeySigner(key=read_private(key), stamps=timestamp_server)
        return Signing(signer=signer, bundles=stamped)
    if bundles or timestamp_server:
        raise UsageError("bundles are signed evidence", hint="add --key KEY to sign it")
    return None


def attach_evidence(
    context: Context,
    lock: Lock,
    seal: Seal,
    repository: Repository,
    image: Image,
    *,
    signing: Signing,
    before: Digest | None,
    built: str | None,
) -> tuple[str, ...]:
    """State what is known of ``image``, the sealed one in some form; name what is stated now.

    ``before`` is the image that the tag named, whose form of evidence is kept.
    """
    kept = _evidence_style(repository, signing, {image.digest, before} - {None})
    statements = evidence(context, lock, seal, signing.signer, built=built, subject=image.digest)
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    return _attach(repository, manifest, statements, kept, context.progress)


def attach_signature(
    repository: Repository, index: Manifest, signing: Signing, progress: Progress
) -> tuple[str, ...]:
    """Sign an ``index``, of which nothing else is stated; return what that is called."""
    style = _evidence_style(repository, signing, {index.digest})
    return _attach(repository, index, [], style, progress)


def style_at(context: Context, ref: ImageRef, signing: Signing) -> Signing:
    """Decide between tags and bundles: as asked for, or as the evidence of what ``ref`` names."""
    repository = context.registries.repository(ref)
    before = repository.find(ref.tag) if ref.tag and signing.bundles is None else None
    return signing if before is None else _evidence_style(repository, signing, {before})


def evidence(
    context: Context,
    lock: Lock,
    seal: Seal,
    signer: Signer,
    *,
    subject: Digest,
    built: str | None = None,
) -> list[Statement]:
    """Make the statements that ``signer`` will sign; the smoke report's only if there is one.

    They are about ``subject``, the manifest of the sealed image in the form that it travels in.
    They are dated with when the image was ``built`` or smoked, or else with now.
    """
    from envbuilder.evidence.sbom import sbom  # noqa: PLC0415 (the library takes 0.1 s to load)

    image = subject
    with context.progress.step("read", "what the packages say of themselves", unit="items"):
        facts = facts_of_store(context.store, lock)
    kept = recall_report(context.store, seal.manifest)
    moment = built or (kept[1] if kept is not None else now())
    statements = [
        provenance(
            lock, image, engine=seal.engine, finished=moment, builder=builder_id(signer.name)
        ),
        sbom(lock, image, finished=moment, facts=facts),
    ]
    if kept is None:
        context.progress.note(
            "warning: this image was not smoked here, so there is no test result to sign"
        )
    else:
        report, finished = kept
        statements.append(test_result(lock, image, report, finished=finished))
    return statements


def _evidence_style(
    repository: Repository, signing: Signing, images: Iterable[Digest | None]
) -> Signing:
    """Decide between tags and bundles: as asked for, or as the evidence that is there."""
    if signing.bundles is not None:
        return signing
    there = (
        may_be_bundle(referrer)
        for image in images
        if image is not None
        for referrer in list_referrers(repository, image)
    )
    return replace(signing, bundles=any(there))


def _attach(
    repository: Repository,
    image: Manifest,
    statements: Sequence[Statement],
    signing: Signing,
    progress: Progress,
) -> tuple[str, ...]:
    """Attach what we have not stated yet; name all that we state now."""
    signer, keyring = signing.signer, signing.signer.keyring
    names = (*(_NAMES[each.predicate_type] for each in statements), "signature")
    tagged = read_tagged(repository, image.digest, keyring, NAMES.values())
    bundled = read_bundled(repository, image.digest, keyring, {*NAMES.values(), SIGNED})
    newest = (tagged + bundled).by_type(TEST_RESULT)[-1:]
    held = bundled if signing.bundles else tagged
    news = [each for each in _unheld(statements, held) if not _is_outdated(each, newest, progress)]
    if signing.bundles or not isinstance(signer, KeySigner):
        if not bundled.by_type(SIGNED):
            news.append(Statement(subject=image.digest, predicate_type=SIGNED, predicate={}))
        attach_bundles(repository, image, news, signer)
        return names
    if news:
        attach(repository, image.digest, news, signer.key)
    if not is_signed(repository, image.digest, keyring):
        sign(repository, image.digest, signer.key)
    return names


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
