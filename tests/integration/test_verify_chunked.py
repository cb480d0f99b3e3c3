"""A copy that skopeo made as zstd:chunked is the sealed image, and verify proves its tables."""

import gzip
import os
import subprocess

import pytest

from envbuilder.evidence.verify.findings import FindingStatus, Level
from envbuilder.evidence.verify.remote import verify
from envbuilder.layers.tar import END
from envbuilder.model.image import Layer
from envbuilder.model.image_config import image_settings
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from tests.servers.distribution import registry
from tests.servers.locks import sealed, small_lock
from tests.servers.samples import image_of, tar_of

pytestmark = pytest.mark.integration


def layer(store: Store, files: dict[str, bytes]) -> Layer:
    """Make a layer that ends as ours do: old releases of skopeo drop what follows the end mark."""
    whole = tar_of(files)
    size = sum(512 + len(data) + -len(data) % 512 for data in files.values()) + len(END)
    plain = whole[:size]
    digest = store.add(gzip.compress(plain, mtime=0))
    packed = store.path(digest).stat().st_size
    return Layer(digest=digest, size=packed, diff_id=Digest.of(plain), title="x")


def test_a_real_chunked_copy_is_proven(tmp_path):
    store = Store(tmp_path / "store")
    files = {"opt/a": b"hello", "opt/empty": b"", "opt/big": os.urandom(900_000) + bytes(300_000)}
    layers = [layer(store, files), layer(store, {"opt/b": b"b"})]
    image = image_of(layers, settings=image_settings(small_lock(), {}))
    lock = sealed(small_lock(), image)
    export(image, store, f"oci:{tmp_path / 'layout'}", name="x", progress=Silent())
    with (
        registry(tmp_path / "registry") as server,
        Client(Settings(), docker_config=tmp_path / "none.json") as client,
    ):
        target = f"{server.host}/app:v1"
        subprocess.run(
            ["skopeo", "copy", "--quiet", "--dest-tls-verify=false",
             "--dest-compress-format=zstd:chunked", f"oci:{tmp_path / 'layout'}:x",
             f"docker://{target}"], check=True,
        )  # fmt: skip
        verdict = verify(
            client, ImageRef.parse(target), lock, level=Level.CONTENT, progress=Silent()
        )
    told = [each.explanation for each in verdict.findings]
    assert (verdict.exit_code, verdict.ok) == (0, True), told
    assert sum("its table of contents lists just that" in each for each in told) == 2
    assert verdict.findings[0].status is FindingStatus.NOTE
