"""Further locked sources: builds that fetch at configure time find there what they would fetch."""

from __future__ import annotations

import pytest

from envbuilder.model.errors import BuildError, ResolutionError
from envbuilder.model.package_spec import BuildSource, SourceBuild
from envbuilder.model.pylock import dump_lock, parse_lock
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.recipe import Recipe
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.resolve.git.wheel_build import build_sources, fetch_sources
from envbuilder.resolve.sources import lock_sources, locking
from envbuilder.resolve.target import python_target
from envbuilder.storage.store import Store
from tests.contexts import git_context
from tests.integration.test_sources_build import PYTHON, lock_of, members, origin_of, source_of

pytestmark = pytest.mark.integration

READER = {  # copies a file of a further source into the package, as vLLM's setup does with kernels
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
""",
    "setup.py": """\
import os, shutil
from setuptools import setup
shutil.copy(os.path.join(os.environ["KERNELS_DIR"], "kernels.txt"), "reader/kernels.txt")
setup(name="reader", version="1", packages=["reader"], package_data={"reader": ["*.txt"]})
""",
    "reader/__init__.py": "",
}
CMAKE = {  # fetches while CMake configures, unless it is told where the files are
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77", "cmake>=3.26,<4", "ninja"]
build-backend = "setuptools.build_meta"
""",
    "setup.py": """\
import shutil, subprocess
from setuptools import setup
from setuptools.command.build_py import build_py
class Configured(build_py):
    def run(self):
        subprocess.check_call(["cmake", "-G", "Ninja", "-S", ".", "-B", "configured"])
        shutil.copy("configured/found.txt", "fetchy/found.txt")
        super().run()
setup(name="fetchy", version="1", packages=["fetchy"], package_data={"fetchy": ["*.txt"]},
      cmdclass={"build_py": Configured})
""",
    "fetchy/__init__.py": "",
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.26)
project(fetchy LANGUAGES NONE)
include(FetchContent)
FetchContent_Declare(kernels GIT_REPOSITORY https://git.example.org/kernels.git GIT_TAG v1)
FetchContent_MakeAvailable(kernels)
configure_file(${kernels_SOURCE_DIR}/kernels.txt ${CMAKE_BINARY_DIR}/found.txt COPYONLY)
""",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def context(store):
    return git_context(store)


@pytest.fixture
def kernels(tmp_path):
    return origin_of(tmp_path, {"kernels.txt": "first", "CMakeLists.txt": ""}, "kernels")


def built(lock, context):
    make = contained(lambda: host_sandbox(PYTHON, store=context.store), context)
    return build_sources(lock, make=make, context=context)


def add_submodule(origin, path, inner):
    allowed = ("-c", "protocol.file.allow=always")
    origin.git(*allowed, "submodule", "--quiet", "add", str(inner.path), path)
    origin.commit()


def further(origin, **more):
    return BuildSource(git=str(origin.path), branch="main", **more)


def test_a_variable_names_the_folder(tmp_path, context, kernels):
    build = SourceBuild(
        env={"KERNELS_DIR": "{sources.kernels}"}, sources={"kernels": further(kernels)}
    )
    lock = lock_of("reader", origin_of(tmp_path, READER), context, build=build)
    (tree,) = lock.sources[0].sources
    assert (tree.name, tree.commit) == ("kernels", kernels.git("rev-parse", "HEAD"))
    assert parse_lock(dump_lock(lock)) == lock
    assert members(built(lock, context), context.store)["reader/kernels.txt"] == b"first"


def test_cmake_finds_what_it_would_fetch(tmp_path, context, kernels):
    build = SourceBuild(sources={"kernels": further(kernels, fetchcontent="kernels")})
    lock = lock_of("fetchy", origin_of(tmp_path, CMAKE), context, build=build)
    assert members(built(lock, context), context.store)["fetchy/found.txt"] == b"first"


def test_without_it_the_message_says_that_builds_have_no_network(tmp_path, context):
    lock = lock_of("fetchy", origin_of(tmp_path, CMAKE), context)
    with pytest.raises(BuildError, match="builds have no network") as caught:
        built(lock, context)
    assert "https://git.example.org/kernels.git" in caught.value.message
    assert "sources: {NAME: {git: " in caught.value.hint


def test_another_commit_of_it_is_another_recipe(tmp_path, context, kernels):
    """The package itself stays as it is; what it is made with does not."""
    origin = origin_of(tmp_path, READER)
    first, second = (kernels.git("rev-parse", "HEAD"), kernels.commit({"kernels.txt": "second"}))
    locks = [
        lock_of(
            "reader",
            origin,
            context,
            build=SourceBuild(
                env={"KERNELS_DIR": "{sources.kernels}"},
                sources={"kernels": further(kernels, commit=commit)},
            ),
        )
        for commit in (first, second)
    ]
    assert len({Recipe.of(lock, lock.sources[0]).key for lock in locks}) == 2
    found = [members(built(lock, context), context.store)["reader/kernels.txt"] for lock in locks]
    assert found == [b"first", b"second"]


def test_fetching_brings_it_and_then_no_server_is_asked(tmp_path, context, kernels):
    inner = origin_of(tmp_path, {"deep.txt": "deep"}, "inner")
    add_submodule(kernels, "deep", inner)
    build = SourceBuild(
        env={"KERNELS_DIR": "{sources.kernels}"},
        sources={"kernels": further(kernels, submodules=True)},
    )
    lock = lock_of("reader", origin_of(tmp_path, READER), context, build=build)
    other = Store(tmp_path / "other")
    cold = git_context(other, runtime=context.runtime)
    fetch_sources(lock, cold)
    for origin in (kernels, inner):
        origin.path.rename(origin.path.with_name(f"{origin.path.name}-gone"))
    offline = git_context(other, runtime=context.runtime, offline=True)
    assert members(built(lock, offline), other)["reader/kernels.txt"] == b"first"


def test_a_submodule_that_is_gone_is_told_at_lock(tmp_path, context, kernels):
    inner = origin_of(tmp_path, {"deep.txt": "deep"}, "inner")
    add_submodule(kernels, "deep", inner)
    inner.path.rename(tmp_path / "gone")
    build = SourceBuild(sources={"kernels": further(kernels, submodules=True)})
    with pytest.raises(ResolutionError, match="inner"):
        source_of("reader", origin_of(tmp_path, READER), context, build=build)


def test_a_tag_that_moved_is_told(tmp_path, context, kernels):
    kernels.git("tag", "v1")
    origin = origin_of(tmp_path, READER)
    build = SourceBuild(
        env={"KERNELS_DIR": "{sources.kernels}"},
        sources={"kernels": BuildSource(git=str(kernels.path), tag="v1")},
    )
    lock = lock_of("reader", origin, context, build=build)
    kernels.commit({"kernels.txt": "moved"})
    kernels.git("tag", "--force", "v1")
    again = git_context(context.store)
    with pytest.raises(ResolutionError, match=r"build.sources: kernels: tag v1 .* moved"):
        lock_sources(
            locking(
                lock.spec, target=python_target(lock.spec, lock.base), context=again, previous=lock
            )
        )
