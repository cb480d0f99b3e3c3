"""The commands keys, push, verify and diff, as a user types them."""

import json
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from envbuilder.model.image import Image, compose, parse_image
from envbuilder.model.image_config import LABEL, image_settings
from envbuilder.model.lock import spec_checksum
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import dump_lock, lock_checksum, read_lock, write_lock
from envbuilder.model.reference import ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.transfer import push
from envbuilder.smoke.report import CheckStatus, Report
from envbuilder.smoke.touched import Touched, write_touched
from envbuilder.storage.build_records import keep_report
from envbuilder.storage.ledger import LedgerEntry, append
from envbuilder.storage.store import Store
from tests.command import envbuilder
from tests.servers.counting import counted
from tests.servers.distribution import registry
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import image_of, layer_of, manifest_of
from tests.servers.sigstore import IDENTITY, ISSUER, sigstore, token

pytestmark = pytest.mark.integration

LOCK = small_lock()
REPORT = Report(subject="small", verdict=CheckStatus.PASS, summary="fine", checks=())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A folder with a sealed lock, a store that holds its image, and a shell in it."""

    folder: Path
    image: Image
    ref: str

    def run(self, *arguments: str, status: int = 0, **more: str) -> str:
        """Run a command and expect its exit status; give what it wrote to stdout."""
        environ = {
            "ENVBUILDER_CACHE": str(self.folder / "store"),
            "DOCKER_CONFIG": str(self.folder),
            "ENVBUILDER_KEY_PASSWORD": "hunter2",
            "COLUMNS": "200",
            **more,
        }
        done = envbuilder(*arguments, cwd=self.folder, code=status, **environ)
        assert "hunter2" not in done.stdout + done.stderr
        return done.stdout + (done.stderr if status else "")


@pytest.fixture
def desk(server, tmp_path):
    store = Store(tmp_path / "store")
    lock = dump_lock(LOCK).encode()
    layers = [
        layer_of(store, {"opt/one": b"1"}, "one"),
        layer_of(store, {"usr/share/envbuilder/pylock.small.toml": lock}, "environment small"),
    ]
    image = image_of(layers, settings=image_settings(LOCK, {}))
    for document in (image.manifest, image.config):
        store.add(document)
    write_lock(tmp_path / "lockfiles" / "pylock.small.toml", sealed(LOCK, image))
    ref = f"{server.host}/{tmp_path.name.replace('_', '-').lower()}:v1"
    return Desk(folder=tmp_path, image=image, ref=ref)


def test_the_whole_way(desk):
    keep_report(Store(desk.folder / "store"), desk.image.digest, REPORT.to_dict())
    assert "(encrypted)" in desk.run("keys", "new", "ci")
    assert str(desk.image.digest) in desk.run("push", "small", desk.ref, "--key", "ci.key")
    assert "is what the lock it names says, at level 1" in desk.run("verify", desk.ref)
    assert "at level 2" in desk.run("verify", desk.ref, "--key", "ci.pub")
    assert "at level 3" in desk.run("verify", desk.ref, "--key", "ci.pub", "--level", "3")
    assert desk.run("diff", "small", desk.ref) == "no difference\n"


def test_the_whole_way_without_a_key(desk):
    keep_report(Store(desk.folder / "store"), desk.image.digest, REPORT.to_dict())
    push = ("push", "small", desk.ref, "--identity-token", "token")
    with sigstore(desk.folder / "stamps") as (instance, asked):
        (desk.folder / "config.json").write_text(json.dumps(instance.config()))
        (desk.folder / "root.json").write_text(json.dumps(instance.root()))
        (desk.folder / "token").write_text(token())
        said = desk.run(*push, ENVBUILDER_TRUST_CONFIG="config.json")
        assert "signed evidence: provenance, sbom, test-result, signature" in said
        logged = len(instance.entries)
        assert logged == 4
        assert desk.run(*push, ENVBUILDER_TRUST_CONFIG="config.json") == said
        assert len(instance.entries) == logged, "what is there is not signed again"
        assert len([each for each in asked.seen if "signingCert" in each.path]) == 2
    policy = desk.folder / "policy.yaml"
    who = f"{{identity: '{IDENTITY}', issuer: '{ISSUER}', trust_root: root.json}}"
    policy.write_text(
        f"identities: [{who}]\nrequired: [test-result, provenance, sbom, signature]\n"
        f"builders: ['{IDENTITY}']\n"
    )
    assert "at level 2" in desk.run("verify", desk.ref, "--policy", "policy.yaml")
    policy.write_text(f"identities: [{who.replace('main', 'fork')}]\n")
    assert IDENTITY in desk.run("verify", desk.ref, "--policy", "policy.yaml", status=9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--keyless", "--key", "ci.key"), "--keyless signs without --key"),
        (("--keyless", "--timestamp-server", "http://x"), "--keyless signs without"),
        (("--timestamp-server", "http://x"), "add --key KEY"),
        (("--identity-token", "nowhere"), "cannot read the token nowhere"),
        (("--identity-token", "env://NOTHING"), "the variable NOTHING"),
    ],
)
def test_who_signs_is_said_once(desk, options, words):
    desk.run("keys", "new", "ci")
    with sigstore(desk.folder / "stamps") as (instance, _):
        (desk.folder / "config.json").write_text(json.dumps(instance.config()))
        said = desk.run(
            "push", "small", desk.ref, *options, status=2, ENVBUILDER_TRUST_CONFIG="config.json"
        )
    assert words in said


def test_another_form_is_pushed_listed_and_proven(desk):
    lock = desk.folder / "lockfiles" / "pylock.small.toml"
    before = lock.read_text()
    said = desk.run("push", "small", desk.ref, "--compression", "zstd:chunked")
    assert str(desk.image.digest) not in said
    assert lock.read_text().startswith(before)
    listed = read_lock(lock).seal.forms
    assert [each.compression for each in listed] == ["zstd:chunked"]
    assert str(listed[0].manifest) in said
    assert "the sealed image as zstd:chunked" in desk.run("verify", desk.ref, "--lock", "small")
    assert desk.run("diff", "small", desk.ref) == "no difference\n"
    text = lock.read_text()
    assert desk.run("push", "small", desk.ref, "--compression", "zstd:chunked") == said
    assert lock.read_text() == text
    assert str(desk.image.digest) in desk.run("push", "small", desk.ref)


def test_what_a_start_needs_is_said_of_the_sealed_image_and_of_the_pushed_one(desk):
    said = desk.run("inspect", "small", "--start", status=5)
    assert "no smoke recorded what a start of small needs" in said
    assert "envbuilder build small writes it" in said
    path = desk.folder / "lockfiles" / "small.start.json"
    touched = Touched(by=("import.x",), files=frozenset({"/opt/one", "/etc/hosts"}))
    write_touched(path, touched, lock_checksum(LOCK))
    here = json.loads(desk.run("inspect", "small", "--start", "-o", "json"))["start"]
    assert [each["bytes"] for each in here["layers"]] == [1, 0]
    assert (here["bytes"], here["by"], here["untouched"]) == (
        1,
        ["import.x"],
        ["environment small"],
    )
    for form in ("gzip", "zstd:chunked"):
        desk.run("push", "small", desk.ref, "--compression", form)
        there = json.loads(desk.run("inspect", desk.ref, "--start", "-o", "json"))["start"]
        assert {**there, "packed": 0, "packed_of": 0, "layers": []} == {
            **here, "packed": 0, "packed_of": 0, "layers": [],
        }  # fmt: skip
    text = desk.run("inspect", desk.ref, "--start")
    assert re.search(r"^one +1 B +1 B ", text, re.MULTILINE)
    assert re.search(r"never touched: [0-9.]+ k?B in environment small", text)
    assert "a start needs 1 B of " in text
    assert "start" not in json.loads(desk.run("inspect", "small", "-o", "json"))
    write_touched(path, touched, LOCK.wheels[0].sha256)
    assert "another lock" in desk.run("inspect", desk.ref, "--start", status=5)
    path.write_text("{}")
    assert "the next green build writes it anew" in desk.run(
        "inspect", "small", "--start", status=8
    )


def test_a_pushed_image_has_a_bill_of_materials(desk):
    desk.run("push", "small", desk.ref)
    assert json.loads(desk.run("sbom", desk.ref))["bomFormat"] == "CycloneDX"


def test_a_sealed_image_that_is_not_here_is_to_be_built(desk):
    Store(desk.folder / "store").path(desk.image.layers[0].digest).unlink()
    said = desk.run("inspect", "small", status=5)
    assert "the image of small is not in the store" in said
    assert "envbuilder build small" in said


@pytest.mark.parametrize("form", ["brotli", "estargz", "ZSTD", ""])
def test_an_unknown_form_is_refused(desk, form):
    said = desk.run("push", "small", desk.ref, "--compression", form, status=2)
    assert "'gzip', 'zstd', 'zstd:chunked'" in said


def test_a_policy_is_held(desk):
    desk.run("keys", "new", "ci")
    desk.run("push", "small", desk.ref, "--key", "ci.key")
    policy = desk.folder / "policy.yaml"
    policy.write_text("key: ci.pub\nrequired: [provenance, sbom, signature]\nmax_age_days: 1\n")
    assert "at level 2" in desk.run("verify", desk.ref, "--policy", "policy.yaml")
    policy.write_text("key: ci.pub\nrequired: [test-result]\n")
    found = desk.run("verify", desk.ref, "--policy", "policy.yaml", status=9)
    assert "NOT what the lock it names says" in found
    assert "none by this key about this image" in found


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("required: [sbm]\n", "policy.yaml:1:12: unknown evidence 'sbm'"),
        ("requires: [sbom]\n", "policy.yaml:1:1: unknown key 'requires'"),
        ("required: sbom\n", "policy.yaml:1:1: expected a list"),
        ("max_age_days: 0\n", "policy.yaml:1:1: expected a number of days"),
        ("key: 7\n", "policy.yaml:1:1: expected a file"),
        ("required: []\n", "policy.yaml:1:1: expected a list of evidence"),
        ("required: [sbom]\nchecks: [tokens]\n", "policy.yaml:2:1: only a test-result tells"),
        ("required: [signature]\nmax_age_days: 1\n", "policy.yaml:2:1: a signature has no date"),
        ("", "hint: a policy says"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(desk, text, where):
    (desk.folder / "policy.yaml").write_text(text)
    assert where in desk.run("verify", desk.ref, "--policy", "policy.yaml", status=3)


def test_evidence_is_attached_to_an_image_that_is_there_already(desk):
    desk.run("push", "small", desk.ref)
    desk.run("keys", "new", "ci")
    (desk.folder / "policy.yaml").write_text("key: ci.pub\nrequired: [sbom]\n")
    desk.run("verify", desk.ref, "--policy", "policy.yaml", status=9)
    desk.run("push", "small", desk.ref, "--key", "ci.key")
    desk.run("verify", desk.ref, "--policy", "policy.yaml")


def evidence_of(desk: Desk, *options: str) -> str:
    pushed = desk.run("push", "small", desk.ref, *options)
    return pushed.partition("evidence: ")[2].strip()


@pytest.mark.parametrize("bundles", [(), ("--bundles",)])
def test_a_push_says_what_evidence_its_key_has_there(desk, bundles):
    """Whoever else's is there: a push without a key, one of another key, one without a smoke."""
    desk.run("keys", "new", "one")
    desk.run("keys", "new", "two")
    policy = desk.folder / "policy.yaml"
    signature = ", signature"
    assert evidence_of(desk) == ""
    for key in ("one", "two"):
        policy.write_text(f"key: {key}.pub\nrequired: [provenance, sbom{signature}]\n")
        assert evidence_of(desk, "--key", f"{key}.key", *bundles) == f"provenance, sbom{signature}"
        desk.run("verify", desk.ref, "--policy", "policy.yaml")
    policy.write_text("key: one.pub\nrequired: [test-result]\n")
    desk.run("verify", desk.ref, "--policy", "policy.yaml", status=9)
    keep_report(Store(desk.folder / "store"), desk.image.digest, REPORT.to_dict())
    assert "test-result" in evidence_of(desk, "--key", "one.key", *bundles)
    desk.run("verify", desk.ref, "--policy", "policy.yaml")


def test_evidence_that_is_there_is_not_sent_again(desk, server):
    keep_report(Store(desk.folder / "store"), desk.image.digest, REPORT.to_dict())
    desk.run("keys", "new", "ci")
    desk.run("push", "small", desk.ref, "--key", "ci.key")
    with counted(server.host) as relay:
        there = desk.ref.replace(server.host, relay.host)
        desk.run("push", "small", there, "--key", "ci.key")
    assert {line.split()[0] for line in relay.requests} == {"HEAD", "GET"}


@pytest.mark.parametrize("bundles", [(), ("--bundles",)])
def test_a_second_push_asks_little(desk, server, bundles):
    """One request whether the tag is right; with a key one more, whether all is signed."""
    desk.run("keys", "new", "ci")
    signed = ("--key", "ci.key", *bundles)
    with counted(server.host) as relay:
        there = desk.ref.replace(server.host, relay.host)
        desk.run("push", "small", there, *signed)
        for options, most in (((), 1), (signed, 2), (signed, 2)):
            before = len(relay.requests)
            desk.run("push", "small", there, *options)
            assert len(relay.requests) - before == most, relay.requests[before:]


def test_provenance_has_the_date_of_the_build(desk):
    entry = LedgerEntry(
        time="2026-01-02T03:04:05Z", spec=spec_checksum(LOCK.spec), lock=lock_checksum(LOCK),
        image=desk.image.digest, engine="embedded", good=True,
    )  # fmt: skip
    append(desk.folder / "lockfiles" / "small.ledger.jsonl", entry)
    desk.run("keys", "new", "ci")
    desk.run("push", "small", desk.ref, "--key", "ci.key")
    (desk.folder / "policy.yaml").write_text("key: ci.pub\nrequired: [provenance, sbom]\n")
    found = desk.run("verify", desk.ref, "--policy", "policy.yaml")
    assert found.count("of 2026-01-02T03:04:05") == 2


def test_another_image_under_the_tag_is_found_and_shown_as_json(desk):
    desk.run("push", "small", desk.ref)
    lock = sealed(LOCK, image_of(desk.image.layers[:1], settings=image_settings(LOCK, {})))
    write_lock(desk.folder / "lockfiles" / "pylock.small.toml", lock)
    found = json.loads(desk.run("verify", desk.ref, "-o", "json", status=9).partition("\nerror")[0])
    assert not found["ok"]
    assert {each["subject"] for each in found["findings"] if each["status"] == "mismatch"} == {
        "digest",
        "layer 2",
    }


def test_the_lock_is_named(desk):
    desk.run("push", "small", desk.ref)
    path = "lockfiles/pylock.small.toml"
    checksum = str(lock_checksum(LOCK))
    own = desk.run("verify", desk.ref)
    assert f"lock      {path} ({checksum}), named by the image's own label" in own
    named = desk.run("verify", desk.ref, "--lock", "small")
    assert f"lock      {path} ({checksum}), named by --lock\n" in named
    assert "is what the lock says, at level 1" in named
    for options, who in (((), "image"), (("--lock", path), "--lock")):
        found = json.loads(desk.run("verify", desk.ref, "-o", "json", *options))
        expected = {"name": "small", "path": path, "checksum": checksum, "named_by": who}
        assert found["lock"] == expected


def test_a_lock_that_was_never_built_cannot_be_pushed(desk):
    write_lock(desk.folder / "lockfiles" / "pylock.small.toml", LOCK)
    assert "envbuilder build small" in desk.run("push", "small", desk.ref, status=5)


def test_a_layout_and_an_archive_compare_with_the_registry(desk):
    desk.run("push", "small", desk.ref)
    copies = {
        "oci:copy": f"oci:{desk.folder}/copy:x",
        "copy.tar": f"oci-archive:{desk.folder}/copy.tar",
    }
    for name, target in copies.items():
        source = f"docker://{desk.ref}"
        subprocess.run(
            ["skopeo", "copy", "-q", "--src-tls-verify=false", source, target], check=True
        )
        assert desk.run("diff", name, desk.ref, "--files") == "no difference\n"


def test_a_registry_that_is_not_there_is_exit_10(desk):
    found = desk.run("verify", "127.0.0.1:1/x:y", "--lock", "small", status=10)
    assert "Connection refused" in found
    assert "could not be verified" in found


@pytest.mark.parametrize("level", ["0", "1"])
def test_a_level_without_evidence_takes_no_key(desk, level):
    desk.run("keys", "new", "ci")
    found = desk.run("verify", desk.ref, "--level", level, "--key", "ci.pub", status=2)
    assert "looks at no evidence" in found


def test_an_image_that_does_not_match_is_not_smoked(desk):
    desk.run("push", "small", desk.ref)
    lock = sealed(LOCK, image_of(desk.image.layers[:1], settings=image_settings(LOCK, {})))
    write_lock(desk.folder / "lockfiles" / "pylock.small.toml", lock)
    assert "not smoked" in desk.run("verify", desk.ref, "--smoke", status=9)


def test_a_verification_without_a_lock_s_name_is_few_requests(desk, server):
    desk.run("push", "small", desk.ref)
    with counted(server.host) as relay:
        desk.run("verify", desk.ref.replace(server.host, relay.host))
    assert len(relay.requests) == 2


def test_what_others_wrote_moves_no_cursor(desk):
    """Escape codes and line breaks in an image reach a terminal as text."""
    layers = [replace(layer, title="\x1b[2Jlayer\nok") for layer in desk.image.layers]
    settings = image_settings(LOCK, {})
    settings["Env"] = [*settings["Env"], "EVIL=\x1b]0;title\x07\nok  digest", "HALF=HALF"]
    config = image_of(layers, settings=settings).config.replace(b"HALF", rb"\ud800")
    evil = parse_image(manifest_of(config, layers), config)
    with Client(Settings(), docker_config=desk.folder / "none.json") as client:
        store = Store(desk.folder / "store")
        push(client, evil, store, ImageRef.parse(desk.ref), Silent())
    for command in (("verify", desk.ref), ("inspect", desk.ref), ("diff", "small", desk.ref)):
        for options in ((), ("-o", "json"), ("--progress", "tty")):
            shown = desk.run(*command, *options, status=9 if command[0] == "verify" else 0)
            assert "\x1b]" not in shown
            assert "\x1b[2J" not in shown
            assert "\nok  digest" not in shown


@pytest.mark.parametrize(
    ("labels", "status", "said"),
    [
        (["x"], 10, "not an image's config: config.Labels: expected"),
        ({f"{LABEL}.name": "\0"}, 2, "does not say"),
    ],
)
def test_labels_that_name_no_lock(desk, labels, status, said):
    odd = compose(desk.image.layers, platform="linux/amd64", settings={"Labels": labels})
    with Client(Settings(), docker_config=desk.folder / "none.json") as client:
        store = Store(desk.folder / "store")
        store.add(odd.config)
        push(client, odd, store, ImageRef.parse(desk.ref), Silent())
    assert said in desk.run("verify", desk.ref, status=status)


@pytest.mark.parametrize(
    "command", [("verify", "smal"), ("inspect", "smal"), ("diff", "small", "smal"),
                ("smoke", "smal"), ("push", "small", "smal")],
)  # fmt: skip
def test_a_bare_word_is_asked_of_no_hub(desk, command):
    (desk.folder / "lockfiles" / "small.yaml").write_text("version: 1\n")
    found = desk.run(*command, status=2)
    assert "'smal' is no image" in found
    assert "did you mean small? lockfiles/ holds: small" in found


def test_keys_that_cannot_be_made_or_read(desk):
    assert "names no file" in desk.run("keys", "new", ".", status=2)
    found = desk.run("verify", desk.ref, "--key", "none.pub", status=2)
    assert "hint: expected the .pub file" in found
    assert "hint: a policy says" in desk.run("verify", desk.ref, "--policy", "none", status=3)


def test_a_password_needs_a_terminal(desk, monkeypatch):
    monkeypatch.setenv("ENVBUILDER_KEY_PASSWORD", "")
    done = envbuilder("keys", "new", "ci", "--password", cwd=desk.folder, code=2)
    assert "set ENVBUILDER_KEY_PASSWORD" in done.stderr


def test_the_lock_is_found_by_the_image_s_label_or_named(desk):
    desk.run("push", "small", desk.ref)
    path = "lockfiles/pylock.small.toml"
    desk.run("verify", desk.ref, "--lock", path)
    (desk.folder / path).rename(desk.folder / "elsewhere.toml")
    desk.run("verify", desk.ref, status=5)
    desk.run("verify", desk.ref, "--lock", "elsewhere.toml")
