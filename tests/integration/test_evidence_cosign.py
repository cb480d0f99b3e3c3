"""Evidence in a real registry, read by stock cosign 2 and 3 and by ourselves."""

import base64
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from envbuilder.evidence.attach import attach, attach_bundles, attestation_tag, sign
from envbuilder.evidence.identities import TrustedIdentity, read_root
from envbuilder.evidence.keyless import open_signer
from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.keys import new_key, public_pem, read_private, read_public
from envbuilder.evidence.read import is_signed, read_evidence
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.signers import KeySigner
from envbuilder.evidence.statements import (
    NAMES,
    PROVENANCE,
    SBOM,
    SIGNED,
    TEST_RESULT,
    Statement,
    provenance,
)
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Manifest
from envbuilder.registry.referrers import list_referrers
from envbuilder.registry.transfer import push
from envbuilder.smoke.report import CheckStatus, Report
from envbuilder.storage.store import Store
from tests.recipes import admission
from tests.servers.distribution import registry
from tests.servers.locks import small_lock
from tests.servers.samples import small_image
from tests.servers.sigstore import IDENTITY, ISSUER, sigstore, token

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
MOMENT = "2026-01-02T03:04:05Z"
REPORT = Report(subject="small", verdict=CheckStatus.PASS, summary="all good", checks=())


@pytest.fixture(scope="module", params=["trixie", "sid"])
def cosign(request, tmp_path_factory):
    """Run cosign 2 (trixie) or 3 (sid), without a home and without a way out of this machine."""
    program = ROOT / ".cosign" / request.param / "cosign"
    if not program.exists():
        subprocess.run([ROOT / "tests/cosign.sh"], check=True)
    home = tmp_path_factory.mktemp("home")
    proxy = "http://127.0.0.1:1"  # whoever asks the network anyway fails at once
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "HTTPS_PROXY": proxy}

    def run(*arguments: object, more: dict | None = None) -> subprocess.CompletedProcess:
        command = [program, *map(str, arguments)]
        return subprocess.run(
            command,
            env=environ | (more or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def key(tmp_path):
    return new_key(tmp_path / "mine")


@pytest.fixture
def other(tmp_path):
    return new_key(tmp_path / "other")


@pytest.fixture
def pushed(server, tmp_path):
    """A fresh image in the registry: its repository and itself."""
    store = Store(tmp_path / "store")
    name = tmp_path.name.replace("_", "-").lower()
    image = small_image(store, seed=hash(name) % 10_000)
    ref = ImageRef.parse(f"{server.host}/{name}:v1")
    settings = Settings(backoff=0.01, attempts=2)
    with Client(settings, docker_config=tmp_path / "none.json") as client:
        push(client, image, store, ref, Silent())
        yield client.repository(ref), image


def statements(image):
    lock = small_lock()
    return [
        provenance(lock, image.digest, engine="embedded", finished=MOMENT),
        sbom(lock, image.digest, finished=MOMENT),
        smoke_result(lock, image.digest, REPORT.to_dict(), finished=MOMENT),
    ]


def private(pair):
    return read_private(str(pair[0]), {})


def public(pair):
    return read_public(str(pair[1]))


def verify(run, pair, what: str, *more: object):
    flags = ["--insecure-ignore-tlog=true", "--allow-http-registry"]
    return run(what, "--key", pair[1], *flags, *more)


def test_cosign_accepts_a_signed_image_and_no_other_key(cosign, pushed, key, other):
    repository, image = pushed
    sign(repository, image.digest, private(key))
    named = f"{repository}:v1"
    good = verify(cosign, key, "verify", named)
    assert good.returncode == 0, good.stderr
    assert str(image.digest) in good.stdout
    assert verify(cosign, other, "verify", named).returncode != 0


@pytest.mark.parametrize("predicate", [PROVENANCE, SBOM, TEST_RESULT])
def test_cosign_accepts_each_attestation_and_no_other_key(cosign, pushed, key, other, predicate):
    repository, image = pushed
    attach(repository, image.digest, statements(image), private(key))
    flags = ("--type", predicate, f"{repository}:v1")
    good = verify(cosign, key, "verify-attestation", *flags)
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout.splitlines()[0])["payloadType"] == "application/vnd.in-toto+json"
    assert verify(cosign, other, "verify-attestation", *flags).returncode != 0


def test_cosign_refuses_an_attestation_of_another_image(cosign, pushed, key, tmp_path):
    repository, image = pushed
    store = Store(tmp_path / "second")
    changed = small_image(store, seed=12345)
    attach(repository, image.digest, statements(changed), private(key))
    flags = ("--type", TEST_RESULT, f"{repository}:v1")
    assert verify(cosign, key, "verify-attestation", *flags).returncode != 0


@pytest.mark.parametrize("verdict", [CheckStatus.PASS, CheckStatus.FAIL])
def test_cosign_judges_the_smoke_result_by_policy(cosign, pushed, key, tmp_path, verdict):
    repository, image = pushed
    report = replace(REPORT, verdict=verdict)
    stated = smoke_result(small_lock(), image.digest, report.to_dict(), finished=MOMENT)
    attach(repository, image.digest, [stated], private(key))
    policy = tmp_path / "policy.cue"
    policy.write_text('predicate: result: "PASSED"\n')
    flags = ("--type", TEST_RESULT, "--policy", policy, f"{repository}:v1")
    done = verify(cosign, key, "verify-attestation", *flags)
    assert (done.returncode == 0) is (verdict is CheckStatus.PASS), done.stderr


@pytest.mark.parametrize("policy", [admission.kyverno, admission.policy_controller])
@pytest.mark.parametrize("verdict", [CheckStatus.PASS, CheckStatus.FAIL])
def test_the_admission_policies_let_in_what_was_smoked_green_and_nothing_else(
    cosign, pushed, key, other, tmp_path, *, policy, verdict
):
    repository, image = pushed
    asked = policy()
    report = replace(REPORT, verdict=verdict)
    stated = smoke_result(small_lock(), image.digest, report.to_dict(), finished=MOMENT)
    attach(repository, image.digest, [stated], private(key))
    (tmp_path / "policy.cue").write_text(asked.cue or "predicate: {...}\n")
    flags = ["--type", asked.predicate_type, "--policy", tmp_path / "policy.cue"]

    def let_in(pair) -> bool:
        done = verify(cosign, pair, "verify-attestation", *flags, f"{repository}@{image.digest}")
        if done.returncode:
            return False
        payload = base64.b64decode(json.loads(done.stdout.splitlines()[0])["payload"])
        return asked.fits(json.loads(payload)["predicate"])

    assert let_in(key) is (verdict is CheckStatus.PASS)
    assert not let_in(other)


def test_cosign_3_accepts_bundles(cosign, pushed, key, other, request):
    repository, image = pushed
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    attach_bundles(repository, manifest, statements(image), KeySigner(key=private(key)))
    flags = ["--type", TEST_RESULT, f"{repository}:v1"]
    if "trixie" in request.node.name:  # cosign 2 looks for bundles only where it is told to
        root = Path(key[0]).with_name("root.json")
        assert cosign("trusted-root", "create", "--out", root).returncode == 0
        flags = ["--new-bundle-format", "--trusted-root", root, *flags]
    good = verify(cosign, key, "verify-attestation", *flags)
    assert good.returncode == 0, good.stderr
    assert verify(cosign, other, "verify-attestation", *flags).returncode != 0


def test_cosign_3_accepts_our_signature_in_a_bundle(cosign, pushed, key, other, request):
    if "trixie" in request.node.name:
        pytest.skip("cosign 2 reads bundles of attestations only")
    repository, image = pushed
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    signed = Statement(subject=image.digest, predicate_type=SIGNED, predicate={})
    attach_bundles(repository, manifest, [signed], KeySigner(key=private(key)))
    good = verify(cosign, key, "verify", f"{repository}:v1")
    assert good.returncode == 0, good.stderr
    assert verify(cosign, other, "verify", f"{repository}:v1").returncode != 0
    assert is_signed(repository, image.digest, Keyring.of(public(key)))


def test_what_cosign_signs_we_read(cosign, pushed, other, tmp_path, request):
    """By a key of its own: under the tag by cosign 2, in a bundle by cosign 3."""
    repository, image = pushed
    environ = {"COSIGN_PASSWORD": "hunter2"}
    prefix = tmp_path / "cosign"
    done = cosign("generate-key-pair", "--output-key-prefix", prefix, more=environ)
    assert done.returncode == 0, done.stderr
    flags = ["--use-signing-config=false"] if "sid" in request.node.name else []
    done = cosign(
        "sign", "-y", "--key", f"{prefix}.key", "--tlog-upload=false", "--allow-http-registry",
        *flags, f"{repository}@{image.digest}", more=environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = read_public(f"{prefix}.pub")
    assert is_signed(repository, image.digest, Keyring.of(theirs))
    assert not is_signed(repository, image.digest, Keyring.of(public(other)))
    # And with that very key we sign what cosign takes.
    mine = read_private(f"{prefix}.key", environ)
    attach(repository, image.digest, statements(image), mine)
    found = read_evidence(repository, image.digest, Keyring.of(theirs), {TEST_RESULT})
    assert len(found.statements) == 1


@pytest.mark.parametrize("kind", ["P-384", "Ed25519"])
def test_cosign_accepts_other_kinds_of_keys(cosign, pushed, tmp_path, kind):
    repository, image = pushed
    key = (
        ec.generate_private_key(ec.SECP384R1())
        if kind == "P-384"
        else ed25519.Ed25519PrivateKey.generate()
    )
    path = tmp_path / "k.pub"
    path.write_bytes(public_pem(key.public_key()))
    attach(repository, image.digest, statements(image), key)
    flags = ("--type", TEST_RESULT, f"{repository}:v1")
    good = verify(cosign, (None, path), "verify-attestation", *flags)
    assert good.returncode == 0, good.stderr


# -- without a key --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A private Sigstore, and the files by which it is used."""
    folder = tmp_path_factory.mktemp("people")
    with sigstore(folder / "stamps") as (instance, _):
        documents = {
            "config.json": instance.config(),
            "root.json": instance.root(),
            "signing.json": instance.signing_config(),
        }
        for name, content in documents.items():
            (folder / name).write_text(json.dumps(content))
        (folder / "token").write_text(token())
        yield folder


def verify_by_name(run, people, what: str, *more: object, identity=IDENTITY, issuer=ISSUER):
    return run(
        what, "--certificate-identity", identity, "--certificate-oidc-issuer", issuer,
        "--trusted-root", people / "root.json", "--allow-http-registry", *more,
    )  # fmt: skip


def test_cosign_accepts_what_an_identity_signed(cosign, pushed, people, request):
    if "trixie" in request.node.name:
        pytest.skip("cosign 2 asks the public Sigstore for its CA, whatever root it is given")
    repository, image = pushed
    signer = open_signer(
        str(people / "token"), {"ENVBUILDER_TRUST_CONFIG": str(people / "config.json")}
    )
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    attach_bundles(repository, manifest, statements(image), signer)
    flags = ["--type", TEST_RESULT, f"{repository}:v1"]
    good = verify_by_name(cosign, people, "verify-attestation", *flags)
    assert good.returncode == 0, good.stderr
    for wrong in ({"identity": IDENTITY + "x"}, {"issuer": ISSUER + "x"}):
        bad = verify_by_name(cosign, people, "verify-attestation", *flags, **wrong)
        assert bad.returncode != 0, wrong
    signed = Statement(subject=image.digest, predicate_type=SIGNED, predicate={})
    attach_bundles(repository, manifest, [signed], signer)
    good = verify_by_name(cosign, people, "verify", f"{repository}:v1")
    assert good.returncode == 0, good.stderr


def test_cosign_accepts_our_time_stamps(cosign, pushed, key, people, request):
    """By the trusted root's authority, and no other; without a stamp it is refused."""
    if "trixie" in request.node.name:
        pytest.skip("cosign 2 asks the public Sigstore whatever it is given")
    repository, image = pushed
    stamps = json.loads((people / "signing.json").read_text())["tsaUrls"][0]["url"]
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    flags = ["--use-signed-timestamps", "--trusted-root", people / "root.json",
             "--type", TEST_RESULT, f"{repository}:v1"]  # fmt: skip
    attach_bundles(repository, manifest, statements(image), KeySigner(key=private(key)))
    assert verify(cosign, key, "verify-attestation", *flags).returncode != 0
    stamping = KeySigner(key=private(key), stamps=stamps)
    attach_bundles(repository, manifest, statements(image), stamping)
    good = verify(cosign, key, "verify-attestation", *flags)
    assert good.returncode == 0, good.stderr


def test_what_cosign_signs_as_an_identity_we_read(cosign, pushed, people, request):
    if "trixie" in request.node.name:
        pytest.skip("cosign 2 signs so with its own flags for each server, and no bundles")
    repository, image = pushed
    done = cosign(
        "sign", "-y", "--signing-config", people / "signing.json", "--trusted-root",
        people / "root.json", "--identity-token", people / "token", "--allow-http-registry",
        f"{repository}@{image.digest}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    root = read_root(people / "root.json")
    mine = TrustedIdentity(identity=IDENTITY, issuer=ISSUER, root=root)
    other = TrustedIdentity(identity=IDENTITY + "x", issuer=ISSUER, root=root)
    assert is_signed(repository, image.digest, Keyring(identities=(mine,)))
    assert not is_signed(repository, image.digest, Keyring(identities=(other,)))


# -- ourselves ----------------------------------------------------------------------------------


def read(pushed, pair, wanted=()):
    repository, image = pushed
    return read_evidence(
        repository, image.digest, Keyring.of(public(pair)), wanted or NAMES.values()
    )


@pytest.mark.parametrize("form", ["tags", "bundles"])
def test_what_was_attached_is_read_back(pushed, key, other, form):
    repository, image = pushed
    if form == "tags":
        attach(repository, image.digest, statements(image), private(key))
    else:
        manifest = Manifest(body=image.manifest, media_type=image.media_type)
        attach_bundles(repository, manifest, statements(image), KeySigner(key=private(key)))
        assert len(list_referrers(repository, image.digest)) == 3
    found = read(pushed, key)
    assert {each.predicate_type for each in found.statements} == set(NAMES.values())
    stranger = read(pushed, other)
    assert (stranger.statements, stranger.by_others) == ((), 3)


def test_strangers_neither_help_nor_harm(pushed, key, other):
    repository, image = pushed
    attach(repository, image.digest, statements(image), private(other))
    assert not read(pushed, key).statements
    attach(repository, image.digest, statements(image), private(key))
    found = read(pushed, key)
    assert len(found.statements) == 3
    assert found.by_others == 3


def test_a_statement_about_another_image_does_not_count(pushed, key, tmp_path):
    repository, image = pushed
    changed = small_image(Store(tmp_path / "second"), seed=54321)
    attach(repository, image.digest, statements(changed), private(key))
    found = read(pushed, key)
    assert (found.statements, found.about_others) == ((), 3)


@pytest.mark.parametrize("gone", ["the referrer", "its bundle"])
def test_what_is_listed_but_gone_harms_nothing(pushed, key, gone):
    repository, image = pushed
    manifest = Manifest(body=image.manifest, media_type=image.media_type)
    attach_bundles(repository, manifest, statements(image), KeySigner(key=private(key)))
    first = repository.manifest(list_referrers(repository, image.digest)[0].digest)
    bundle = f"blobs/{first.layers[0].digest}"
    there = f"manifests/{first.digest}" if gone == "the referrer" else bundle
    with repository.send("DELETE", there) as answer:
        repository.expect(answer, {202}, "deleting")
    assert len(read(pushed, key).statements) == 2


def test_the_newest_statement_replaces_the_one_before(pushed, key):
    repository, image = pushed
    failed = replace(REPORT, verdict=CheckStatus.FAIL)
    for report in (failed, REPORT):
        stated = smoke_result(small_lock(), image.digest, report.to_dict(), finished=MOMENT)
        attach(repository, image.digest, [stated], private(key))
    (found,) = read(pushed, key, [TEST_RESULT]).by_type(TEST_RESULT)
    assert found.predicate["result"] == "PASSED"
    assert len(repository.manifest(attestation_tag(image.digest)).layers) == 1


def test_our_own_signature_check(pushed, key, other):
    repository, image = pushed
    assert not is_signed(repository, image.digest, Keyring.of(public(key)))
    sign(repository, image.digest, private(other))
    assert not is_signed(repository, image.digest, Keyring.of(public(key)))
    sign(repository, image.digest, private(key))
    assert is_signed(repository, image.digest, Keyring.of(public(key)))


def test_an_image_without_evidence_has_none(pushed, key):
    assert read(pushed, key).statements == ()
