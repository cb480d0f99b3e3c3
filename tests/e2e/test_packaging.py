"""The built wheel works in an empty environment, away from the checkout."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from envbuilder.model.package_spec import Index
from envbuilder.resolve.python.indexes import uv_environment

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the built wheel, and return the folder of its programs."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = find_uv_bin()
    known = uv_environment(Index())  # pip's configuration included
    subprocess.run([uv, "build", "-q", "--wheel", "-o", folder, ROOT], check=True, env=known)
    (wheel,) = folder.glob("gpu_envbuilder-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "envbuilder/templates/spec.yaml" in names
    assert not [name for name in names if name.startswith(("tests/", "lockfiles/"))]
    subprocess.run([uv, "venv", "-q", folder / "venv"], check=True)
    install = [uv, "pip", "install", "-q", "--python", folder / "venv", wheel]
    subprocess.run(install, check=True, env=known)
    return folder / "venv" / "bin"


@pytest.mark.deep
def test_a_starter_spec_is_known_good_as_it_stands(installed, tmp_path):
    envbuilder = installed / "envbuilder"
    subprocess.run([envbuilder, "init", "mine"], cwd=tmp_path, check=True)
    built = subprocess.run(
        [envbuilder, "build", "mine"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "tokens: audio 750, image 16384, video 729" in built.stdout
    again = subprocess.run(
        [envbuilder, "init", "mine"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_the_published_schema_is_current(installed):
    printed = subprocess.run([installed / "envbuilder", "schema"], check=True, capture_output=True)
    published = ROOT / "docs" / "reference" / "spec.schema.json"
    assert json.loads(printed.stdout) == json.loads(published.read_text())


def test_every_command_has_help(installed):
    from envbuilder.cli.app import COMMANDS

    for name in COMMANDS:
        done = subprocess.run(
            [installed / "envbuilder", name, "--help"], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{name}: {done.stderr}"
        assert "Usage: envbuilder" in done.stdout
