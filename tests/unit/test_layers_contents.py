"""What layers hold, and what a stack of them shows."""

import io
import json

import pytest

from envbuilder.layers.contents import (
    Contents,
    Distribution,
    LayerFile,
    cache_of,
    hidden,
    scan,
    stacked,
)
from envbuilder.layers.untar import untar_stream
from envbuilder.model.reference import Digest
from tests.servers.samples import tar_of

PLAIN = "application/vnd.oci.image.layer.v1.tar"


def layer(files: dict[str, bytes], *, hashed: bool = False) -> Contents:
    tar = tar_of(files)
    with untar_stream(io.BytesIO(tar), PLAIN, Digest.of(tar), "x", size=len(tar)) as opened:
        return scan(opened, hashed=hashed)


def test_files_are_listed_with_size_and_mode():
    found = layer({"./a/b": b"123", "/c": b""}).files
    assert {path: (file.kind, file.size, file.mode) for path, file in found.items()} == {
        "a/b": ("file", 3, 0o644),
        "c": ("file", 0, 0o644),
    }


def test_files_are_hashed_where_that_is_asked_for():
    assert layer({"a": b"123"}, hashed=True).files["a"].sha256 == Digest.of(b"123")
    assert layer({"a": b"123"}).files["a"].sha256 is None


def test_whiteouts_hide_what_lies_below():
    shown = stacked(
        [
            layer({"a/x": b"1", "a/y/z": b"1", "b/x": b"1", "c": b"1"}),
            layer({"a/.wh.y": b"", "b/.wh..wh..opq": b"", "b/new": b"1", ".wh.c": b""}),
        ]
    )
    assert sorted(shown.files) == ["a/x", "b/new"]


def test_a_whiteout_does_not_reach_its_own_layer_or_those_above():
    shown = stacked([layer({"a": b"1"}), layer({".wh.a": b""}), layer({"a": b"2"})])
    assert shown.files["a"].size == 1


def test_a_file_in_place_of_a_folder_hides_it():
    shown = stacked([layer({"a/x": b"1"}), layer({"a": b"1"})])
    assert "a/x" in layer({"a/x": b"1"}).files
    assert sorted(shown.files) == ["a"]


def test_a_name_that_only_starts_alike_stays():
    shown = stacked([layer({"ab/x": b"1", "a/x": b"1"}), layer({".wh.a": b""})])
    assert sorted(shown.files) == ["ab/x"]


def test_a_cover_is_of_all_that_lies_above():
    opaque, whiteout = layer({"a/.wh..wh..opq": b""}), layer({".wh.b": b""})
    plain = layer({"c": b"1", "d/x": b"1"})
    for order in ([opaque, whiteout, plain], [plain, opaque, whiteout]):
        gone = ["a/x", "a/y/z", "b", "b/x", "c", "c/x", "d/x"]
        below = layer(dict.fromkeys([*gone, "a", "ab", "d", "d/y", "e"], b""))
        assert hidden([below, *order]) == [set(gone), *[set()] * 3]


def test_folders_and_files_take_each_others_place():
    folder = LayerFile(kind="dir", mode=0o755, size=0)
    folders = Contents(files={"a": folder, "b": folder})
    layers = [layer({"a": b"1", "b/x": b"1"}), folders, folders, layer({"b": b"1"})]
    assert hidden(layers) == [{"a", "b/x"}, {"b"}, {"b"}, set()]
    shown = stacked(layers).files
    assert {path: file.kind for path, file in shown.items()} == {"a": "dir", "b": "file"}


def test_all_is_hidden_that_lies_below_an_opaque_root():
    assert hidden([layer({"a": b"", "b/c": b""}), layer({".wh..wh..opq": b""})]) == [
        {"a", "b/c"}, set(),
    ]  # fmt: skip


def test_python_packages_and_their_commits():
    origin = {"url": "x", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}
    foo = "opt/site-packages/Foo_Bar-1.0.dist-info"
    found = layer(
        {
            f"{foo}/METADATA": b"Name: Foo_Bar\nVersion: 1.0\n\nName: no\n",
            f"{foo}/direct_url.json": json.dumps(origin).encode(),
            "usr/lib/python3/dist-packages/old.egg-info/PKG-INFO": b"Name: old\nVersion: 2\n",
            "opt/site-packages/broken-1.dist-info/METADATA": b"\xff\xfe\x00",
            "opt/site-packages/a/_vendor/no-1.dist-info/METADATA": b"Name: no\nVersion: 1\n",
        }
    )
    assert found.distributions() == (
        Distribution(kind="python", name="foo-bar", version="1.0", commit="c0ffee"),
        Distribution(kind="python", name="old", version="2"),
    )


def test_a_package_is_there_until_a_layer_removes_it():
    metadata = {"site-packages/x-1.dist-info/METADATA": b"Name: x\nVersion: 1\n"}
    other, gone = (
        layer({"site-packages/y.py": b""}),
        layer({"site-packages/.wh.x-1.dist-info": b""}),
    )
    x = (Distribution(kind="python", name="x", version="1"),)
    assert stacked([layer(metadata), other]).distributions() == x
    assert stacked([layer(metadata), other, gone]).distributions() == ()
    assert stacked([layer(metadata), gone, layer(metadata)]).distributions() == x


@pytest.mark.parametrize(
    "origin",
    [
        b"",
        b"{",
        b"[]",
        b'{"vcs_info": 1}',
        b'{"dir_info": {}}',
        b"[" * 100_000,
        b'{"vcs_info": {"commit_id": ' + b"1" * 5000 + b"}}",
        b'{"vcs_info": {"commit_id": "\\ud800"}}',
        b'{"vcs_info": {"commit_id": "' + b"a" * 5000 + b'"}}',
        b'{"vcs_info": {"commit_id": null}}',
    ],
)
def test_a_package_from_elsewhere_has_no_commit(origin):
    folder = "site-packages/x-1.dist-info"
    files = {f"{folder}/METADATA": b"Name: x\nVersion: 1\n", f"{folder}/direct_url.json": origin}
    (found,) = layer(files).distributions()
    assert found.commit == ""


def test_debian_packages_that_are_installed():
    status = (
        b"Package: a\nStatus: install ok installed\nVersion: 1:2-3\nDescription: x\n y\n\n"
        b"Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\n"
    )
    found = layer({"var/lib/dpkg/status": status, "var/lib/dpkg/status-old": status})
    assert found.distributions() == (Distribution(kind="deb", name="a", version="1:2-3"),)


def test_distroless_images_have_one_status_file_for_each_package():
    text = b"Package: base-files\nVersion: 12\n"
    found = layer({"var/lib/dpkg/status.d/base-files": text})
    assert found.distributions() == (Distribution(kind="deb", name="base-files", version="12"),)


@pytest.mark.parametrize(
    ("path", "tool"),
    [
        ("root/.cache/pip/http/a", "pip"),
        ("home/me/.cache/uv/x", "uv"),
        ("root/.cache/huggingface/hub/x", "huggingface"),
        ("var/lib/apt/lists/deb.example_dists_Packages", "apt"),
        ("var/lib/apt/lists/lock", None),
        ("var/cache/apt/archives/x_1_amd64.deb", "apt"),
        ("var/cache/apt/pkgcache.bin", "apt"),
        ("app/.cache/pip/x", "pip"),
        (".cache/pip/x", "pip"),
        ("tmp/pip-ephem-wheel-cache/x", "pip"),
        ("workspace/.cache/huggingface/hub/blobs/x", "huggingface"),
        ("srv/me/.cache/vllm/torch_compile_cache/x", "vllm"),
        ("home/me/.triton/cache/x", "torch"),
        ("root/.nv/ComputeCache/x", "cuda"),
        ("var/cache/apk/APKINDEX.tar.gz", "apk"),
        ("usr/local/cargo/registry/cache/x", "cargo"),
        ("opt/conda/pkgs/x.conda", "conda"),
        ("opt/miniconda3/pkgs/cache/x.json", "conda"),
        ("opt/micromamba/pkgs/x.conda", "conda"),
        ("root/miniforge3/pkgs/x.conda", "conda"),
        ("home/me/.conda/pkgs/x", "conda"),
        ("opt/conda/envs/a/lib/x", None),
        ("opt/venv/lib/python3.13/site-packages/pip/_internal/cache.py", None),
        ("app/cache/pip/x", None),
        ("opt/venv/lib/pip/x", None),
        ("root/.cache/other", None),
    ],
)
def test_caches_are_known_by_their_place(path, tool):
    assert cache_of(path) == tool


def test_the_bytes_of_caches_are_added_up():
    found = layer({"root/.cache/pip/a": b"123", "root/.cache/pip/b": b"4", "root/x": b"5"})
    assert found.caches() == {"pip": 4}


def test_an_image_of_ours_carries_its_lock():
    assert layer({"usr/share/envbuilder/pylock.a.toml": b"lock"}).lock_text() == b"lock"
    assert layer({"usr/share/pylock.a.toml": b"lock"}).lock_text() is None
