"""`envbuilder inspect` of an image that a real Docker Engine holds (`make engine`)."""

import json

import pytest

from envbuilder.model.progress import Silent
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from tests.command import envbuilder
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
        done = envbuilder("inspect", f"docker:{NAME}", "--no-waste", "-o", "json", code=8)
    finally:
        docker("image", "rm", NAME)
    found = json.loads(done.stdout)
    assert found["waste"] == 5
    assert [cache["tool"] for layer in found["layers"] for cache in layer["caches"]] == ["uv"]
