"""What a push states of an image: the newest result, in the form that is there, and signed."""

from datetime import UTC, datetime, timedelta

import pytest

from envbuilder.evidence.attach import attach, attestation_tag
from envbuilder.evidence.signers import KeySigner, Signing
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.policy import Policy
from envbuilder.model.progress import Silent
from envbuilder.registry.referrers import fallback_tag
from envbuilder.resolve.context import Context
from envbuilder.smoke.report import CheckStatus, Report
from envbuilder.storage.build_records import keep_report
from envbuilder.workflow.publish import publish
from tests.servers.attacked import attacked
from tests.servers.locks import sealed
from tests.servers.samples import image_of

pytestmark = pytest.mark.integration

FULL = Policy(required=("test-result", "provenance", "sbom", "signature"))


class Notes(Silent):
    """Keep what is said."""

    def __init__(self):
        self.said = []

    def note(self, text, *_more, **_named):
        self.said.append(text)


@pytest.fixture
def world(tmp_path):
    with attacked(tmp_path) as running:
        for document in (running.image.manifest, running.image.config):
            running.store.add(document)
        yield running


def report(verdict):
    return Report(subject="small", verdict=CheckStatus(verdict), summary="x", checks=()).to_dict()


def pushed(world, *, signed=True, bundles=None) -> str:
    """Push, with my key or without one; give what was said."""
    notes = Notes()
    context = Context(store=world.store, progress=notes, registries=world.client)
    signing = Signing(signer=KeySigner(key=world.key()[0]), bundles=bundles) if signed else None
    publish(context, world.lock, world.ref, signing=signing)
    return "\n".join(notes.said)


@pytest.mark.parametrize("bundles", [False, True])
def test_a_push_after_a_red_smoke_says_so(world, bundles):
    keep_report(world.store, world.image.digest, report("pass"))
    assert "FAILED" not in pushed(world, bundles=bundles)
    assert world.verify(Level.EVIDENCE, FULL).exit_code == 0
    keep_report(world.store, world.image.digest, report("fail"))
    assert "the last smoke test of this image FAILED" in pushed(world, bundles=bundles)
    assert world.verify(Level.EVIDENCE, FULL).exit_code == 9


def test_a_red_smoke_is_told_without_a_key_too(world):
    keep_report(world.store, world.image.digest, report("fail"))
    assert "add --key KEY" in pushed(world, signed=False)


@pytest.mark.parametrize("bundles", [False, True])
def test_an_older_result_is_not_put_over_a_newer_one(world, bundles):
    soon = (datetime.now(UTC) + timedelta(minutes=2)).isoformat(timespec="seconds")
    newer = smoke_result(world.lock, world.image.digest, report("fail"), finished=soon)
    attach(world.repository, world.image.digest, [newer], world.key()[0])
    keep_report(world.store, world.image.digest, report("pass"))
    assert "has a newer test-result by this signer (FAILED" in pushed(world, bundles=bundles)
    verdict = world.verify(Level.EVIDENCE)
    assert verdict.exit_code == 9
    assert "says 'FAILED'" in verdict.findings[-1].explanation


@pytest.mark.parametrize("bundles", [False, True])
def test_the_form_of_the_image_before_is_kept(world, bundles):
    keep_report(world.store, world.image.digest, report("pass"))
    pushed(world, bundles=bundles)
    manifests, before = world.memory.manifests, world.image
    settings = {"Env": ["PATH=/bin"]}
    after = image_of(before.layers[:2], settings=settings)
    for document in (after.manifest, after.config):
        world.store.add(document)
    world.image = after
    world.lock = sealed(world.lock, after)
    keep_report(world.store, after.digest, report("pass"))
    pushed(world)
    assert (attestation_tag(after.digest) in manifests) is not bundles
    assert (fallback_tag(after.digest) in manifests) is bundles
