"""Which variables and wrappers make a build's compilers go through a cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envbuilder.resolve.git import hook_compilers

SAY = '#!/bin/sh\necho "$(basename "$0") $@"\n'
SHELL = shutil.which("sh")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Give a function that puts programs on a path that has nothing else; each says what it is."""
    monkeypatch.setattr(os, "environ", {"PATH": str(tmp_path / "bin")})

    def put(*names: str, folder: str = "bin") -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            (place / name).write_text(SAY)
            (place / name).chmod(0o755)
        return place

    return put


def test_nothing_changes_without_a_cache(programs, tmp_path):
    programs("gcc", "nvcc")
    assert hook_compilers.variables(str(tmp_path / "made")) == {}
    assert not (tmp_path / "made").exists()


def test_ccache_comes_first_and_needs_no_wrappers(programs, tmp_path):
    nvcc = programs("ccache", "sccache", "gcc", "nvcc") / "nvcc"
    assert hook_compilers.variables(str(tmp_path / "made")) == {
        "CMAKE_CUDA_COMPILER_LAUNCHER": "ccache",
        "CMAKE_HIP_COMPILER_LAUNCHER": "ccache",
        "PYTORCH_NVCC": f"ccache {nvcc}",
    }
    assert not (tmp_path / "made").exists()


def test_what_the_source_says_stays(programs, tmp_path):
    programs("ccache", "nvcc")
    os.environ |= {"CMAKE_CUDA_COMPILER_LAUNCHER": "", "PYTORCH_NVCC": "mine"}
    assert hook_compilers.variables(str(tmp_path / "made")) == {
        "CMAKE_HIP_COMPILER_LAUNCHER": "ccache"
    }


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_the_nvcc_of_the_toolkit_that_is_named_comes_first(programs, tmp_path, variable):
    programs("ccache", "nvcc")
    named = programs("nvcc", folder="cuda/bin")
    os.environ[variable] = str(named.parent)
    found = hook_compilers.variables(str(tmp_path / "made"))
    assert found["PYTORCH_NVCC"] == f"ccache {named / 'nvcc'}"


def test_each_compiler_of_the_path_goes_through_sccache_the_first_of_a_name(programs, tmp_path):
    compilers = {
        "cc", "c++", "gcc", "gcc-12", "x86_64-linux-gnu-gcc", "aarch64-linux-gnu-g++-14.2",
        "clang++",
    }  # fmt: skip
    first = programs("sccache", *compilers, "gcc-ar", "gcc-nm", "ld", "nvcc", "accept")
    programs("gcc", "clang", folder="other")
    os.environ["PATH"] += f":{tmp_path}/no-such-folder:{tmp_path / 'other'}"
    found = hook_compilers.variables(str(tmp_path / "made"))
    assert found["PATH"] == f"{tmp_path / 'made'}:{os.environ['PATH']}"
    assert {path.name for path in (tmp_path / "made").iterdir()} == compilers | {"clang"}
    assert f"exec sccache {first / 'gcc'} " in (tmp_path / "made" / "gcc").read_text()


def test_a_build_that_calls_sccache_itself_goes_through_it_once(programs, tmp_path):
    place = programs("gcc", "sccache")
    where = os.environ["PATH"]
    hook_compilers.variables(str(tmp_path / "made"))
    wrapper, env = str(tmp_path / "made" / "gcc"), {"PATH": f"{where}:/usr/bin:/bin"}
    said = subprocess.check_output([wrapper, "-c", "a b.c"], env=env, text=True)
    assert said == f"sccache {place / 'gcc'} -c a b.c\n"
    shutil.copy(SHELL, tmp_path / "sccache")  # a caller of that name, as sccache's server is one
    line = [str(tmp_path / "sccache"), "-c", '"$0" -c x.c; true', wrapper]
    assert subprocess.check_output(line, env=env, text=True) == "gcc -c x.c\n"


def test_another_compiler_is_another_wrapper(programs, tmp_path):
    place = programs("gcc", "sccache")
    hook_compilers.variables(str(tmp_path / "old"))
    (place / "gcc").write_text(SAY + "# newer\n")
    hook_compilers.variables(str(tmp_path / "new"))
    assert (tmp_path / "old" / "gcc").read_text() != (tmp_path / "new" / "gcc").read_text()


def test_as_a_program_it_prints_what_a_shell_can_evaluate(programs, tmp_path):
    programs("ccache", folder="with space")
    nvcc = programs("nvcc", folder="with space") / "nvcc"
    env = {"PATH": str(nvcc.parent)}
    line = [sys.executable, "-I", "-B", hook_compilers.__file__, str(tmp_path / "made")]
    printed = subprocess.check_output(line, env=env, text=True)
    said = subprocess.check_output(
        [SHELL, "-c", f'{printed}\necho "$PYTORCH_NVCC"'], env=env, text=True
    )
    assert said == f"ccache {nvcc}\n"
