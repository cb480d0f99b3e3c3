"""Sdists and folders: allowed, locked, built, kept and refused, with an index on loopback."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.errors import (
    BuildError,
    EnvbuilderError,
    LockError,
    NetworkError,
    ResolutionError,
)
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import dump_lock, parse_lock, write_lock
from envbuilder.model.spec_file import load
from envbuilder.resolve import resolve as resolving
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.resolve.git.transfer import export_wheels, import_wheels
from envbuilder.resolve.git.wheel_build import build_sources, check_reproducible, fetch_sources
from envbuilder.resolve.python import direct
from envbuilder.resolve.resolve import resolve
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import current_lock
from tests.contexts import context, git_context
from tests.sdists import entry, packed, project, sdist
from tests.servers.packages import Packages
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
build: {{sdists: {sdists}}}
index: {{url: "{index}"{more}}}
"""
BASE = DebianBase(suite="bookworm", packages=(deb("python3.11", "3.11.2-6"), deb("libc6", "2.36")))


class World:
    """An index with ``files``, a folder of specs and a store."""

    def __init__(self, root: Path, host: str, packages: Packages) -> None:
        self.root, self.host, self.packages = root, host, packages
        self.files = packages.wheels
        self.folder = root / "specs"
        self.folder.mkdir()
        self.store = Store(root / "store")

    def sdist(self, name: str, version: str = "1.0", **more) -> str:
        filename = f"{name}-{version}.tar.gz"
        self.files[filename] = sdist(f"{name}-{version}", project(name, version, **more))
        return filename

    def wheel(self, name: str, version: str = "1.0", **more) -> None:
        path = write_wheel(self.root, Recipe(name=name, version=version, **more))
        self.files[path.name] = path.read_bytes()

    def url(self, filename: str) -> str:
        return f"http://{self.host}/files/{filename}"

    def write(self, packages: str, *, sdists: str = "[]", more: str = "") -> Path:
        path = self.folder / "x.yaml"
        index = f"http://{self.host}/simple"
        path.write_text(SPEC.format(packages=packages, sdists=sdists, index=index, more=more))
        return path

    def lock(
        self, packages: str, *, before: Lock | None = None, release=(), progress=None, **more
    ) -> Lock:
        path = self.write(packages, **more)
        held = before or Lock(spec=load(path), base=BASE, wheels=())
        work = context(self.store, progress)
        lock = resolve(work, load(path), previous=held, release=release, folder=self.folder)
        write_lock(self.folder / "pylock.x.toml", lock)
        assert parse_lock(dump_lock(lock)) == lock
        return lock

    def build(self, lock: Lock, store: Store | None = None, *, offline: bool = True) -> Lock:
        work = git_context(store or self.store, offline=offline)
        sandbox = host_sandbox("3.11", store=work.store)
        return build_sources(lock, make=contained(lambda: sandbox, work), context=work)

    def members(self, lock: Lock, name: str) -> dict[str, bytes]:
        (wheel,) = [each.wheel for each in lock.archives if each.name == name]
        assert wheel is not None
        with wheel_file(self.store, wheel.sha256) as path, zipfile.ZipFile(path) as opened:
            return {member: opened.read(member) for member in opened.namelist()}


@pytest.fixture
def world(tmp_path):
    packages = Packages(wheels={})
    with scripted(packages.respond) as running:
        yield World(tmp_path, running.host, packages)


def versions(lock: Lock) -> dict[str, str]:
    return {each.name: each.version for each in (*lock.wheels, *lock.archives)}


# -- sdists of an index ---------------------------------------------------------------------------


def test_all_that_only_sdists_have_is_refused_at_once_and_before_the_base(world, monkeypatch):
    for name in ("one", "two", "three"):
        world.sdist(name)
    world.wheel("app", requires=("two",))
    monkeypatch.setattr(resolving, "resolve_base", lambda *_: pytest.fail("asked for the base"))
    path = world.write('one: "==1.0", app: "*", three: "*"', sdists="[three]")
    with pytest.raises(ResolutionError, match="only sdists") as caught:
        resolve(context(world.store), load(path), folder=world.folder)
    assert "\n  one\n  two\n" in caught.value.message
    assert "`build: {sdists: [one, three, two]}`" in (caught.value.hint or "")


@pytest.mark.parametrize("sdists", ["[needy]", "all"])
def test_an_allowed_sdist_is_locked_built_and_built_again_without_a_network(
    world, tmp_path, sdists
):
    world.sdist("needy", requires=("lib>=1", 'never; python_version < "3"'))
    world.wheel("lib", "1.5")
    world.wheel("app", requires=("needy",))
    lock = world.lock('app: "*"', sdists=sdists)
    assert versions(lock) == {"app": "1.0", "lib": "1.5", "needy": "1.0"}
    assert (
        "127.0.0.1"
        not in dump_lock(replace(lock, spec=load(world.write('app: "*"')))).split(
            "[tool.envbuilder.spec.index]"
        )[0]
    )
    built = world.build(lock)
    assert world.members(built, "needy")["needy.py"] == b"x = 1\n"
    work = git_context(world.store, offline=True)
    sandbox = host_sandbox("3.11", store=world.store)
    check_reproducible(built, make=contained(lambda: sandbox, work), context=work)
    # On another machine: fetched by hash, built offline, to the same bytes; or carried there.
    other = Store(tmp_path / "other")
    fetch_sources(lock, git_context(other))
    assert world.build(lock, other) == built
    third = Store(tmp_path / "third")
    export_wheels(built, tmp_path / "carried", store=world.store)
    import_wheels(tmp_path / "carried", store=third)
    assert world.build(lock, third) == built


def test_a_package_with_a_build_of_its_own_is_allowed_its_sdist(world):
    world.sdist("speedy", "0.16", build='assert __import__("os").environ["OPS"] == "0"')
    packages = 'speedy: {version: "==0.16", build: {requires: [], env: {OPS: "0"}}}'
    assert world.build(world.lock(packages)).archives[0].wheel is not None


def test_what_an_sdist_needs_sways_the_choice_of_its_version(world):
    world.sdist("needy", "2.0", requires=("lib<1",))
    world.sdist("needy", "1.0", requires=("lib>=1",))
    for version in ("0.5", "1.5"):
        world.wheel("lib", version)
    found = versions(world.lock('needy: "*", lib: ">=1"', sdists="[needy]"))
    assert found == {"needy": "1.0", "lib": "1.5"}


def test_a_version_with_a_wheel_that_fits_is_never_built(world):
    world.wheel("both")
    world.sdist("both")
    lock = world.lock('both: "*"', sdists="[both]")
    assert [each.name for each in lock.wheels] == ["both"]
    assert lock.archives == ()


def test_sdists_for_other_pythons_and_of_later_days_do_not_count(world):
    early, late, other = (world.sdist("needy", version) for version in ("1.0", "2.0", "3.0"))
    world.packages.uploaded = {
        early: "2024-01-01T00:00:00Z", late: "2025-01-01T00:00:00Z", other: "2024-01-02T00:00:00Z",
    }  # fmt: skip
    world.packages.pythons = {other: ">=3.12", early: ">=3.8"}
    dated = ', exclude_newer: "2024-06-01"'
    assert versions(world.lock('needy: "*"', sdists="[needy]", more=dated)) == {"needy": "1.0"}
    with pytest.raises(ResolutionError, match="no sdist fits"):
        world.lock('needy: "==3.0"', sdists="[needy]")


def test_a_yanked_sdist_counts_for_whoever_names_its_version_and_is_told(world):
    good, bad = world.sdist("needy", "1.0"), world.sdist("needy", "2.0")
    world.packages.uploaded = dict.fromkeys((good, bad), "2024-01-01T00:00:00Z")
    world.packages.yanked = {bad}
    assert versions(world.lock('needy: "*"', sdists="[needy]")) == {"needy": "1.0"}
    notes = Noting()
    found = world.lock('needy: "==2.0"', sdists="[needy]", progress=notes)
    assert versions(found) == {"needy": "2.0"}
    assert notes.told == ["warning: needy==2.0 was yanked"]


class Noting(Silent):
    """A Progress that remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


def test_an_sdist_of_one_named_index(world):
    world.sdist("needy")
    named = f', named: {{own: "http://{world.host}/simple"}}'
    packages = 'needy: {version: "==1.0", index: own}'
    assert versions(world.lock(packages, sdists="[needy]", more=named)) == {"needy": "1.0"}


def test_a_file_name_and_a_metadata_version_that_differ(world):
    world.files["needy-2.0.tar.gz"] = sdist("needy-2.0", project("needy", "1.0"))
    world.files["local-1.0+cu12.tar.gz"] = sdist("local-1.0+cu12", project("local", "1.0"))
    with pytest.raises(ResolutionError, match=r"needy-2.0.tar.gz holds version 1.0: its name or"):
        world.lock('needy: "*"', sdists="[needy]")
    assert versions(world.lock('local: "*"', sdists="[local]")) == {"local": "1.0"}


def test_what_nobody_needs_is_noted(world):
    world.wheel("app")
    notes = Noting()
    world.lock('app: "*"', sdists="[needless]", progress=notes)
    assert notes.told == ["warning: build.sdists names needless, which nothing here needs"]


# -- by address and by path -----------------------------------------------------------------------


def test_an_address_a_file_and_a_folder_are_locked_by_what_they_hold(world):
    name = world.sdist("far", requires=("lib",))
    world.wheel("lib")
    (world.root / "near-1.0.tar.gz").write_bytes(sdist("near", project("near")))
    make_project(world.root / "mine", "mine")
    packages = f'far: {{url: "{world.url(name)}"}}, near: {{path: ../near-1.0.tar.gz}}, '
    packages += "mine: {path: ../mine}"
    lock = world.lock(packages)
    assert versions(lock) == {"far": "1.0", "near": "1.0", "mine": "1.0", "lib": "1.0"}
    text = dump_lock(lock)
    assert 'path = "../mine"' in text
    assert 'path = "../near-1.0.tar.gz"' in text
    assert 'path = "sdists/far-1.0.tar.gz"' in text
    built = world.build(lock)
    assert all(each.wheel for each in built.archives)
    assert world.lock(packages, before=built) == built
    installed(world, text)


def installed(world: World, text: str) -> None:
    """Let uv install the lock, with the files where it says that they are."""
    for folder in ("wheels", "sdists"):
        (world.folder / folder).mkdir()
    for name, data in world.files.items():
        folder = "wheels" if name.endswith(".whl") else "sdists"
        (world.folder / folder / name).write_bytes(data)
    lock = world.folder / "pylock.x.toml"
    lock.write_text(text)
    run = [find_uv_bin(), "pip", "sync", "--offline", "--no-cache", "--quiet", str(lock)]
    run += ["--target", str(world.root / "target"), "--python", sys.executable]
    subprocess.run(run, check=True, cwd=world.folder)
    for name in ("far", "near", "mine"):
        assert (world.root / "target" / f"{name}.py").is_file()


def make_project(folder: Path, name: str, **more) -> None:
    for path, data in project(name, **more).items():
        folder.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)


def test_editing_a_folder_makes_its_lock_stale_and_says_what_changed(world):
    make_project(world.root / "mine", "mine")
    lock = world.lock("mine: {path: ../mine, exclude: [data/]}")
    work = context(world.store)
    assert current_lock(work, world.folder / "x.yaml") == lock
    for litter in (".git", ".venv", "node_modules", "build", "__pycache__", "data"):
        (world.root / "mine" / litter).mkdir()  # nothing of the project, data by the spec's word
        (world.root / "mine" / litter / "file").touch()
    assert current_lock(work, world.folder / "x.yaml") == lock
    assert world.lock("mine: {path: ../mine, exclude: [data/]}") == lock
    (world.root / "mine/code.py").write_text("x = 2\n")
    (world.root / "mine/more.py").touch()
    with pytest.raises(LockError, match="not the folder that was locked") as caught:
        current_lock(work, world.folder / "x.yaml")
    assert "\n  code.py: changed\n  more.py: new" in caught.value.message
    assert caught.value.hint == "envbuilder lock x takes it as it is now"
    again = world.lock("mine: {path: ../mine, exclude: [data/]}", before=world.build(lock))
    assert again.archives[0].sha256 != lock.archives[0].sha256
    assert world.members(world.build(again), "mine")["mine.py"] == b"x = 2\n"


def test_a_file_by_path_that_changed_makes_the_lock_stale(world):
    path = world.root / "near-1.0.tar.gz"
    path.write_bytes(sdist("near", project("near")))
    lock = world.lock("near: {path: ../near-1.0.tar.gz}")
    path.write_bytes(sdist("near", project("near", code="x = 3\n")))
    with pytest.raises(LockError, match="is not what was locked"):
        current_lock(context(world.store), world.folder / "x.yaml")
    path.unlink()  # the store has it
    assert current_lock(context(world.store), world.folder / "x.yaml") == lock
    empty = git_context(Store(world.root / "empty"))
    with pytest.raises(ResolutionError, match="neither in the store nor beside the spec"):
        fetch_sources(lock, empty)


def test_an_sdist_beside_the_lock_is_looked_at_first(world):
    name = world.sdist("needy")
    lock = world.lock('needy: "*"', sdists="[needy]")
    (world.folder / "sdists").mkdir()
    (world.folder / "sdists" / name).write_bytes(world.files.pop(name))
    other = Store(world.root / "other")
    current_lock(context(other), world.folder / "x.yaml")
    assert world.build(lock, other).archives[0].wheel is not None
    with pytest.raises(ResolutionError, match=r"no configured index offers needy-1\.0"):
        fetch_sources(lock, git_context(Store(world.root / "empty")))
    with pytest.raises(NetworkError, match=r"--offline, and the store lacks needy-1\.0"):
        fetch_sources(lock, git_context(Store(world.root / "empty"), offline=True))


def test_an_address_holds_until_it_is_let_go_and_no_other_file_takes_its_place(world, tmp_path):
    name = world.sdist("far")
    packages = f'far: {{url: "{world.url(name)}"}}'
    lock = world.lock(packages)
    world.sdist("far", code="x = 4\n")
    assert world.lock(packages, before=lock) == lock
    with pytest.raises(NetworkError, match="is not the locked file"):
        fetch_sources(lock, git_context(Store(tmp_path / "other")))
    released = world.lock(packages, before=lock, release={"far"})
    assert released.archives[0].sha256 != lock.archives[0].sha256


def test_all_that_cannot_be_taken_is_listed_at_once(world, monkeypatch):
    monkeypatch.setattr(direct, "LARGEST", 100_000)
    world.files["page.tar.gz"] = b"<html>please log in</html>"
    world.files["huge.tar.gz"] = b"\x1f\x8b" + bytes(200_000)
    world.files["evil.tar.gz"] = packed([entry("../../evil", b"x")])
    (world.root / "link").symlink_to(world.root)
    packages = ", ".join(
        f'{name}: {{url: "{world.url(name)}.tar.gz"}}' for name in ("page", "huge", "evil", "gone")
    )
    with pytest.raises(ResolutionError) as caught:
        world.lock(f"{packages}, link: {{path: ../link}}, none: {{path: ../none}}")
    for said in (
        "page: ", "sent no wheel or sdist, but something that begins with b'<html>",
        "huge: ", "more than 100,000 bytes", "evil: evil.tar.gz is refused",
        "gone: ", "answered 404", "link is a link", "none is not there",
    ):  # fmt: skip
        assert said in caught.value.message
    assert not list(world.folder.glob("pylock*"))


def test_an_address_may_move_and_may_ask_for_a_login(world):
    name = world.sdist("far")

    def respond(call, request):
        if request.path.startswith("/moved/"):
            call.answer(302, Location=world.url(name))
        else:
            call.answer(401, WWW_Authenticate='Basic realm="x"')

    with scripted(respond) as running:
        lock = world.lock(f'far: {{url: "http://{running.host}/moved/{name}"}}')
        assert versions(lock) == {"far": "1.0"}
        with pytest.raises(ResolutionError, match=r"answered 401 \(log in"):
            world.lock(f'far: {{url: "http://{running.host}/login/{name}"}}')


# -- a stranger's code ----------------------------------------------------------------------------


def refused(world: World, *, sdists="[evil]", **more) -> EnvbuilderError:
    world.sdist("evil", **more)
    with pytest.raises(BuildError) as caught:
        world.build(world.lock('evil: "*"', sdists=sdists))
    return caught.value


def test_a_build_that_wants_the_network_is_told_so(world):
    address = f"http://{world.host}/files/x"
    code = f'print("get {address}"); __import__("urllib.request").request.urlopen("{address}")'
    assert "builds have no network" in refused(world, first=code).message
    assert not [each for each in world.files if each == "x"]


def test_a_build_that_deletes_everything_deletes_nothing_of_ours(world):
    victim = world.root / "victim"
    victim.write_text("dear")
    code = (
        "import shutil; shutil.rmtree('/', ignore_errors=True); "
        f"shutil.rmtree({str(world.root)!r}, ignore_errors=True)"
    )
    refused(world, first=code)
    assert victim.read_text() == "dear"
    assert Path(sys.executable).exists()


def test_a_build_that_hangs_ends(world):
    error = refused(world, sdists="[evil], timeout: 3", first="import time; time.sleep(600)")
    assert "took longer than the 3 seconds" in error.message


def test_a_build_sees_no_secret_of_this_machine(world, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    (home := world.root / "home").mkdir()
    (home / ".netrc").write_text("s3cret")
    monkeypatch.setenv("HOME", str(home))
    code = (
        "import os; from pathlib import Path; print(dict(os.environ), Path.home()); "
        f"print([p.read_text() for p in Path({str(home)!r}).rglob('*')]); 1 / 0"
    )
    said = refused(world, first=code)
    assert "ZeroDivisionError" in said.message
    assert "s3cret" not in said.message


def test_a_folder_whose_version_is_in_its_history_is_told_what_to_say(world):
    said = "raise LookupError('setuptools-scm was unable to detect version for /build/source')"
    make_project(world.root / "mine", "mine", first=said)
    with pytest.raises(BuildError) as caught:
        world.lock("mine: {path: ../mine}")
    assert "SETUPTOOLS_SCM_PRETEND_VERSION" in (caught.value.hint or "")


def test_an_archive_of_another_package_says_its_name(world):
    world.files["far-1.0.tar.gz"] = sdist("x", project("other"))
    with pytest.raises(ResolutionError, match="is the project 'other'") as caught:
        world.lock(f'far: {{url: "{world.url("far-1.0.tar.gz")}"}}')
    assert caught.value.hint == "call it other in the spec"


def test_an_sdist_is_dated_by_its_youngest_file(world):
    world.sdist("needy")
    lock = world.lock('needy: "*"', sdists="[needy]")
    assert lock.archives[0].time == 1_600_000_000


def test_a_preview_fits_what_pep_440_lets_it_and_the_rest_by_an_override(world):
    """4.52.0.dev0 is newer than 4.51.1, and older than 4.52."""
    make_project(world.root / "transformers", "transformers", version="4.52.0.dev0")
    world.wheel("engine", requires=("transformers>=4.51.1",))
    world.wheel("later", requires=("transformers>=4.52",))
    preview = "transformers: {path: ../transformers}"
    lock = world.lock(f'{preview}, engine: "*"')
    assert versions(lock) == {"engine": "1.0", "transformers": "4.52.0.dev0"}
    with pytest.raises(ResolutionError, match=r"(?s)later.*transformers>=4\.52"):
        world.lock(f'{preview}, later: "*"')
    override = '}\noverrides: {transformers: "==4.52.0.dev0'
    for marker in ("", "; python_version < '4'"):
        lock = world.lock(f'{preview}, later: "*"', more=f'{override}{marker}"')
        assert versions(lock) == {"later": "1.0", "transformers": "4.52.0.dev0"}
    assert world.build(lock).archives[0].wheel is not None


def test_an_override_keeps_the_extras_that_the_spec_asks_of_its_own_source(world):
    """And one that asks for another version than the source's is a slip."""
    make_project(world.root / "mine", "mine", requires=('lib; extra == "more"',))
    world.wheel("lib")
    world.wheel("app", requires=("mine>=2",))
    packages = '"mine[more]": {path: ../mine}, app: "*"'
    lock = world.lock(packages, more='}\noverrides: {Mine: "==1.0"')
    assert versions(lock) == {"app": "1.0", "lib": "1.0", "mine": "1.0"}
    with pytest.raises(ResolutionError, match=r"own mine has version 1\.0") as caught:
        world.lock(packages, more='}\noverrides: {mine: "==2.0"')
    assert 'overrides: {mine: "==1.0"}' in caught.value.hint
