"""Spec -> lock -> image -> smoke -> seal -> ledger, through the command line."""

import json
import os
import shutil
import subprocess
import tarfile
import tomllib

import pytest
from packaging.pylock import Pylock
from uv import find_uv_bin

pytestmark = [pytest.mark.integration]


def sealed(checkout):
    return tomllib.loads(checkout.lock.read_text())["tool"]["envbuilder"]["seal"]


def test_the_lock_is_standard_sealed_and_names_no_host(small):
    text = small.lock.read_text()
    pylock = Pylock.from_dict(tomllib.loads(text))
    assert [package.name for package in pylock.packages] == ["six", "tqdm"]
    assert "://" not in text
    assert sealed(small)["manifest"].startswith("sha256:")


def test_the_ledger_knows_the_image_is_good(small):
    lines = (small.folder / "lockfiles" / "small.ledger.jsonl").read_text().splitlines()
    entry = json.loads(lines[0])
    assert entry["good"] is True
    assert entry["image"] == sealed(small)["manifest"]


def test_the_report_is_written(small):
    report = json.loads((small.folder / "report.json").read_text())
    assert report["verdict"] == "pass"
    names = {check["name"] for check in report["checks"]}
    assert {"environment.packages", "environment.files", "caches"} <= names
    page = (small.folder / "report.html").read_text()
    layers = page[page.index("<h2>Layers</h2>") :]
    by_size = sorted(sealed(small)["layers"], key=lambda layer: -layer["size"])
    assert all(layer["title"] in layers for layer in by_size[:20])
    assert f"{len(by_size) - 20} smaller ones" in layers
    assert "tqdm" in page[page.index("<h2>Environment</h2>") :]


def test_the_image_knows_what_it_needs_to_start(small):
    told = json.loads((small.folder / "report.json").read_text())["start"]
    assert told["by"] == ["import.six", "import.tqdm"]
    assert 0 < told["bytes"] < told["of"]
    page = (small.folder / "report.html").read_text()
    assert f"A start needs {told['bytes'] / 1e6:.0f} of" in page
    recorded = (small.folder / "lockfiles" / "small.start.json").read_text()
    assert str(small.folder) not in recorded
    found = small.json("inspect", "small", "--start")["start"]
    layers = {each["title"]: each for each in found["layers"]}
    assert layers["tqdm 4.67.1"]["bytes"] > layers["six 1.17.0"]["bytes"] > 30_000
    assert found["bytes"] > 5_000_000, "the interpreter and the C library"
    assert found["bytes"] == told["bytes"]
    assert any("perl-base" in name for name in found["untouched"])


def test_a_second_build_changes_nothing(small):
    before = small.lock.read_bytes()
    again = small.json("build", "small", "--locked", "--offline", "--no-smoke")
    assert again["image"] == sealed(small)["manifest"]
    assert small.lock.read_bytes() == before


def test_lock_says_whether_anything_changed(small, tmp_path):
    other = small.copy(tmp_path / "relocked")
    before = other.lock.read_bytes()
    assert other.run("lock", "small").stdout.endswith(" MB; as before\n")
    assert other.lock.read_bytes() == before
    other.lock.unlink()
    assert other.run("lock", "small").stdout.endswith(" MB; new\n")


def test_a_locked_build_is_what_was_sealed_or_fails(small, tmp_path):
    other = small.copy(tmp_path)
    text = other.lock.read_text().replace(sealed(small)["manifest"], "sha256:" + "0" * 64)
    other.lock.write_text(text)
    done = other.run("build", "small", "--locked", "--offline", "--no-smoke", code=5)
    assert "is sealed as sha256:000" in done.stderr
    assert f"this build gave {sealed(small)['manifest']}" in done.stderr
    assert other.lock.read_text() == text


def test_the_image_runs_what_the_lock_says(small):
    """The layout is read by a stranger: umoci unpacks it, and the config is as asked."""
    inspected = subprocess.run(
        ["skopeo", "inspect", "--config", f"oci:{small.folder}/layout:small:latest"],
        capture_output=True,
        check=True,
    )
    config = json.loads(inspected.stdout)["config"]
    assert "GREETING=hello, world" in config["Env"]
    assert config["Labels"]["org.example.team"] == "tests"
    assert config["Labels"]["org.opencontainers.image.title"] == "small"
    assert config["Labels"]["dev.gpu-envbuilder.lock"].startswith("sha256:")


def test_skopeo_copies_the_layout_and_keeps_its_digest(small, tmp_path):
    source, target = f"oci:{small.folder}/layout:small:latest", f"dir:{tmp_path}/copy"
    subprocess.run(["skopeo", "copy", "-q", "--preserve-digests", source, target], check=True)
    manifest = (tmp_path / "copy" / "manifest.json").read_bytes()
    digest = subprocess.run(
        ["skopeo", "manifest-digest", "/dev/stdin"], input=manifest, capture_output=True, check=True
    )
    assert digest.stdout.decode().strip() == sealed(small)["manifest"]


def test_umoci_unpacks_the_layout(small, tmp_path):
    shutil.copytree(small.folder / "layout", tmp_path / "layout")
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    # umoci takes no colon in a tag, so it gets a name of its own.
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "small"
    (tmp_path / "layout" / "index.json").write_text(json.dumps(index))
    subprocess.run(
        ["umoci", "raw", "unpack", "--image", f"{tmp_path}/layout:small", tmp_path / "rootfs"],
        check=True,
        capture_output=True,
    )
    root = tmp_path / "rootfs"
    assert (root / "opt/venv/lib/python3.13/site-packages/tqdm/__init__.py").is_file()
    assert (root / "usr/share/envbuilder/pylock.small.toml").is_file()
    assert str((root / "opt/venv/bin/python").readlink()) == "/usr/bin/python3.13"


def test_gnu_tar_reads_each_layer(small):
    for layer in sealed(small)["layers"]:
        blob = small.folder / "layout/blobs/sha256" / layer["digest"].removeprefix("sha256:")
        listed = subprocess.run(["tar", "tzf", blob], capture_output=True, check=True)
        assert listed.stdout


def test_docker_loads_the_archive_and_runs_it(small, small_in_docker, tmp_path):
    archive = tmp_path / "small.tar"
    small.run("build", "small", "--locked", "--no-smoke", "--output-image", str(archive))
    with tarfile.open(archive) as opened:
        names = opened.getnames()
        manifest = json.load(opened.extractfile("manifest.json"))
    assert {"index.json", "oci-layout", "manifest.json"} <= set(names)
    assert set(manifest[0]["Layers"]) <= set(names)
    docker("load", "--quiet", "--input", archive)
    printed = docker(
        "run", "--rm", "--network", "none", small_in_docker,
        "python", "-c", "import os, six, tqdm; print(tqdm.__version__, os.environ['GREETING'])",
    )  # fmt: skip
    assert printed == "4.67.1 hello, world\n"
    assert docker("inspect", "--format", "{{.Id}}", small_in_docker).strip() in {
        sealed(small)["manifest"],  # what containerd's image store calls an image
        sealed(small)["config"],  # what Docker's older one does
    }


def docker(*arguments):
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_other_machine_same_bytes(small, tmp_path):
    """Another store, umask, time zone, language, hash seed, home and path: one digest.

    The other machine has no network after its fetch.
    """
    other = small.elsewhere(tmp_path / "ein anderer Pfad")
    other.run("fetch", "small", "--no-wheels")
    home = tmp_path / "home"
    home.mkdir()
    old = os.umask(0o077)
    try:
        built = other.json(
            "build", "small", "--no-smoke", "--locked", "--offline",
            TZ="Pacific/Kiritimati", LANG="tr_TR.UTF-8", LC_ALL="C", PYTHONHASHSEED="7",
            HOME=str(home),
        )  # fmt: skip
    finally:
        os.umask(old)
    assert built["image"] == sealed(small)["manifest"]


def test_fetch_lets_uv_install_from_the_lock_without_a_network(small, tmp_path):
    small.run("fetch", "small")
    wheels = small.folder / "lockfiles" / "wheels"
    assert sorted(path.name.split("-")[0] for path in wheels.iterdir()) == ["six", "tqdm"]
    # This machine's Python need not be the environment's; these two wheels fit any.
    text = small.lock.read_text().replace("==3.13.*", ">=3.11")
    lock = wheels.parent / "pylock.any.toml"
    lock.write_text(text)
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "-q", tmp_path / "venv"], check=True)
    subprocess.run(
        [uv, "pip", "sync", "-q", "--offline", "--no-index", "--python", tmp_path / "venv", lock],
        check=True,
        env={**os.environ, "UV_PREVIEW": "1", "UV_CACHE_DIR": str(tmp_path / "cache")},
    )
    lock.unlink()
    assert list((tmp_path / "venv").glob("lib/python3.*/site-packages/tqdm/__init__.py"))
