"""What is signed about a pushed image, by whom, and in which form."""

from __future__ import annotations

from dataclasses import replace

from envbuilder.evidence.attach import has_bundles
from envbuilder.evidence.bill import facts_of_store
from envbuilder.evidence.keys import builder_id, read_private
from envbuilder.evidence.signers import KeySigner, Signing
from envbuilder.evidence.standing import Standings
from envbuilder.evidence.statements import Statement, provenance, test_result
from envbuilder.evidence.stating import Stating
from envbuilder.model.errors import UsageError
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Seal
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.referrers import list_referrers
from envbuilder.registry.repository import Repository
from envbuilder.resolve.context import Context
from envbuilder.storage.build_records import recall_report
from envbuilder.storage.ledger import now


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

    ``before`` is the image that the tag named, whose form of evidence is kept. What was there when
    we last looked, less than a day ago, costs one request.
    """
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    stating = _stating(context, repository, manifest, signing, before)
    result = _smoked(context, lock, seal, image.digest)
    if not stating.stands(result):
        made = _made(context, lock, seal, signing.signer.name, image.digest, built=built)
        stating.attach([*made, *([] if result is None else [result])])
    return ("provenance", "sbom", *(() if result is None else ("test-result",)), "signature")


def attach_signature(
    context: Context,
    repository: Repository,
    index: Manifest,
    signing: Signing,
    *,
    before: Digest | None,
) -> tuple[str, ...]:
    """Sign an ``index``, of which nothing else is stated; return what that is called."""
    stating = _stating(context, repository, index, signing, before)
    if not stating.stands(None):
        stating.attach([])
    return ("signature",)


def style_at(context: Context, ref: ImageRef, signing: Signing) -> Signing:
    """Decide between tags and bundles: as asked for, or as the evidence of what ``ref`` names."""
    repository = context.registries.repository(ref)
    before = repository.find(ref.tag) if ref.tag and signing.bundles is None else None
    if before is None:
        return signing
    known = Standings(context.store, repository).form(before, signing.signer.name)
    if known is None:
        return replace(signing, bundles=has_bundles(list_referrers(repository, before)))
    return replace(signing, bundles=known == "bundles")


def _stating(
    context: Context,
    repository: Repository,
    image: Manifest,
    signing: Signing,
    before: Digest | None,
) -> Stating:
    return Stating(
        repository=repository,
        image=image,
        signing=signing,
        standings=Standings(context.store, repository),
        progress=context.progress,
        before=before,
    )


def _smoked(context: Context, lock: Lock, seal: Seal, image: Digest) -> Statement | None:
    """State what the last smoke test here found; a note says if there was none.

    ``image`` is the sealed one in some form. The statement is dated with the end of that test.
    """
    kept = recall_report(context.store, seal.manifest)
    if kept is None:
        context.progress.note(
            "warning: this image was not smoked here, so there is no test result to sign"
        )
        return None
    report, finished = kept
    return test_result(lock, image, report, finished=finished)


def _made(
    context: Context, lock: Lock, seal: Seal, signer: str, image: Digest, *, built: str | None
) -> list[Statement]:
    """State how ``image`` was made and of what, for the ``signer`` (a URI).

    Both are dated with when it was ``built`` or smoked, or else with now.
    """
    from envbuilder.evidence.sbom import sbom  # noqa: PLC0415 (the library takes 0.1 s to load)

    with context.progress.step("read", "what the packages say of themselves", unit="items"):
        facts = facts_of_store(context.store, lock)
    kept = recall_report(context.store, seal.manifest)
    moment = built or (kept[1] if kept is not None else now())
    builder = builder_id(signer)
    return [
        provenance(lock, image, engine=seal.engine, finished=moment, builder=builder),
        sbom(lock, image, finished=moment, facts=facts),
    ]
