"""CUDA from git, compiled by the real nvcc, which build requirements bring; nothing runs on a GPU.

CMake finds nvcc as sources of this field do, in a container that has no network.
"""

from __future__ import annotations

import re
import zipfile

import pytest

from envbuilder.engines.source_wheels import check_reproducible, with_wheels
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.runtime import Command, choose
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.servers.git import git_http
from tests.servers.git_repositories import Origin

pytestmark = [pytest.mark.integration, pytest.mark.deep]

TOOLKIT = "/opt/build/lib/python3.13/site-packages/nvidia/cu13"
SPEC = """\
version: 1
name: cuda
python: "3.13"
base: {{debian: trixie}}
system: {{packages: [python3, libpython3.13-dev, g++, libc6-dev, ccache]}}
packages:
  doubled:
    git: {url}
    commit: {commit}
    build:
      env:
        CUDACXX: {toolkit}/bin/nvcc
        CUDAARCHS: "80;90"
        LIBRARY_PATH: {toolkit}/lib # nvcc looks in lib64, which these wheels lack
        CCACHE_LOGFILE: /build/cache/log
"""
FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["scikit-build-core==0.11.6", "cmake==4.1.2", "ninja==1.13.0",
  "nvidia-cuda-nvcc==13.0.88", "nvidia-nvvm==13.0.88", "nvidia-cuda-crt==13.0.88",
  "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cccl==13.0.85"]
build-backend = "scikit_build_core.build"
[project]
name = "doubled"
version = "1.0"
[tool.scikit-build]
wheel.py-api = "py3"
""",
    "CMakeLists.txt": """\
cmake_minimum_required(VERSION 3.26)
project(doubled LANGUAGES CUDA)
add_library(doubled SHARED doubled.cu)
set_target_properties(doubled PROPERTIES PREFIX "")
install(TARGETS doubled DESTINATION doubled)
install(FILES __init__.py DESTINATION doubled)
""",
    "__init__.py": """\
import ctypes, pathlib
_library = ctypes.CDLL(str(pathlib.Path(__file__).with_name("doubled.so")))
def devices(): return _library.devices()
""",
    "doubled.cu": """\
#include <cuda_runtime.h>
__global__ void doubled(float *x) { x[blockIdx.x * blockDim.x + threadIdx.x] *= 2; }
extern "C" int devices() {
  int found = 0;
  return cudaGetDeviceCount(&found) == cudaSuccess ? found : -1;
}
extern "C" void run(float *x, int n) { doubled<<<n / 256, 256>>>(x); }
""",
}


def test_a_kernel_is_compiled_laid_and_loaded(trixie, tmp_path):
    origin = Origin.create(tmp_path / "served" / "doubled")
    commit = origin.commit(FILES)
    store = trixie(tmp_path / "store")
    with git_http(tmp_path / "served") as server:
        path = tmp_path / "cuda.yaml"
        url = server.address("doubled/.git")
        path.write_text(SPEC.format(url=url, commit=commit, toolkit=TOOLKIT))
        lock = with_wheels(context(store), lock_environment(context(store), path))
    wheel = lock.sources[0].wheel
    with wheel_file(store, wheel.sha256) as file, zipfile.ZipFile(file) as opened:
        library = opened.read("doubled/doubled.so")
    assert b".nv_fatbin" in library
    [log] = store.root.glob("compiled/*/log")
    assert re.search(r"Command line: .*ccache .*nvcc .*doubled\.cu", log.read_text())
    check_reproducible(context(store, offline=True), lock)
    image = make_image(context(store), lock)
    ask = "import doubled; print(doubled.devices())"
    with choose("oci", store).prepared(image, progress=context(store).progress) as ready:
        done = ready.run(Command(args=("/opt/venv/bin/python", "-c", ask)))
    assert done.stdout in {b"-1\n", b"0\n"}, done.stderr
