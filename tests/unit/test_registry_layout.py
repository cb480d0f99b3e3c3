import json

import pytest

from envbuilder.model.errors import BuildError, UsageError
from envbuilder.model.image import (
    OCI_CONFIG,
    OCI_MANIFEST,
    Image,
    Layer,
    canonical_json,
    parse_image,
)
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.registry.layout import export, load
from envbuilder.storage.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def image(store):
    """An image of one layer whose blob need not be a tar for these tests."""
    layer = Layer(digest=store.add(b"blob"), size=4, diff_id=Digest.of(b"tar"), title="one")
    config = canonical_json(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {"Env": ["A=b"]},
            "history": [{"created_by": "one"}],
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id)]},
        }
    )
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": OCI_CONFIG,
                "digest": str(Digest.of(config)),
                "size": len(config),
            },
            "layers": [{"mediaType": layer.media_type, "digest": str(layer.digest), "size": 4}],
        }
    )
    return Image(manifest=manifest, config=config, layers=(layer,))


def test_what_is_exported_loads_again(image, store, tmp_path):
    path = export(image, store, f"oci:{tmp_path}/out", name="x:latest", progress=Silent())
    found, blobs = load(path, "linux/amd64")
    assert found == image
    assert (blobs / image.layers[0].digest.hex).read_bytes() == b"blob"
    assert parse_image(image.manifest, image.config) == image


def test_exporting_twice_replaces_the_first(image, store, tmp_path):
    for _ in range(2):
        export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


def test_a_folder_of_something_else_is_left_alone(image, store, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="no OCI layout"):
        export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_what_lies_beside_a_layout_is_not_lost(image, store, tmp_path):
    export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="no OCI layout of one image"):
        export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_a_layout_of_several_images_is_left_alone(image, store, tmp_path):
    path = export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    index = json.loads((path / "index.json").read_bytes())
    index["manifests"] *= 2
    (path / "index.json").write_bytes(json.dumps(index).encode())
    with pytest.raises(UsageError, match="no OCI layout of one image"):
        export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())


def test_an_archive_does_not_take_the_place_of_a_folder(image, store, tmp_path):
    (tmp_path / "out.tar").mkdir()
    with pytest.raises(UsageError, match=r"out\.tar is a folder"):
        export(image, store, str(tmp_path / "out.tar"), name="x", progress=Silent())
    assert (tmp_path / "out.tar").is_dir()


def test_a_place_that_cannot_be_is_refused(image, store, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot write"):
        export(image, store, f"oci:{tmp_path}/file/x", name="x", progress=Silent())


def test_a_damaged_blob_gets_into_no_archive(image, store, tmp_path):
    blob = store.path(image.layers[0].digest)
    blob.chmod(0o644)
    blob.write_bytes(b"blab")
    with pytest.raises(BuildError, match="damaged"):
        export(image, store, str(tmp_path / "out.tar"), name="x", progress=Silent())
    assert not (tmp_path / "out.tar").exists()


def test_two_archives_are_the_same_bytes(image, store, tmp_path):
    paths = [
        export(image, store, str(tmp_path / f"{n}.tar"), name="x", progress=Silent())
        for n in range(2)
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("target", ["out", "docker:x", "out.tar.gz"])
def test_an_unknown_target_is_refused(image, store, target):
    with pytest.raises(UsageError, match="no image target"):
        export(image, store, target, name="x", progress=Silent())


def test_a_tampered_layout_is_refused(image, store, tmp_path):
    path = export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    config = path / "blobs" / "sha256" / image.config_digest.hex
    config.write_bytes(config.read_bytes().replace(b"A=b", b"A=c"))
    with pytest.raises(UsageError, match="holds other bytes"):
        load(path, "linux/amd64")


def test_the_platform_is_chosen_from_the_index(image, store, tmp_path):
    path = export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    index = json.loads((path / "index.json").read_bytes())
    entry = index["manifests"][0]
    other = entry | {"digest": f"sha256:{'0' * 64}"}
    index["manifests"] = [
        other | {"platform": {"os": "linux", "architecture": "arm64"}},
        entry | {"platform": {"os": "linux", "architecture": "amd64"}},
    ]
    (path / "index.json").write_text(json.dumps(index))
    assert load(path, "linux/amd64")[0] == image
    with pytest.raises(UsageError, match="no image for linux/s390x"):
        load(path, "linux/s390x")


def test_an_index_that_names_itself_ends(image, store, tmp_path):
    path = export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    body = json.dumps({"manifests": []}).encode()
    digest = Digest.of(body)
    (path / "blobs" / "sha256" / digest.hex).write_bytes(body)
    entry = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": str(digest)}
    (path / "index.json").write_text(json.dumps({"manifests": [entry]}))
    with pytest.raises(UsageError, match="lists no image"):
        load(path, "linux/amd64")


def test_a_folder_that_is_no_layout(tmp_path):
    with pytest.raises(UsageError, match="not an OCI image layout"):
        load(tmp_path, "linux/amd64")
