"""The image of a lock goes out whole, whatever of it the store had: by the command, as a user."""

from pathlib import Path

import pytest

from envbuilder.registry.layout import load
from tests.command import envbuilder
from tests.servers.scripted import scripted
from tests.unit.test_workflow_build import Desk

ROOT = Path(__file__).parents[2]


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    with scripted(made.answer) as server:
        made.write(server.host)
        yield made


def build(desk: Desk, *arguments: str, code: int = 0) -> str:
    environ = {"ENVBUILDER_CACHE": str(desk.store.root), "DOCKER_CONFIG": "/nowhere"}
    words = ("build", "onimage", "--no-smoke", *arguments)
    return envbuilder(*words, cwd=desk.spec.parents[1], code=code, **environ).stderr


@pytest.mark.parametrize("target", ["oci:out", "out.tar"])
def test_a_base_that_only_the_registry_has_is_fetched_for_an_export(desk, target):
    build(desk, "--output-image", target)
    path = desk.spec.parents[1] / target.removeprefix("oci:")
    if target.startswith("oci:"):
        image, blobs = load(path, "linux/amd64")
        assert {layer.digest for layer in image.layers} >= {desk.base.layers[0].digest}
        assert all((blobs / layer.digest.hex).stat().st_size for layer in image.layers)
    else:
        assert path.stat().st_size > sum(layer.size for layer in desk.base.layers)


def test_without_a_network_the_lack_is_named(desk):
    build(desk)  # which needs no more of the base than its config
    said = build(desk, "--offline", "--output-image", "oci:out", code=10)
    assert "the store lacks layers of" in said
    assert "envbuilder fetch onimage" in said
    assert "space" not in said
    assert not (desk.spec.parents[1] / "out").exists()
