"""``smoke`` of one small image, wherever it is: by NAME, as a layout, an archive, in a registry."""

import json
import subprocess

import pytest

from tests.servers.distribution import registry

pytestmark = [pytest.mark.integration]


@pytest.fixture(scope="module")
def targets(small, tmp_path_factory):
    """Put the small image into an archive, and into a registry; give each kind's address."""
    folder = tmp_path_factory.mktemp("targets")
    layout, archive = small.folder / "layout", folder / "small.tar"
    small.run("build", "small", "--locked", "--no-smoke", "--output-image", str(archive))
    with registry(folder / "registry") as server:
        ref = f"{server.host}/small:v1"
        copy = ["skopeo", "copy", "-q", "--dest-tls-verify=false", "--preserve-digests"]
        subprocess.run([*copy, f"oci:{layout}:small:latest", f"docker://{ref}"], check=True)
        yield {"layout": f"oci:{layout}", "archive": str(archive), "registry": ref}


def _checks(report):
    return {check["name"]: check["status"] for check in report["checks"]}


def test_an_environment_of_ours_is_smoked_by_its_name(small):
    report = small.json("smoke", "small")
    assert report["verdict"] == "pass"
    assert report["subject"] == "small"


@pytest.mark.parametrize("kind", ["layout", "archive", "registry"])
def test_an_image_is_smoked_where_it_is(small, targets, kind, tmp_path):
    page = tmp_path / "report.html"
    report = small.json("smoke", targets[kind], "--lock", "small", "--report", str(page))
    assert report["verdict"] == "pass"
    assert _checks(report)["environment.packages"] == "pass"
    layers = page.read_text().partition("<h2>Layers</h2>")[2]
    assert "tqdm 4.67.1" in layers


def test_an_image_in_docker_is_smoked(small, small_in_docker, targets):
    subprocess.run(["docker", "load", "--quiet", "--input", targets["archive"]], check=True)
    report = small.json("smoke", f"docker:{small_in_docker}", "--lock", "small")
    assert report["verdict"] == "pass"


def test_a_lock_that_the_image_is_not_of_is_red(small, targets):
    other = small.folder / "lockfiles" / "pylock.other.toml"
    other.write_text(small.lock.read_text().replace('"4.67.1"', '"4.67.0"'))
    try:
        done = small.run("smoke", targets["layout"], "--lock", str(other), code=8)
    finally:
        other.unlink()
    assert "but 4.67.1 is what Python imports" in done.stdout


def test_without_a_lock_the_options_say_what_to_count(small, targets):
    asked = ("--python", "/opt/venv/bin/python", "--family", "llava", "--tokens", "image=576")
    done = small.run("smoke", targets["layout"], *asked, "--output", "json", code=8)
    report = json.loads(done.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["environment.packages"]["status"] == "skip"
    assert checks["tokens.image"]["explanation"] == "torch is not installed"
    assert checks["environment.files"]["status"] == "pass"


def test_a_model_in_a_folder_is_looked_for_on_this_machine(small, targets, tmp_path):
    done = small.run("smoke", targets["layout"], "--model", str(tmp_path), code=8)
    assert f"{tmp_path} is not a model directory" in done.stderr
