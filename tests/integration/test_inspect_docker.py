"""`envbuilder inspect` of an image that a real Docker Engine holds (`make engine`)."""

import json
import subprocess
import sys

import pytest

from envbuilder.model.progress import Silent
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from tests.integration.other_engines import docker
from tests.integration.tiny_image import tiny_image

pytestmark = [pytest.mark.integration, pytest.mark.docker]
NAME = "envbuilder-test/inspect:1"


def test_a_cache_in_dockers_image_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("ENVBUILDER_CACHE", str(tmp_path / "store"))
    store = Store.default()
    image = tiny_image(store, layers=[{"srv/.cache/uv/x": b"12345"}])
    archive = export(image, store, f"{tmp_path}/image.tar", name=NAME, progress=Silent())
    docker("image", "load", "--input", str(archive))
    try:
        command = [sys.executable, "-m", "envbuilder", "inspect", f"docker:{NAME}", "--no-waste"]
        done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=False)
    finally:
        docker("image", "rm", NAME)
    assert done.returncode == 8, done.stderr
    found = json.loads(done.stdout)
    assert found["waste"] == 5
    assert [cache["tool"] for layer in found["layers"] for cache in layer["caches"]] == ["uv"]
