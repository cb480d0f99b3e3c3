"""Wheels that a spec names by address or path: locked by hash, brought, and refused."""

from __future__ import annotations

import shutil
import subprocess
import sys

import msgspec
import pytest
from uv import find_uv_bin

from envbuilder.model.errors import LockError, NetworkError, ResolutionError
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.pylock import check_fresh, parse_lock, read_lock, write_lock
from envbuilder.model.spec_file import load
from envbuilder.resolve.python import direct
from envbuilder.resolve.python.dependencies import read_needs
from envbuilder.resolve.python.wheels import supply
from envbuilder.resolve.resolve import resolve
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import current_lock
from tests.contexts import context
from tests.servers.scripted import scripted
from tests.unit.locks import deb
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

SPEC = """\
version: 1
name: x
python: "3.11"
base: {{debian: bookworm}}
system: {{packages: [python3]}}
packages: {{{packages}}}
index: {{url: "{index}"}}
"""
FILE = "app-1.0-py3-none-any.whl"
BASE = DebianBase(suite="bookworm", packages=(deb("python3.11", "3.11.2-6"), deb("libc6", "2.36")))


class Server:
    """A server of files by path; ``files`` may change, ``answer`` may do something else."""

    def __init__(self, host: str, files: dict[str, bytes]) -> None:
        self.host, self.files = host, files

    def url(self, name: str) -> str:
        return f"http://{self.host}/{name}"


@pytest.fixture
def served():
    files: dict[str, bytes] = {}

    def respond(call, request):
        name = request.path.lstrip("/").replace("%2B", "+")
        if name.startswith("moved/"):
            call.answer(302, Location=f"/{name.removeprefix('moved/')}")
        elif name.startswith("login/"):
            call.answer(401, WWW_Authenticate='Basic realm="x"')
        elif name in files:
            call.answer(200, files[name])
        else:
            call.answer(404)

    with scripted(respond) as running:
        yield Server(running.host, files)


@pytest.fixture
def wheel(tmp_path):
    """Give a function that makes a wheel and tells its bytes."""

    def make(name="app", version="1.0", **more):
        return write_wheel(tmp_path, Recipe(name=name, version=version, **more)).read_bytes()

    return make


@pytest.fixture
def lock(tmp_path):
    """Give a function that writes the spec into ``specs/``, and locks it over an earlier lock."""
    folder = tmp_path / "specs"
    folder.mkdir()
    (tmp_path / "none").mkdir()

    def make(packages: str, *, store="store", before: Lock | None = None, index="", release=()):
        path = folder / "x.yaml"
        index = index or (tmp_path / "none").as_uri()
        path.write_text(SPEC.format(packages=packages, index=index))
        spec = load(path)
        held = before or Lock(spec=spec, base=BASE, wheels=())
        work = context(Store(tmp_path / store))
        made = resolve(work, spec, previous=held, release=release, folder=folder)
        write_lock(folder / "pylock.x.toml", made)
        return made

    return make


def test_an_address_and_a_path_are_locked_by_hash_and_need_no_server_then(
    tmp_path, lock, served, wheel
):
    served.files[FILE] = wheel(requires=("mine>=1",))
    mine = tmp_path / "mine-1.5-py3-none-any.whl"
    mine.write_bytes(wheel("mine", "1.5"))
    found = lock(f'app: {{url: "{served.url(FILE)}"}}, mine: {{path: ../{mine.name}}}')
    assert [(each.name, each.version) for each in found.wheels] == [("app", "1.0"), ("mine", "1.5")]
    text = (tmp_path / "specs" / "pylock.x.toml").read_text()
    assert parse_lock(text) == found
    assert "url" not in text.partition("[tool.envbuilder]")[0]  # hostless, but for the spec in it
    offline = context(Store(tmp_path / "store"), offline=True)
    supply(offline, found, found.wheels).bring_all(found.wheels)
    assert str(read_needs(offline, found)["app"][0]) == "mine>=1"
    fresh = context(Store(tmp_path / "other"))
    with pytest.raises(ResolutionError, match=r"neither in the store nor beside.*\.\./mine-1\.5"):
        supply(fresh, found, found.wheels)
    assert current_lock(fresh, tmp_path / "specs" / "x.yaml") == found  # it is beside: taken in
    supply(fresh, found, found.wheels).bring_all(found.wheels)
    assert all(fresh.store.has(each.sha256) for each in found.wheels)


def test_the_lock_installs_with_uv_from_the_paths_that_it_states(tmp_path, lock, served, wheel):
    served.files[FILE] = wheel(files={"app.py": b"x = 1\n"})
    lock(f'app: {{url: "{served.url(FILE)}"}}')
    beside = tmp_path / "specs" / "wheels"
    beside.mkdir()
    (beside / FILE).write_bytes(served.files[FILE])
    run = [find_uv_bin(), "--offline", "--no-cache"]
    venv = tmp_path / "venv"
    subprocess.run([*run, "venv", "-q", "--python", sys.executable, venv], check=True)
    install = [*run, "pip", "sync", "-q", "--python", venv / "bin/python", "pylock.x.toml"]
    subprocess.run(install, check=True, cwd=tmp_path / "specs")
    subprocess.run([venv / "bin/python", "-c", "import app"], check=True)


def test_what_lies_at_the_locks_own_paths_is_taken_before_any_server_is_asked(
    tmp_path, lock, served, wheel
):
    served.files[FILE] = wheel()
    found = lock(f'app: {{url: "{served.url(FILE)}"}}')
    beside = tmp_path / "specs" / "wheels"
    beside.mkdir()
    (beside / FILE).write_bytes(served.files.pop(FILE))
    fresh = context(Store(tmp_path / "other"), offline=True)
    assert current_lock(fresh, tmp_path / "specs" / "x.yaml") == found
    supply(fresh, found, found.wheels).bring_all(found.wheels)
    (beside / FILE).write_bytes(b"another")
    again = context(Store(tmp_path / "third"), offline=True)
    current_lock(again, tmp_path / "specs" / "x.yaml")
    with pytest.raises(NetworkError, match="the store lacks"):
        supply(again, found, found.wheels)


def test_an_address_that_changes_is_noticed_and_taken_only_on_demand(lock, served, wheel):
    served.files[FILE] = wheel()
    line = f'app: {{url: "{served.url("moved/" + FILE)}"}}'  # redirects are followed
    first = lock(line)
    served.files[FILE] = wheel(files={"more.py": b""})
    assert lock(line, before=first) == first
    with pytest.raises(ResolutionError, match="is not the locked file"):
        lock(line, before=first, store="other")
    second = lock(line, before=first, release=("app",))
    assert second.wheels[0].sha256 != first.wheels[0].sha256


def test_a_file_of_the_specs_that_was_edited_makes_the_lock_stale(tmp_path, lock, wheel):
    path = tmp_path / FILE
    path.write_bytes(wheel())
    first = lock(f"app: {{path: ../{FILE}}}")
    path.write_bytes(wheel(files={"more.py": b""}))
    spec = tmp_path / "specs" / "x.yaml"
    with pytest.raises(LockError, match=rf"{FILE} is not the file that was locked") as caught:
        current_lock(context(Store(tmp_path / "store")), spec)
    assert "envbuilder lock x" in caught.value.hint
    second = lock(f"app: {{path: ../{FILE}}}", before=first)
    assert second.wheels[0].sha256 != first.wheels[0].sha256
    assert current_lock(context(Store(tmp_path / "store")), spec) == second


def test_all_that_cannot_be_used_is_told_at_once(tmp_path, lock, served, wheel, monkeypatch):
    monkeypatch.setattr(direct, "LARGEST", 1 << 20)
    monkeypatch.chdir(tmp_path)
    names = {name: f"{name}-1.0-py3-none-any.whl" for name in "abcdefghi"}
    served.files[names["c"]] = b"<!DOCTYPE html><title>Log in</title>"
    served.files[names["d"]] = b"PK" + bytes(1 << 20)
    served.files[names["h"]] = wheel("other")
    (tmp_path / names["e"]).symlink_to(tmp_path / "secret")
    (tmp_path / names["f"]).mkdir()
    (tmp_path / names["i"]).write_bytes(b"PK, but no zip")
    urls = {"a": names["a"], "b": f"login/{names['b']}"}
    urls |= {name: names[name] for name in "cdh"}
    lines = [f'{name}: {{url: "{served.url(urls[name])}"}}' for name in urls]
    lines += [f"{name}: {{path: ../{names[name]}}}" for name in "efgi"]
    with pytest.raises(ResolutionError) as caught:
        lock(", ".join(lines))
    told = dict(line.split(": ", 1) for line in caught.value.message.splitlines())
    for name, says in {
        "a": "answered 404", "b": "answered 401", "c": "netrc", "d": "more than 1,048,576 bytes",
        "e": "is a link", "f": "is a folder", "g": "is not there", "h": "holds the package 'other'",
        "i": "not a zip",
    }.items():  # fmt: skip
        assert says in told[name], told
    assert not list((tmp_path / "store" / "tmp").iterdir())


def test_the_metadata_says_the_version_where_the_name_adds_a_local_part(lock, tmp_path, wheel):
    name = "app-1.0+cu12torch2.8-cp311-cp311-linux_x86_64.whl"
    (tmp_path / name).write_bytes(wheel())
    found = lock(f"app: {{path: ../{name}}}")
    assert (found.wheels[0].version, found.wheels[0].filename) == ("1.0", name)
    lying = name.replace("1.0", "1.1")
    shutil.copy(tmp_path / name, tmp_path / lying)
    with pytest.raises(ResolutionError, match=r"holds version 1\.0: its name or its metadata lies"):
        lock(f"app: {{path: ../{lying}}}")


def test_a_wheel_for_another_python_is_refused(lock, tmp_path, wheel):
    name = "app-1.0-cp312-cp312-linux_x86_64.whl"
    (tmp_path / name).write_bytes(wheel())
    with pytest.raises(ResolutionError, match=r"made for another Python.*app-1\.0-cp312"):
        lock(f"app: {{path: ../{name}}}")


def test_an_index_wheel_whose_metadata_says_less_is_locked_as_it_will_be_installed(
    lock, tmp_path, wheel
):
    folder = tmp_path / "index" / "app"
    folder.mkdir(parents=True)
    (folder / "app-1.0+cu12-py3-none-any.whl").write_bytes(wheel())
    (folder / "index.html").write_text('<a href="app-1.0%2Bcu12-py3-none-any.whl">x</a>')
    found = lock('app: "*"', index=(tmp_path / "index").as_uri())
    assert found.wheels[0].version == "1.0"
    work = context(Store(tmp_path / "store"))
    supply(work, found, found.wheels).bring_all(found.wheels)
    assert lock('app: "*"', index=(tmp_path / "index").as_uri(), before=found) == found


def test_the_spec_in_the_lock_is_the_spec(lock, tmp_path, wheel):
    (tmp_path / FILE).write_bytes(wheel())
    found = lock(f"app: {{path: ../{FILE}}}")
    path = tmp_path / "specs" / "x.yaml"
    check_fresh(read_lock(path.with_name("pylock.x.toml")), load(path), name="x")
    other = msgspec.structs.replace(found.spec, overrides={"app": "==1.0"})
    with pytest.raises(LockError, match="overrides"):
        check_fresh(found, other, name="x")
