"""Builds that take long, fail in the middle, or take pointers of Git LFS for files."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as changed

from envbuilder.model.errors import BuildError
from envbuilder.model.lock import Lock
from envbuilder.model.package_spec import BuildSource, SourceBuild
from envbuilder.model.spec import BuildSettings
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.context import GitContext
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.resolve.git.wheel_build import build_sources
from envbuilder.storage.store import Store
from tests.contexts import git_context
from tests.integration.docker_light import Recording
from tests.integration.test_sources_build import PYTHON, lock_of, origin_of

pytestmark = pytest.mark.integration

PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
BACKEND = """\
import os, pathlib, sys, time, zipfile
METADATA = "Name: longy\\nVersion: 1\\n"
def prepare_metadata_for_build_wheel(output, *_):
    os.mkdir(output + "/longy-1.dist-info")
    pathlib.Path(output, "longy-1.dist-info/METADATA").write_text(METADATA)
    return "longy-1.dist-info"
def build_wheel(output, *_):
    BUILD
    with zipfile.ZipFile(output + "/longy-1-py3-none-any.whl", "w") as wheel:
        for path in pathlib.Path("longy").iterdir():
            wheel.write(path)
        wheel.writestr("longy-1.dist-info/METADATA", METADATA)
        wheel.writestr("longy-1.dist-info/RECORD", "")
    return "longy-1-py3-none-any.whl"
"""
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n"
NVCC_FAILS = """for n in range(99):
        print(f"[{n}/99] Building CUDA object {n}.o")
        if n == 3: print('attention.cu(12): error: identifier "half8" is undefined')
    sys.exit("ninja: build stopped: subcommand failed.")"""
NINJA = """for n in (1, 2):
        print(f"[{n}/2] Building"); time.sleep(1.5)"""


def project(build: str = "pass", **files: str) -> dict[str, str]:
    backend = BACKEND.replace("BUILD", build)
    return {"b.py": backend, "pyproject.toml": PYPROJECT, "longy/__init__.py": "", **files}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def context(store) -> GitContext:
    return git_context(store, Said())


class Said(Recording):
    """A progress that remembers what its steps said as well."""

    def say(self, text: str) -> None:
        self.titles.append(text)


def build(lock: Lock, context: GitContext) -> Lock:
    make = contained(lambda: host_sandbox(PYTHON, store=context.store), context)
    return build_sources(lock, make=make, context=context)


def test_the_compilers_own_error_comes_first(tmp_path, context):
    lock = lock_of("longy", origin_of(tmp_path, project(NVCC_FAILS)), context)
    with pytest.raises(BuildError) as caught:
        build(lock, context)
    said = caught.value.message.splitlines()
    assert said[:2] == [
        "longy: the build failed; its errors:",
        '  attention.cu(12): error: identifier "half8" is undefined',
    ]
    assert said[-1].strip() == "exit code 1"
    assert "ninja: build stopped" in caught.value.message
    assert "the whole log: " in caught.value.hint


def test_a_step_counts_as_ninja_does(tmp_path, context):
    build(lock_of("longy", origin_of(tmp_path, project(NINJA)), context), context)
    assert [each for each in context.progress.titles if each[0] == "["] == ["[1/2]", "[2/2]"]


def test_a_build_has_the_time_that_the_spec_gives_it(tmp_path, context):
    lock = lock_of("longy", origin_of(tmp_path, project("time.sleep(3600)")), context)
    spec = changed(lock.spec, build=BuildSettings(timeout=2))
    short = Lock(spec=spec, base=lock.base, wheels=(), sources=lock.sources)
    with pytest.raises(BuildError, match=r"took longer than the 2 seconds .*build: {timeout"):
        build(short, context)


def test_a_wheel_that_ships_a_pointer_of_git_lfs_is_refused(tmp_path, context):
    files = project(**{"longy/kernel.bin": POINTER})
    lock = lock_of("longy", origin_of(tmp_path, files), context)
    with pytest.raises(BuildError, match=r"longy/kernel\.bin is a pointer to Git LFS") as caught:
        build(lock, context)
    assert "build.sources" in caught.value.hint


def test_a_pointer_that_no_build_reads_is_no_hindrance(tmp_path, context):
    files = project(**{"docs/picture.png": POINTER})
    built = build(lock_of("longy", origin_of(tmp_path, files), context), context)
    assert built.sources[0].wheel is not None


def test_a_build_that_fails_is_told_of_the_pointers_in_its_sources(tmp_path, context):
    kernels = origin_of(tmp_path, {"table.bin": POINTER}, "kernels")
    more = SourceBuild(sources={"kernels": BuildSource(git=str(kernels.path), branch="main")})
    files = project("sys.exit('not a table')", **{"data/weights.bin": POINTER})
    lock = lock_of("longy", origin_of(tmp_path, files), context, build=more)
    with pytest.raises(BuildError, match="not a table") as caught:
        build(lock, context)
    assert "beware: data/weights.bin, kernels/table.bin are pointers" in caught.value.hint
