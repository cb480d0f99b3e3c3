"""Verification against a real registry: the right image passes, and each tampering is found."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from envbuilder.evidence.attach import attach, sign
from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.keys import new_key, read_private, read_public
from envbuilder.evidence.sbom import sbom
from envbuilder.evidence.statements import provenance
from envbuilder.evidence.statements import test_result as smoke_result
from envbuilder.evidence.verify.findings import Level
from envbuilder.evidence.verify.policy import Policy
from envbuilder.evidence.verify.remote import look, verify
from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.image import OCI_LAYER_ZSTD, Image, canonical_json, parse_image
from envbuilder.model.image_config import image_settings
from envbuilder.model.lock import ImageBase
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Descriptor, Manifest, Platform, index_of
from envbuilder.registry.transfer import push
from envbuilder.smoke.report import Check, CheckStatus, Report
from envbuilder.storage.store import Store
from tests.servers.counting import counted
from tests.servers.distribution import registry
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import config_json, image_of, layer_of, manifest_of

pytestmark = pytest.mark.integration

LOCK = small_lock()
NOWHERE = Path("/nowhere/config.json")
FULL = Policy(required=("test-result", "provenance", "sbom", "signature"))


class World:
    """A registry with the sealed image under v1, and what is needed to tamper with it."""

    def __init__(self, host, client, store, folder):
        self.host, self.client, self.store, self.folder = host, client, store, folder
        self.layers = [
            layer_of(store, {f"opt/file-{n}": bytes([n]) * 100}, f"layer {n}") for n in range(4)
        ]
        self.image = image_of(self.layers, settings=image_settings(LOCK, {}))
        self.lock = sealed(LOCK, self.image)
        self.ref = ImageRef.parse(f"{host}/{folder.name.replace('_', '-').lower()}:v1")
        self.key = self.new_key("mine")
        self.put(self.image)

    def new_key(self, name):
        private, public = new_key(self.folder / name)
        return read_private(str(private), {}), read_public(str(public))

    @property
    def repository(self):
        return self.client.repository(self.ref)

    def put(self, image):
        push(self.client, image, self.store, self.ref, Silent())

    def put_config(self, change, layers=None):
        """Push the image with its config changed."""
        config = config_json(self.image)
        change(config)
        body = canonical_json(config)
        changed = parse_image(manifest_of(body, layers or self.layers), body)
        self.put(changed)
        return changed

    def put_layers(self, layers):
        self.put(image_of(layers, settings=image_settings(LOCK, {})))

    def attach(self, image=None, key=None, *, verdict=CheckStatus.PASS, finished=None):
        digest = (image or self.image).digest
        finished = finished or datetime.now(UTC).isoformat(timespec="seconds")
        checks = (Check(name="tokens.image", status=CheckStatus.PASS),)
        report = Report(subject="small", verdict=verdict, summary="x", checks=checks)
        stated = [
            provenance(self.lock, digest, engine="embedded", finished=finished),
            sbom(self.lock, digest, finished=finished),
            smoke_result(self.lock, digest, report.to_dict(), finished=finished),
        ]
        attach(self.repository, self.image.digest, stated, (key or self.key)[0])

    def verify(self, level=Level.CONTENT, policy=None, **more):
        keyring = Keyring.of(self.key[1]) if level >= Level.EVIDENCE else None
        return verify(self.client, self.ref, self.lock, level=level, progress=Silent(),
                      policy=policy, keyring=keyring, **more)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def world(server, tmp_path):
    settings = Settings(backoff=0.01, attempts=2)
    with Client(settings, docker_config=tmp_path / "none.json") as client:
        yield World(server.host, client, Store(tmp_path / "store"), tmp_path)


def story(verdict) -> dict[str, str]:
    """Give the bad findings: subject and explanation."""
    bad = (each for each in verdict.findings if str(each.status) in {"mismatch", "unknown"})
    return {each.subject: f"{each.expected} -> {each.actual}: {each.explanation}" for each in bad}


# -- the right image ----------------------------------------------------------------------------


@pytest.mark.parametrize("level", list(Level))
def test_the_sealed_image_passes(world, level):
    world.attach()
    sign(world.repository, world.image.digest, world.key[0])
    verdict = world.verify(level, policy=FULL if level >= Level.EVIDENCE else None)
    assert verdict.ok, story(verdict)
    assert verdict.exit_code == 0
    json.dumps(verdict.to_dict())


def test_the_same_content_under_docker_s_types_is_a_note(world):
    content = json.loads(world.image.manifest)
    content["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    for layer in content["layers"]:
        layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    content["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    manifest = Manifest(body=canonical_json(content), media_type=content["mediaType"])
    world.repository.put_manifest(manifest, "v1")
    verdict = world.verify()
    assert verdict.ok
    assert str(verdict.findings[0].status) == "note"
    assert not world.verify(Level.DIGEST).ok, "without a look inside, another digest is another"


def test_layers_that_were_compressed_anew_are_proven_by_reading_them(world):
    plain = gzip.decompress(world.store.read(world.layers[1].digest))
    packed = zstandard.compress(plain)
    digest = world.store.add(packed)
    anew = replace(world.layers[1], digest=digest, size=len(packed), media_type=OCI_LAYER_ZSTD)
    layers = [world.layers[0], anew, *world.layers[2:]]
    body = json.loads(manifest_of(world.image.config, layers))
    body["layers"][1]["mediaType"] = OCI_LAYER_ZSTD
    world.put(parse_image(canonical_json(body), world.image.config))
    verdict = world.verify()
    assert verdict.ok, story(verdict)
    (note,) = (each for each in verdict.findings if each.subject == "layer 2")
    assert note.explanation == (
        f"compressed anew: its {len(packed)} bytes were read, and hold the sealed content"
    )
    assert (note.expected, note.actual) == (str(world.layers[1].digest), str(digest))


def test_an_index_with_the_sealed_image_and_another_platform_is_a_note(world):
    arm = image_of(world.layers[:1], architecture="arm64")
    _put_index(world, (world.image, "linux/amd64"), (arm, "linux/arm64"))
    verdict = world.verify()
    assert verdict.ok, story(verdict)


# -- twelve tamperings --------------------------------------------------------------------------


def test_a_layer_swapped(world):
    evil = layer_of(world.store, {"opt/file-1": b"evil"}, "evil")
    world.put_layers([world.layers[0], evil, *world.layers[2:]])
    assert "layer 1 -> evil: another layer" in story(world.verify())["layer 2"]


def test_a_layer_appended(world):
    evil = layer_of(world.store, {"opt/evil": b"evil"}, "evil")
    world.put_layers([*world.layers, evil])
    assert "not in the lock" in story(world.verify())["layer 5"]


def test_layers_reordered(world):
    first, second, *rest = world.layers
    world.put_layers([first, *reversed(rest), second])
    assert "another order, from layer 2 on" in story(world.verify())["layers"]


def test_a_diff_id_that_lies(world):
    """The config claims the sealed content, but the blob is another one."""
    evil = layer_of(world.store, {"opt/file-2": b"evil"})
    lying = replace(evil, diff_id=world.layers[2].diff_id)
    layers = [*world.layers[:2], lying, world.layers[3]]
    config = world.image.config
    world.put(parse_image(manifest_of(config, layers), config))
    verdict = world.verify()
    assert f"its tar is {evil.diff_id}" in story(verdict)["layer 3"]
    assert verdict.exit_code == 9


def test_the_environment_changed(world):
    world.put_config(lambda config: config["config"]["Env"].append("LD_PRELOAD=/opt/evil.so"))
    assert "(none) -> /opt/evil.so: added" in story(world.verify())["Env LD_PRELOAD"]


def test_a_variable_set_twice(world):
    """A program sees the first of two; Python's dictionaries the last."""
    world.put_config(lambda config: config["config"]["Env"].insert(0, "PATH=/evil/bin"))
    assert "is not the sealed one" in story(world.verify())["config"]


def test_settings_under_another_case(world):
    """Go's parsers take ``Config`` for ``config``."""
    world.put_config(lambda config: config.update(Config={"Entrypoint": ["/evil"]}))
    assert "is not the sealed one" in story(world.verify())["config"]


def test_settings_that_stand_twice(world):
    body = world.image.config
    body = b'{"config":{"Entrypoint":["/evil"]},' + body.removeprefix(b"{")
    world.put(parse_image(manifest_of(body, world.layers), body))
    assert "is not the sealed one" in story(world.verify())["config"]


def test_a_manifest_that_names_two_configs(world):
    body = config_json(world.image)
    body["config"]["Entrypoint"] = ["/evil"]
    evil = world.put_config(lambda config: config.update(body))
    content = json.loads(world.image.manifest)
    content["Config"] = json.loads(evil.manifest)["config"]
    manifest = Manifest(body=json.dumps(content).encode(), media_type=world.image.media_type)
    world.repository.put_manifest(manifest, "v1")
    verdict = world.verify()
    assert "a key stands twice" in story(verdict)["content"]
    assert verdict.exit_code == 9


def test_the_entry_point_changed(world):
    world.put_config(lambda config: config["config"].update(Entrypoint=["/opt/evil"]))
    assert '["/opt/evil"]' in story(world.verify())["Entrypoint"]


def test_a_label_changed(world):
    def change(config):
        config["config"]["Labels"]["dev.gpu-envbuilder.lock"] = str(Digest.of(b"other"))

    world.put_config(change)
    found = story(world.verify())
    assert "label dev.gpu-envbuilder.lock" in found
    assert "another lock" in found["lock"]


def test_the_tag_moved(world):
    world.put(image_of(world.layers[:3], settings=image_settings(LOCK, {})))
    verdict = world.verify(Level.DIGEST)
    assert "another manifest" in story(verdict)["digest"]
    assert verdict.exit_code == 9
    assert "is not there" in story(world.verify())["layer 4"]


def test_an_attestation_for_another_image(world):
    other = image_of(world.layers[:1])
    world.attach(other)
    found = story(world.verify(Level.EVIDENCE))
    assert "1 about another image" in found["test-result"]


def test_an_attestation_by_another_key(world):
    world.attach(key=world.new_key("other"))
    found = story(world.verify(Level.EVIDENCE))
    assert "1 signed by another key" in found["test-result"]


def test_a_whiteout_that_hides_a_file(world):
    hiding = layer_of(world.store, {"opt/.wh.file-1": b""}, "hiding")
    world.put_layers([*world.layers, hiding])
    assert "may hide" in story(world.verify())["layer 5"]


def test_a_second_manifest_in_the_index(world):
    evil = image_of([layer_of(world.store, {"evil": b"evil"})], settings={})
    _put_index(world, (evil, "linux/amd64"), (world.image, "linux/amd64"))
    assert "2 images for linux/amd64" in story(world.verify())["index"]


def _put_index(world: World, *images: tuple[Image, str]) -> None:
    children = []
    for image, platform in images:
        push(world.client, image, world.store, world.ref.at(image.digest), Silent())
        children.append(
            Descriptor(
                media_type=image.media_type,
                digest=image.digest,
                size=len(image.manifest),
                platform=Platform.parse(platform),
            )
        )
    world.repository.put_manifest(index_of(children), "v1")


# -- more that must not pass --------------------------------------------------------------------


def test_another_platform_in_the_config(world):
    world.put_config(lambda config: config.update(architecture="arm64"))
    assert "amd64 -> arm64" in story(world.verify())["architecture"]


def test_other_dates_are_a_note(world):
    world.put_config(lambda config: config.update(created="2026-01-01T00:00:00Z"))
    assert world.verify().ok


@pytest.mark.parametrize("missing", FULL.required)
def test_missing_evidence_fails_closed(world, missing):
    verdict = world.verify(Level.EVIDENCE, policy=Policy(required=(missing,)))
    assert missing in story(verdict)
    assert verdict.exit_code == 9


def test_a_failed_smoke_test_does_not_pass(world):
    world.attach(verdict=CheckStatus.FAIL)
    assert "FAILED" in story(world.verify(Level.EVIDENCE))["test-result"]


def test_a_required_check_must_have_passed(world):
    world.attach()
    assert world.verify(Level.EVIDENCE, policy=Policy(checks=("tokens",))).ok
    found = story(world.verify(Level.EVIDENCE, policy=Policy(checks=("tokens", "gpu"))))
    assert "these passed: gpu" in found["test-result"]


@pytest.mark.parametrize(("days", "match"), [(-31, "older than 30 days"), (1, "future")])
def test_evidence_must_be_of_the_right_age(world, days, match):
    moment = datetime.now(UTC) + timedelta(days=days)
    world.attach(finished=moment.isoformat(timespec="seconds"))
    policy = Policy(required=("sbom", "provenance", "test-result"), max_age_days=30)
    found = story(world.verify(Level.EVIDENCE, policy=policy))
    assert set(found) == set(policy.required)
    assert all(match in text for text in found.values())


def test_evidence_of_another_lock_does_not_count(world):
    other = replace(LOCK, wheels=())
    world.lock, mine = sealed(other, world.image), world.lock
    world.attach()
    world.lock = mine
    policy = Policy(required=("test-result", "provenance"))
    found = story(world.verify(Level.EVIDENCE, policy=policy))
    assert set(found) == {"test-result", "provenance"}
    assert all("another lock" in text for text in found.values())


def test_an_image_that_is_not_there_is_unknown(world):
    world.ref = replace(world.ref, tag="v9")
    verdict = world.verify(Level.PACKAGES)
    assert verdict.exit_code == 10
    assert "has no v9" in story(verdict)["digest"]


def test_a_lock_without_a_seal_is_no_measure(world):
    with pytest.raises(LockError, match="no seal"):
        verify(world.client, world.ref, LOCK, level=Level.DIGEST, progress=Silent())


def test_evidence_without_a_key_is_no_question(world):
    with pytest.raises(UsageError, match="none is named"):
        verify(world.client, world.ref, world.lock, level=Level.EVIDENCE, progress=Silent())


def test_packages_without_a_key_say_that_no_evidence_was_looked_at(world):
    verdict = verify(world.client, world.ref, world.lock, level=Level.PACKAGES, progress=Silent())
    notes = [each.subject for each in verdict.findings if str(each.status) == "note"]
    assert (notes, verdict.ok) == (["evidence"], True)


def test_what_was_seen_is_not_asked_for_again(world):
    _put_index(world, (world.image, "linux/amd64"))
    with counted(world.host) as relay, Client(Settings(), docker_config=NOWHERE) as client:
        ref = ImageRef.parse(f"{relay.host}/{world.ref.repository}:v1")
        seen = look(client, ref)
        before = len(relay.requests)
        verdict = verify(client, ref, world.lock, level=Level.CONTENT, progress=Silent(), seen=seen)
    assert verdict.ok, story(verdict)
    assert (before, len(relay.requests)) == (3, 3)


def test_any_platform_shows_which_lock_it_is_of(world):
    arm = image_of(world.layers[:1], architecture="arm64")
    _put_index(world, (arm, "linux/arm64"))
    seen = look(world.client, world.ref)
    assert seen.image.digest == arm.digest
    verdict = verify(
        world.client, world.ref, world.lock, level=Level.CONTENT, progress=Silent(), seen=seen
    )
    assert "0 images for linux/amd64" in story(verdict)["index"]


def test_layers_that_the_store_holds_are_read_there(server, world):
    evil = layer_of(world.store, {"opt/evil": b"evil"}, "evil")
    world.put_layers([*world.layers, evil])
    world.store.discard(evil.digest)
    server.blob_path(world.layers[0].digest.hex).write_bytes(b"")
    found = story(
        verify(
            world.client, world.ref, world.lock, level=Level.PACKAGES, progress=Silent(),
            store=world.store,
        )
    )  # fmt: skip
    assert "layers" not in found
    assert "python tqdm" in found, "the packages were compared"


def test_the_base_is_compared(world):
    base = ImageBase(
        reference="r.test/base:1",
        digest=Digest.of(b"m"),
        config=Digest.of(b"c"),
        layers=tuple(world.layers[:2]),
    )
    lock = replace(world.lock, base=base)
    for layers, same in ((world.layers[:3], True), (world.layers[1:], False)):
        world.put_layers(layers)
        verdict = verify(world.client, world.ref, lock, level=Level.PACKAGES, progress=Silent())
        assert ("base" not in story(verdict)) is same


# -- images that we did not build ---------------------------------------------------------------


def dist_info(name: str, version: str, commit: str = "") -> dict[str, bytes]:
    folder = f"opt/venv/lib/python3.13/site-packages/{name}-{version}.dist-info"
    files = {f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
    if commit:
        origin = {"url": "x", "vcs_info": {"vcs": "git", "commit_id": commit}}
        files[f"{folder}/direct_url.json"] = json.dumps(origin)
    return {path: text.encode() for path, text in files.items()}


DPKG = b"Package: libstdc++6\nStatus: install ok installed\nVersion: 1:14.2.0-19\n\n"


def deep(world, *layers: dict[str, bytes]):
    world.put_layers([layer_of(world.store, files) for files in layers])
    return story(
        verify(world.client, world.ref, world.lock, level=Level.PACKAGES, progress=Silent())
    )


def packages(found):
    return {subject: text for subject, text in found.items() if subject.split()[0] in
            {"python", "deb", "cache"}}  # fmt: skip


def test_a_foreign_image_with_the_locked_packages(world):
    found = deep(
        world,
        {"var/lib/dpkg/status": DPKG, **dist_info("tqdm", "4.67.1")},
        dist_info("mine", "1.0+local", "c" * 40),
    )
    assert packages(found) == {}


def test_a_foreign_image_with_other_packages(world):
    found = deep(
        world,
        {"var/lib/dpkg/status": DPKG.replace(b"-19", b"-20"), **dist_info("tqdm", "4.67.0")},
        dist_info("mine", "1.0+local", "d" * 40),
        dist_info("extra", "1"),
        {"root/.cache/pip/http/x": b"x" * 50},
    )
    assert packages(found) == {
        "deb libstdc++6": "1:14.2.0-19 -> 1:14.2.0-20: other version",
        "python extra": "(none) -> 1: not in the lock",
        "python mine": f"1.0+local ({'c' * 12}) -> 1.0+local ({'d' * 12}): other version",
        "python tqdm": "4.67.1 -> 4.67.0: other version",
        "cache pip": "0 bytes -> 50 bytes: the cache of pip was left inside",
    }


def test_a_package_that_was_removed_again_is_missing(world):
    folder = "opt/venv/lib/python3.13/site-packages"
    found = deep(
        world,
        {"var/lib/dpkg/status": DPKG, **dist_info("tqdm", "4.67.1")},
        dist_info("mine", "1.0+local", "c" * 40),
        {f"{folder}/.wh.tqdm-4.67.1.dist-info": b""},
    )
    assert packages(found) == {"python tqdm": "4.67.1 -> (none): missing"}
