"""Specs from images: layouts of our own, with the documents that real images hold."""

import pytest

from envbuilder.model.errors import UsageError
from envbuilder.model.progress import Silent
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store
from envbuilder.workflow.adopt.fold import Target, fold
from envbuilder.workflow.adopt.image import read_image
from tests.contexts import open_here
from tests.integration.tiny_image import image_of
from tests.servers.samples import tar_of

SITE = "usr/local/lib/python3.11/site-packages"
STATUS = """\
Package: base-files
Status: install ok installed
Priority: required
Version: 12.4

Package: ffmpeg
Status: install ok installed
Priority: optional
Version: 7:5.1.6-0+deb12u1
Description: tools
 more lines: of it

Package: libavcodec59
Status: install ok installed
Priority: optional
Version: 7:5.1.6-0+deb12u1

Package: gone
Status: deinstall ok config-files
Priority: optional
Version: 1
"""
AUTO = "Package: libavcodec59\nArchitecture: amd64\nAuto-Installed: 1\n"
BOOKWORM = 'ID=debian\nVERSION_CODENAME=bookworm\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n'
JAMMY = 'ID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n'
CUDA = ["CUDA_VERSION=12.4.1", "NV_CUDA_CUDART_VERSION=12.4.127-1", "NV_CUDA_LIB_VERSION=12.4.1-1"]


def metadata(name, version, *requires, site=SITE):
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}\n"
    return {f"{site}/{name}-{version}.dist-info/METADATA": text.encode()}


def system(os_release=BOOKWORM):
    return {
        "etc/os-release": os_release.encode(),
        "var/lib/dpkg/status": STATUS.encode(),
        "var/lib/apt/extended_states": AUTO.encode(),
    }


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write an image of layers to a layout, and read that: the spec, and what is left."""
    monkeypatch.setenv("ENVBUILDER_CACHE", str(tmp_path / "store"))
    store = Store.default()

    def run(*layers, config=None, pin=False):
        image = image_of(store, [tar_of(files) for files in layers], config=config or {})
        target = f"oci:{tmp_path}/layout-{image.digest.hex[:8]}"
        export(image, store, target, name="x", progress=Silent())
        with open_here(target, store) as opened:
            contents = opened.contents(Silent())
        found = fold(read_image("x", opened.image, contents, pin=pin), Target(folder=tmp_path))
        return found.spec, {each.at.text: each.left for each in found.left}

    return run


def test_an_image_gives_its_packages_its_system_and_how_it_runs(read):
    config = {
        "Env": ["PATH=/opt/venv/bin:/usr/bin", "HF_HOME=/models", "HF_TOKEN=hunter2"],
        "User": "1000", "WorkingDir": "/srv", "Entrypoint": ["serve"], "Cmd": ["--port", "80"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}},
        "StopSignal": "SIGINT", "Labels": {"team": "x", "org.opencontainers.image.created": "now"},
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30 * 10**9, "Retries": 3},
    }  # fmt: skip
    packages = metadata("aa", "1.0", "bb") | metadata("bb", "2.0") | metadata("pip", "25.0")
    spec, left = read(system(), packages, config=config)
    assert spec["python"] == "3.11"
    assert spec["base"] == {"debian": "bookworm"}
    assert spec["system"]["packages"] == ["ffmpeg", "ca-certificates", "libstdc++6", "python3"]
    assert spec["packages"] == {"aa": "==1.0"}
    assert spec["env"] == {"HF_HOME": "/models"}
    assert spec["labels"] == {"team": "x"}
    assert spec["healthcheck"] == {
        "command": ["/bin/sh", "-c", "true"],
        "interval": 30,
        "retries": 3,
    }
    ran = [spec[key] for key in ("user", "workdir", "entrypoint", "cmd", "expose", "volumes")]
    assert ran == ["1000", "/srv", ["serve"], ["--port", "80"], [80], ["/data"]]
    assert left.keys() == {"ENV HF_TOKEN=…", "EXPOSE 53/udp"}


def test_pinned_it_holds_every_version(read):
    packages = metadata("aa", "1.0", "bb") | metadata("bb", "2.0")
    spec, _ = read(system(), packages, pin=True)
    assert spec["packages"] == {"aa": "==1.0"}
    assert spec["constraints"] == {"bb": "==2.0"}
    assert spec["system"]["packages"][0] == "ffmpeg=7:5.1.6-0+deb12u1"


def test_what_an_upper_layer_removes_is_not_there(read):
    first = metadata("aa", "1.0") | metadata("bb", "1.0")
    spec, _ = read(system(), first, {f"{SITE}/.wh.bb-1.0.dist-info": b""})
    assert spec["packages"] == {"aa": "==1.0"}


def test_what_pip_left_behind_is_no_package(read):
    files = metadata("numpy", "2.0") | {
        f"{SITE}/~umpy-1.26.3.dist-info/METADATA": b"Name: numpy\nVersion: 1.26.3\n"
    }
    spec, left = read(system(), files)
    assert spec["packages"] == {"numpy": "==2.0"}
    assert not left


def test_what_git_and_requested_say_counts(read):
    requested = {f"{SITE}/bb-2.0.dist-info/REQUESTED": b""}
    origin = (
        b'{"url": "https://g.example.com/aa", "vcs_info": {"vcs": "git", "commit_id": "abcdef0"}}'
    )
    git = {f"{SITE}/aa-1.0.dist-info/direct_url.json": origin}
    files = metadata("aa", "1.0") | metadata("bb", "2.0") | requested | git
    spec, _ = read(system(), files, pin=True)
    assert spec["packages"] == {
        "aa": {"git": "https://g.example.com/aa", "commit": "abcdef0"}, "bb": "==2.0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("release", "config", "minor", "base"),
    [
        (JAMMY, {"Env": CUDA}, "3.10", {"image": "nvidia/cuda:12.4.1-runtime-ubuntu22.04"}),
        (JAMMY, {}, "3.10", {"image": "ubuntu:22.04"}),
        (BOOKWORM, {}, "3.12", {"debian": "bookworm"}),
        (BOOKWORM, {}, "3.8", {"image": "python:3.8-slim", "python": "/usr/local/bin/python3.8"}),
        ("ID=debian\nVERSION_CODENAME=forky\n", {}, "3.12", {"debian": "forky"}),
        ("ID=debian\nVERSION_CODENAME=forky\n", {}, "3.8",
         {"image": "python:3.8-slim", "python": "/usr/local/bin/python3.8"}),
        (BOOKWORM, {"Labels": {"org.opencontainers.image.base.name": "debian:trixie"}}, "3.13",
         {"debian": "trixie"}),
        ("ID=almalinux\nVERSION_ID=9.4\n", {}, "3.12", {"image": "almalinux:9.4"}),
    ],
)  # fmt: skip
def test_what_an_image_stands_on(read, release, config, minor, base):
    site = f"usr/local/lib/python{minor}/site-packages"
    spec, _ = read(system(release), metadata("aa", "1.0", site=site), config=config)
    assert spec["base"] == base
    assert spec["python"] == minor


def test_only_a_line_feed_ends_a_line_of_the_system(read):
    files = system(BOOKWORM.replace("Debian 12", "Debian\u2028VERSION_CODENAME=trixie\x0cID=x"))
    status = STATUS.replace("tools", "tools\x85Version: 9\u2028Status: gone")
    files["var/lib/dpkg/status"] = status.encode()
    spec, _ = read(files, metadata("aa", "1.0"), pin=True)
    assert spec["base"] == {"debian": "bookworm"}
    assert spec["system"]["packages"][0] == "ffmpeg=7:5.1.6-0+deb12u1"


def test_a_second_environment_is_left(read):
    files = metadata("aa", "1.0") | metadata("bb", "1.0")
    other = metadata("cc", "1.0", site="opt/tool/lib/python3.11/site-packages")
    spec, left = read(system(), files, other)
    assert spec["packages"].keys() == {"aa", "bb"}
    assert left == {"cc-1.0.dist-info": f"lies outside of /{SITE}"}


def test_an_image_without_python_is_refused(read):
    with pytest.raises(UsageError, match="holds no Python packages"):
        read(system())
