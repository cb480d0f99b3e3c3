"""C extensions from git, compiled in a real Debian base: another Python than this machine's.

The same base is also pushed to a registry, as an image to compile in.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Timer
from uuid import uuid4

import pytest
from msgspec import structs

from envbuilder.engines.foundation import foundation_layers
from envbuilder.engines.source_wheels import check_reproducible, with_wheels
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.errors import BuildError, NetworkError
from envbuilder.model.image import compose
from envbuilder.model.lock import Lock, Wheel
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import read_lock, write_lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.spec import BuildSettings
from envbuilder.registry.client import Client
from envbuilder.registry.transfer import push
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.integration.docker_light import Recording
from tests.integration.test_docker_build import runs, wait_until
from tests.integration.test_docker_same_tree import tree
from tests.servers.distribution import registry
from tests.servers.git import git_http
from tests.servers.git_repositories import Origin

pytestmark = [pytest.mark.integration]

SPEC = """\
version: 1
name: native
python: "3.13"
base: {{debian: trixie}}
system:
  packages: [{packages}]
packages:
  natty:
    git: {place}
    commit: {commit}
    build:
      env:
        CCACHE_LOGFILE: /build/cache/log
        SCCACHE_ERROR_LOG: /build/cache/log
        SCCACHE_LOG: sccache=debug
        MAX_JOBS: "2"
{more}
"""
COMPILERS = "python3, libpython3.13-dev, gcc, libc6-dev, ccache"
FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
""",
    "setup.py": """\
from setuptools import Extension, setup
setup(name="natty", version="0.1", ext_modules=[Extension("natty", ["natty.c", "answer.c"])])
""",
    "natty.c": """\
#include <Python.h>
int answer(void);
static PyObject *ask(PyObject *self, PyObject *none) { return PyLong_FromLong(answer()); }
static PyMethodDef methods[] = {{"ask", ask, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "natty", __FILE__, -1, methods};
PyMODINIT_FUNC PyInit_natty(void) { return PyModule_Create(&module); }
""",
    "answer.c": "int answer(void) { return 41; }\n",
}
HANG = "sleep 3600.25"
HANGS_ONCE = """\
import os, pathlib, subprocess, sys
if "bdist_wheel" in sys.argv:
    begun = pathlib.Path(os.environ["CCACHE_DIR"], "MARK")
    if not begun.exists():
        begun.parent.mkdir(exist_ok=True)
        begun.touch()
        print("it hangs", flush=True)
        subprocess.run("HANG".split(), check=True)
    print("it goes on", flush=True)
""".replace("HANG", HANG)


@dataclass(frozen=True, kw_only=True)
class Project:
    """A C extension in a repository, and a store that has the base to compile it in."""

    folder: Path
    origin: Origin
    store: Store
    url: str
    commit: str

    def lock(
        self, name: str, *, commit: str = "", packages: str = COMPILERS, more: str = ""
    ) -> Lock:
        """Lock the first commit, or another one."""
        path = self.folder / name / "native.yaml"
        path.parent.mkdir()
        path.write_text(
            SPEC.format(place=self.url, commit=commit or self.commit, packages=packages, more=more)
        )
        if (held := self.folder / "first" / "pylock.native.toml").exists():
            shutil.copy(held, path.parent)
        return lock_environment(context(self.store), path)

    def build(self, lock: Lock, *, store: Store | None = None, **how: str) -> Wheel:
        """Build the wheel, in a store that has none unless ``store`` is given."""
        made = with_wheels(context(store or self.store), lock, **how)
        wheel = made.sources[0].wheel
        assert wheel is not None
        return wheel

    def compiled(self) -> list[str]:
        """Say, in order, what the cache had to say of each file since it was last asked."""
        [log] = self.store.root.glob("compiled/*/log")
        said = re.findall(
            r"Result: (cache_miss|direct_cache_hit)\n|\]: (Cache (?:hit|miss)) in", log.read_text()
        )
        log.unlink()
        return ["".join(each) for each in said]

    def forget(self) -> None:
        """Forget which wheels were built, but not what compilers remember."""
        shutil.rmtree(self.store.root / "records" / "built-wheel", ignore_errors=True)


@pytest.fixture(scope="module")
def project(
    trixie: Callable[[Path], Store], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("native")
    origin = Origin.create(folder / "served" / "natty")
    commit = origin.commit(FILES)
    with git_http(folder / "served") as server:
        yield Project(
            folder=folder,
            origin=origin,
            store=trixie(folder / "store"),
            url=server.address("natty/.git"),
            commit=commit,
        )


@pytest.fixture(scope="module")
def first(project: Project) -> tuple[Lock, Wheel]:
    """Lock and build the first commit, in containers of our own."""
    lock = project.lock("first")
    wheel = project.build(lock)
    assert project.compiled() == ["cache_miss", "cache_miss"]
    return lock, wheel


def test_a_c_extension_is_compiled_in_the_base(project, first):
    lock, wheel = first
    assert wheel.filename == "natty-0.1-cp313-cp313-linux_x86_64.whl"
    with wheel_file(project.store, wheel.sha256) as path, zipfile.ZipFile(path) as opened:
        library = next(opened.read(name) for name in opened.namelist() if name.endswith(".so"))
    assert library.startswith(b"\x7fELF")
    assert str(project.folder).encode() not in library
    made = replace(lock, sources=(replace(lock.sources[0], wheel=wheel),))
    check_reproducible(context(project.store, offline=True), made)


def test_another_commit_compiles_only_what_it_touched(project, first):
    assert first
    commit = project.origin.commit({"answer.c": FILES["answer.c"].replace("41", "42")})
    lock = project.lock("touched", commit=commit)
    cached = project.build(lock)
    assert sorted(project.compiled()) == ["cache_miss", "direct_cache_hit"]
    made = replace(lock, sources=(replace(lock.sources[0], wheel=cached),))
    check_reproducible(context(project.store, offline=True), made)


@pytest.mark.deep  # a base of its own, with compilers
def test_sccache_serves_unasked_as_ccache_does(project, first):
    _, wheel = first
    lock = project.lock("sccache", packages=COMPILERS.replace("ccache", "sccache"))
    said = []
    for _ in range(2):
        project.forget()
        assert project.build(lock) == wheel
        said.append(project.compiled())
    assert said == [["Cache miss"] * 2, ["Cache hit"] * 2]


@pytest.mark.docker
def test_buildkit_makes_the_same_bytes_once(project, first):
    lock, wheel = first
    project.forget()
    assert project.build(lock, engine="docker") == wheel
    watched = Recording()
    again = with_wheels(context(project.store, watched), lock, engine="docker")
    assert (again.sources[0].wheel, watched.titles) == (wheel, [])
    made = replace(lock, sources=(replace(lock.sources[0], wheel=wheel),))
    check_reproducible(context(project.store), made, engine="docker")
    with pytest.raises(NetworkError, match="Docker would fetch wheels"):
        check_reproducible(context(project.store, offline=True), made, engine="docker")


class AtTheHang(Timer):
    """An alarm that rings once the build hangs, however long it takes to get there."""

    def run(self) -> None:
        while not runs(HANG):
            if self.finished.wait(0.1):
                return
        self.function()


@pytest.mark.docker
def test_buildkit_ends_a_build_at_its_time_and_the_next_run_goes_on(project, first, monkeypatch):
    assert first
    hangs = HANGS_ONCE.replace("MARK", uuid4().hex)  # engines remember across runs of this test
    commit = project.origin.commit({**FILES, "setup.py": hangs + FILES["setup.py"]})
    lock = project.lock("hangs", commit=commit, more="build: {timeout: 7}")
    ended = "took longer than the 7 seconds that the spec's build: {timeout: …}"
    with monkeypatch.context() as patched:
        patched.setattr("envbuilder.engines.docker.Timer", AtTheHang)
        with pytest.raises(BuildError, match=re.escape(f"natty: the build {ended}")) as caught:
            project.build(lock, engine="docker")
    log = Path(caught.value.hint.removeprefix("the whole log: "))
    assert "it hangs" in log.read_text()
    wait_until(lambda: not runs(HANG) and not runs(r"\S*docker.* buildx .*wheel-natty.*"))
    assert [*(project.store.root / "tmp").iterdir()] == []
    patient = replace(lock, spec=structs.replace(lock.spec, build=BuildSettings()))
    assert project.build(patient, engine="docker").name == "natty"
    assert "it goes on" in log.read_text()
    assert "it hangs" not in log.read_text()


@pytest.mark.docker
def test_both_engines_install_the_same_wheel_and_compile_nothing(project, first):
    _, wheel = first
    lock = project.lock("installed", packages="python3")
    lock = replace(lock, sources=(replace(lock.sources[0], wheel=wheel),))
    images = {}
    for engine in ("embedded", "docker"):
        watched = Recording()
        images[engine] = make_image(context(project.store, watched), lock, engine=engine)
        assert not [title for title in watched.titles if "build-wheel.sh" in title]
    docker, embedded = (tree(project.store, images[name]) for name in ("docker", "embedded"))
    assert docker == embedded
    assert any(path.endswith("natty-0.1.dist-info/direct_url.json") for path in docker)


@pytest.mark.docker
@pytest.mark.parametrize("engine", ["embedded", "docker"])
def test_wheels_are_built_on_the_specs_builder_image(project, first, tmp_path, engine):
    """The base has no compiler; the image from the registry has."""
    lock, wheel = first
    with registry(tmp_path / "registry") as server, Client.from_environment() as client:
        place = ImageRef.parse(f"{server.host}/compilers:1")
        pushed = push_base(lock, client, place, project.store)
        more = f"build: {{image: {place}}}"
        with_builder = project.lock(f"builder-{engine}", packages="python3", more=more)
        assert with_builder.builder is not None
        assert with_builder.builder.digest == pushed
        project.forget()
        assert project.build(with_builder, engine=engine) == wheel
        path = tmp_path / "pylock.native.toml"
        write_lock(path, with_builder)
        assert read_lock(path) == with_builder
    bare = replace(with_builder, builder=None)
    with pytest.raises(BuildError, match="gcc") as failed:
        project.build(bare, engine=engine)
    assert "gcc" in Path(failed.value.hint.removeprefix("the whole log: ")).read_text()


@pytest.mark.docker
def test_docker_contains_builds_where_there_is_neither_crun_nor_runc(project, first, monkeypatch):
    lock, wheel = first
    monkeypatch.setattr("envbuilder.runtime.oci.find_program", lambda _: None)
    project.forget()
    assert project.build(lock) == wheel
    broken = project.origin.commit({"setup.py": "raise SystemExit('not today')"})
    with pytest.raises(BuildError, match="not today"):
        project.lock("broken", commit=broken)


def push_base(lock: Lock, client: Client, place: ImageRef, store: Store) -> Digest:
    """Push the base that the store has, as an image for anybody; return its digest."""
    found = foundation_layers(context(store, offline=True), lock)
    image = compose(found.layers, platform=lock.spec.platform)
    store.add(image.config)
    return push(client, image, store, place, Silent())
