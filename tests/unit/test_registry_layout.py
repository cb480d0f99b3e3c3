import json
import os
import subprocess
import sys
from pathlib import Path

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

ROOT = Path(__file__).parents[2]


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


def test_a_folder_with_an_index_that_is_none_is_left_alone(image, store, tmp_path):
    path = export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    (path / "index.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match="no OCI layout of one image"):
        export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())


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


@pytest.mark.parametrize("target", ["oci:{}/out", "{}/out.tar"])
def test_a_damaged_or_missing_blob_leaves_in_no_form(image, store, tmp_path, target):
    blob = store.path(image.layers[0].digest)
    blob.chmod(0o644)
    blob.write_bytes(b"blab")
    for says in ("damaged", "is not in the store"):
        with pytest.raises(BuildError, match=says) as caught:
            export(image, store, target.format(tmp_path), name="x", progress=Silent())
        assert "space" not in caught.value.hint
        assert [path.name for path in tmp_path.iterdir()] == ["store"]
        blob.unlink(missing_ok=True)


def test_writing_to_a_layout_does_not_reach_the_store(image, store, tmp_path):
    path = export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    digest = image.layers[0].digest
    with (path / "blobs" / "sha256" / digest.hex).open("r+b") as file:
        file.write(b"mine")
    assert store.read(digest) == b"blob"


def test_a_layout_behind_a_link_is_replaced_there(image, store, tmp_path):
    export(image, store, f"oci:{tmp_path}/elsewhere/real", name="x", progress=Silent())
    (tmp_path / "link").symlink_to("elsewhere/real")
    export(image, store, f"oci:{tmp_path}/link", name="y", progress=Silent())
    assert (tmp_path / "link").is_symlink()
    index = json.loads((tmp_path / "elsewhere/real/index.json").read_bytes())
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "y"
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["real"]


KILLED = """
import os, signal, sys
from pathlib import Path
from envbuilder.model.image import parse_image
from envbuilder.model.progress import Silent
from envbuilder.registry import layout
from envbuilder.storage import temporary
from envbuilder.storage.store import Store
store, out, calls = Store(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
image, _ = layout.load(Path(out), "linux/amd64")
def count(event, arguments):
    global calls
    if event in {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}:
        if any(str(Path(out).parent) in str(each) for each in arguments):
            calls -= 1
            if not calls:
                os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
layout.export(image, store, f"oci:{out}", name="new", progress=Silent())
"""


def test_killed_at_any_step_of_replacing_a_layout(image, store, tmp_path):
    """Kill before each touch of the target's folder: half a layout is never there."""
    out = tmp_path / "folder" / "out"
    code, step = -9, 0
    while code == -9:
        export(image, store, f"oci:{out}", name="old", progress=Silent())
        assert [path.name for path in out.parent.iterdir()] == ["out"], "what was left is gone"
        step += 1
        command = [sys.executable, "-c", KILLED, store.root, out, str(step)]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        assert not out.exists() or load(out, "linux/amd64")[0] == image
    assert code == 0
    assert step > 8


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


@pytest.mark.parametrize("kind", ["a pipe", "far too large", "a folder"])
@pytest.mark.parametrize("which", ["index", "config", "manifest"])
def test_a_document_that_is_no_file_or_far_too_large(image, store, tmp_path, which, kind):
    """A pipe would never end, and a sparse file costs whoever sends it nothing."""
    folder = export(image, store, f"oci:{tmp_path}/out", name="x", progress=Silent())
    names = {"config": image.config_digest.hex, "manifest": image.digest.hex}
    path = folder / ("index.json" if which == "index" else f"blobs/sha256/{names[which]}")
    path.unlink()
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    why = "has 1099511627776 bytes, more than" if kind == "far too large" else "is no file"
    with pytest.raises(UsageError, match=rf"not an OCI image layout: {path.name} {why}"):
        load(folder, "linux/amd64")
    if which == "index":
        with pytest.raises(UsageError, match="is no OCI layout of one image"):
            export(image, store, f"oci:{folder}", name="x", progress=Silent())


def test_a_folder_that_is_no_layout(tmp_path):
    with pytest.raises(UsageError, match="not an OCI image layout"):
        load(tmp_path, "linux/amd64")
