"""The rendered folder without envbuilder: Debian, pip and uv from where anybody has them.

`make engine`; real mirrors and indexes. Only ``debian:trixie`` is replaced: no test can pull it.
"""

import pytest

from envbuilder.engines.docker import build_target
from envbuilder.model.progress import Silent
from envbuilder.registry.layout import export, load
from envbuilder.resolve.debian.archives import debian_archives
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.integration.docker_light import Light
from tests.integration.test_docker_same_tree import comparable, tree

pytestmark = [pytest.mark.integration, pytest.mark.docker, pytest.mark.deep]

BOOTSTRAP = """\
version: 1
name: bootstrap
python: "3.13"
base: {debian: trixie}
system: {packages: [apt, ca-certificates, debian-archive-keyring, python3]}
packages: {}
steps: {before_python: ["cat >/etc/apt/sources.list <<'END'\\nSOURCES\\nEND"]}
"""
SPEC = """\
version: 1
name: alone
python: "3.13"
base: {debian: trixie}
system: {packages: [python3]}
packages: {six: "==1.17.0"}
"""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@pytest.fixture
def store(trixie, tmp_path):
    return trixie(tmp_path / "store")


def lock(name, text, store, folder):
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return lock_environment(context(store), path)


def sources():
    """Name this machine's Debian mirrors as lines of sources.list."""
    return "\\n".join(
        f"deb [signed-by={KEYRING}] {archive.uri} {suite} {' '.join(archive.components)}"
        for archive in debian_archives("trixie")
        for suite in archive.suites
    )


def test_the_rendered_folder_alone_gives_the_same_tree(store, tmp_path):
    made = lock("bootstrap", BOOTSTRAP.replace("SOURCES", sources()), store, tmp_path)
    debian = build_target(context(store), made, "system")
    place = export(debian, store, f"oci:{tmp_path}/debian", name="x", progress=Silent())

    wanted = lock("alone", SPEC, store, tmp_path)
    embedded = make_image(context(store), wanted)
    alone = Light(
        folder=tmp_path, contexts={"bootstrap": f"oci-layout://{place}@{debian.digest}"}
    ).build(wanted)
    _, blobs = load(tmp_path / "image", "linux/amd64")
    for layer in alone.layers:
        store.adopt(blobs / layer.digest.hex, layer.digest)
    assert tree(store, alone) == tree(store, embedded)
    # BuildKit's own word on Windows, and on what comes FROM scratch.
    settings = dict(alone.settings)
    assert (settings.pop("ArgsEscaped"), settings.pop("WorkingDir")) == (True, "/")
    assert comparable(settings) == comparable(embedded.settings)
