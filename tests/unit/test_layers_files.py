"""Layers of given files: the environment's skeleton, metadata."""

import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from envbuilder.layers.files import Content, Link, files_layer, venv_skeleton
from envbuilder.layers.install import Target
from envbuilder.model.errors import BuildError, UsageError
from envbuilder.storage.store import Store


def test_files_links_and_parents(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = {
        "/usr/share/x": Content(data=b"x" * 200_000, mode=0o755),
        "/usr/bin/x": Link(target="../share/x"),
        "/etc/x.conf": Content(data=b""),
    }
    made = files_layer(store, files, title="files")
    assert made == files_layer(store, dict(reversed(files.items())), title="files")
    assert made.title == "files"
    with tarfile.open(store.path(made.digest)) as archive:
        found = {each.name: each for each in archive.getmembers()}
        file = archive.extractfile("usr/share/x")
        assert file is not None
        assert file.read() == b"x" * 200_000
    folders = ["etc", "usr", "usr/bin", "usr/share"]
    assert list(found) == [*folders, "etc/x.conf", "usr/bin/x", "usr/share/x"]
    assert found["usr/share/x"].mode == 0o755
    assert found["usr/bin/x"].linkname == "../share/x"


@pytest.mark.parametrize("path", ["/d" * 130, "/" + "あ/" * 1023 + "x"])
def test_a_path_that_no_layer_may_have(tmp_path: Path, path: str) -> None:
    with pytest.raises(BuildError, match="a layer cannot hold this"):
        files_layer(Store(tmp_path), {path: Content(data=b"")}, title="files")


@pytest.mark.parametrize("path", ["relative", "/", "/a/../b", "/a//b", "/a/", "/./a", ""])
def test_a_path_must_be_plain_and_absolute(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError, match="plain absolute path"):
        files_layer(Store(tmp_path), {path: Content(data=b"")}, title="files")


def test_the_skeleton_is_that_of_a_venv(tmp_path: Path) -> None:
    target = Target(python="3.11", prefix="/opt/venv")
    files = venv_skeleton(target, interpreter="/usr/bin/python3.11", system_site_packages=True)
    store = Store(tmp_path / "store")
    made = files_layer(store, files, title="skeleton")
    subprocess.run(["tar", "-xzf", store.path(made.digest), "-C", tmp_path], check=True)
    venv = tmp_path / "opt" / "venv"
    assert (venv / "bin" / "python").readlink() == Path("/usr/bin/python3.11")
    assert (venv / "bin" / "python3").readlink() == Path("python")
    assert (venv / "bin" / "python3.11").readlink() == Path("python")
    assert (venv / "lib64").readlink() == Path("lib")
    config = (venv / "pyvenv.cfg").read_text().splitlines()
    assert config[:2] == ["home = /usr/bin", "include-system-site-packages = true"]
    assert stat.S_IMODE((venv / "pyvenv.cfg").stat().st_mode) == 0o644
