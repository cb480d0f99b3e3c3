"""The commands keys, push, verify and diff, as a user types them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from envbuilder.image import Image
from envbuilder.keep import keep_report
from envbuilder.layers.store import Store
from envbuilder.lock_file import dump_lock, write_lock
from envbuilder.settings import image_settings
from envbuilder.smoke.report import Report, Status
from tests.servers.distribution import registry
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import image_of, layer_of

pytestmark = pytest.mark.integration

LOCK = small_lock()
REPORT = Report(subject="small", verdict=Status.PASS, summary="fine", checks=())


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

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command and expect its exit status; give what it wrote to stdout."""
        environ = os.environ | {
            "ENVBUILDER_CACHE": str(self.folder / "store"),
            "DOCKER_CONFIG": str(self.folder),
            "ENVBUILDER_KEY_PASSWORD": "hunter2",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "COLUMNS": "200",
        }
        command = [sys.executable, "-m", "envbuilder", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
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
    assert "is what the lock says, at level 1" in desk.run("verify", desk.ref)
    assert "at level 2" in desk.run("verify", desk.ref, "--key", "ci.pub")
    assert "at level 3" in desk.run("verify", desk.ref, "--key", "ci.pub", "--level", "3")
    assert desk.run("diff", "small", desk.ref) == "no difference\n"


def test_a_policy_is_held(desk):
    desk.run("keys", "new", "ci")
    desk.run("push", "small", desk.ref, "--key", "ci.key")
    policy = desk.folder / "policy.yaml"
    policy.write_text("key: ci.pub\nrequired: [provenance, sbom, signature]\nmax_age_days: 1\n")
    assert "at level 2" in desk.run("verify", desk.ref, "--policy", "policy.yaml")
    policy.write_text("key: ci.pub\nrequired: [test-result]\n")
    found = desk.run("verify", desk.ref, "--policy", "policy.yaml", status=9)
    assert "NOT what the lock says" in found
    assert "none by this key about this image" in found


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("required: [sbm]\n", "policy.yaml:1:12: unknown evidence 'sbm'"),
        ("requires: [sbom]\n", "policy.yaml:1:1: unknown key 'requires'"),
        ("required: sbom\n", "policy.yaml:1:1: expected a list"),
        ("max_age_days: 0\n", "policy.yaml:1:1: expected a number of days"),
        ("key: 7\n", "policy.yaml:1:1: expected a file"),
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


def test_the_lock_is_found_by_the_image_s_label_or_named(desk):
    desk.run("push", "small", desk.ref)
    path = "lockfiles/pylock.small.toml"
    desk.run("verify", desk.ref, "--lock", path)
    (desk.folder / path).rename(desk.folder / "elsewhere.toml")
    desk.run("verify", desk.ref, status=5)
    desk.run("verify", desk.ref, "--lock", "elsewhere.toml")
