"""What a lock needs of a GPU: NVIDIA's table, code read from wheels, and a host's fitness."""

import dataclasses
import itertools
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.reference import Digest
from envbuilder.smoke.probe.gpu import driver_version
from envbuilder.storage.store import Store
from envbuilder.workflow.gpu.code import MAGIC, architectures
from envbuilder.workflow.gpu.cuda import drivers, fit
from envbuilder.workflow.gpu.needs import Code, Cuda, Needs, arch_list, needs
from envbuilder.workflow.gpu.preflight import GpuHost, preflight, this_host
from tests.contexts import context
from tests.unit.locks import lock, source
from tests.wheels import Recipe, as_wheel, write_wheel

TORCH = Code(package="torch 2.6.0", architectures=("sm_80", "sm_86", "sm_90"), known_by="wheel")
NEEDS = Needs(cuda=(Cuda(version="12.4", known_by="cudart"),), code=(TORCH,))


def _statuses(needed: Needs, host: GpuHost) -> dict[str, str]:
    return {finding.name: finding.status for finding in preflight(needed, host)}


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "cuda", "expected"),
    [
        ("550.54.14", "12.4", "full"),
        ("550.54.13", "12.4", "minor"),
        ("525.60.13", "12.9", "minor"),
        ("525.60.12", "12.0", "too old"),
        ("470.57.02", "11.8", "minor"),
        ("580.65.06", "12.4", "full"),  # newer drivers serve older releases
        ("570.26", "12.8", "full"),
        ("570.124.06", "13.0", "too old"),
        ("590.44.01", "13.0", "full"),
        ("570.25", "12.7", "minor"),  # a release that the table lacks wants the next one's
        ("570.26", "12.7", "full"),
        ("700.1", "13.9", "minor"),  # and one beyond its end is never said to be served in full
        ("600.1", "14.0", None),
    ],
)
def test_a_driver_serves_a_release_as_nvidia_says(
    driver: str, cuda: str, expected: str | None
) -> None:
    assert fit(driver, drivers(cuda)) == expected


# --- what compiled code says of itself ------------------------------------------------------------


def _fatbin(*entries: tuple[int, int]) -> bytes:
    """Build a fat binary of (kind, architecture) entries, as nvcc lays it out."""
    body = b""
    for kind, architecture in entries:
        payload = bytes(range(8)) * kind
        head = struct.pack("<HHIQIIII", kind, 0x101, 64, len(payload), 0, 0, 0, architecture)
        body += head.ljust(64, b"\0") + payload
    return MAGIC + struct.pack("<HHQ", 1, 16, len(body)) + body


LIBRARY = (
    b"\x7fELF" + bytes(99) + MAGIC + b"by chance" + _fatbin((2, 80), (2, 90), (1, 90)) + bytes(7)
    + _fatbin((2, 120)) + MAGIC[:3]
)  # fmt: skip


def test_architectures_are_read_from_every_fat_binary() -> None:
    assert architectures([LIBRARY]) == {"sm_80", "sm_90", "compute_90", "sm_120"}


@given(st.lists(st.integers(0, len(LIBRARY)), max_size=30))
def test_it_does_not_matter_how_a_library_comes_in_pieces(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(LIBRARY)]
    pieces = [LIBRARY[start:end] for start, end in itertools.pairwise(ends)]
    assert architectures(pieces) == architectures([LIBRARY])


@given(st.binary(max_size=200))
def test_any_bytes_after_the_magic_end_well(noise: bytes) -> None:
    for found in architectures([MAGIC + b"\x01\x00\x10\x00" + noise]):
        assert found.startswith(("sm_", "compute_"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("8.0 9.0+PTX", ("sm_80", "sm_90", "compute_90")),
        ("7.5;9.0a", ("sm_75", "sm_90a")),
        ("10.0", ("sm_100",)),
        ("7.5;", ("sm_75",)),
        ("Ampere;Hopper+PTX", ("sm_80", "sm_86", "compute_86", "sm_90", "compute_90")),
        ("8.0,9.0", ()),
        ("8.0 native", ()),
    ],
)
def test_torchs_list_of_targets_is_understood(text: str, names: tuple[str, ...]) -> None:
    assert arch_list(text) == names


# --- what a lock needs ----------------------------------------------------------------------------


@pytest.fixture
def gpu_lock(tmp_path: Path) -> tuple[Lock, Store]:
    """Return a lock of a CUDA torch, and a store that has its wheel."""
    recipe = Recipe(name="torch", version="2.6.0", files={"torch/lib/libtorch_cuda.so": LIBRARY})
    made = as_wheel(write_wheel(tmp_path, recipe))
    store = Store(tmp_path / "store")
    store.adopt(made.path, made.sha256)
    plain = lock({"torch": "2.6.0", "nvidia-cuda-runtime-cu12": "12.4.127", "numpy": "2.2.6"})
    torch = next(wheel for wheel in plain.wheels if wheel.name == "torch")
    named = torch.filename.replace("py3-none-any", "cp311-cp311-linux_x86_64")
    mine = dataclasses.replace(torch, sha256=made.sha256, filename=named)
    wheels = tuple(mine if wheel is torch else wheel for wheel in plain.wheels)
    return dataclasses.replace(plain, wheels=wheels), store


def test_a_lock_tells_its_cuda_release_and_its_wheels_their_devices(
    gpu_lock: tuple[Lock, Store],
) -> None:
    locked, store = gpu_lock
    found = needs(context(store), locked)
    assert found.newest == Cuda(version="12.4", known_by="nvidia-cuda-runtime-cu12 12.4.127")
    (code,) = found.code
    assert code.architectures == ("compute_90", "sm_80", "sm_90", "sm_120")
    assert needs(context(store), locked) == found  # from the store's record


def test_without_the_wheel_the_devices_are_not_known(
    gpu_lock: tuple[Lock, Store], tmp_path: Path
) -> None:
    locked, _ = gpu_lock
    found = needs(context(Store(tmp_path / "empty")), locked)
    assert (found.code, found.unread) == ((), ("torch 2.6.0",))
    statuses = _statuses(found, GpuHost(devices=("9.0",)))
    assert statuses["not known"] == statuses["runs on"] == statuses["GPU 9.0"] == "warn"


def test_a_cpu_lock_needs_nothing(tmp_path: Path) -> None:
    found = needs(context(Store(tmp_path)), lock({"numpy": "2.2.6"}))
    (finding,) = preflight(found, GpuHost(driver="300.1"))
    assert (finding.status, finding.detail) == ("ok", "none: this lock needs no GPU")


def _based_on(reference: str) -> Lock:
    digest = Digest.of(b"x")
    base = ImageBase(reference=reference, digest=digest, config=digest, layers=())
    return dataclasses.replace(lock({"numpy": "2.2.6"}), base=base)


def _compiled(targets: str) -> Lock:
    build = {"env": {"TORCH_CUDA_ARCH_LIST": targets}}
    git = {"git": "https://example.org/vllm.git", "branch": "main", "build": build}
    return lock({}, pins={"vllm": git}, sources=(source("vllm", "a" * 40),))


@pytest.mark.parametrize(
    ("locked", "why"),
    [
        (_based_on("registry.example/nvidia/pytorch:25.01-py3"), "the base image is NVIDIA's"),
        (_compiled("9.0"), "TORCH_CUDA_ARCH_LIST is set for vllm"),
        (lock({}, smoke={"gpu": "required"}), "smoke.gpu is required"),
    ],
)
def test_a_lock_that_wants_a_gpu_and_names_no_release_is_not_said_to_need_none(
    locked: Lock, why: str, tmp_path: Path
) -> None:
    found = needs(context(Store(tmp_path)), locked)
    cuda = preflight(found, GpuHost(devices=("10.0",)))[0]
    assert (cuda.name, cuda.status) == ("CUDA", "warn")
    assert cuda.detail.startswith("release not known")
    assert cuda.detail.endswith(why)


def test_targets_in_other_words_than_torchs_are_not_guessed(tmp_path: Path) -> None:
    found = needs(context(Store(tmp_path)), _compiled("8.0,9.0"))
    assert found.code == ()
    findings = {each.name: each for each in preflight(found, GpuHost(devices=("9.0",)))}
    assert findings["vllm"].detail.startswith(
        "targets not known: TORCH_CUDA_ARCH_LIST of vllm (8.0"
    )
    assert findings["runs on"].status == findings["GPU 9.0"].status == "warn"


def test_local_versions_and_nvidias_base_images_tell_it_too(tmp_path: Path) -> None:
    digest = Digest.of(b"x")
    base = ImageBase(
        reference="nvidia/cuda:12.8.1-devel-ubuntu22.04", digest=digest, config=digest, layers=()
    )
    mixed = dataclasses.replace(lock({"torch": "2.6.0+cu124"}), base=base)
    found = needs(context(Store(tmp_path)), mixed)
    assert {each.version for each in found.cuda} == {"12.4", "12.8"}
    assert found.compat == "cuda-compat-12-8"
    cuda = preflight(found, GpuHost())[0]
    assert cuda.status == "warn"
    assert cuda.detail == "12.8 (by the base image's tag), and 12.4 beside it"


# --- how a host fits ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("driver", "compat", "status"),
    [
        (None, None, "ok"),
        ("560.35.03", None, "ok"),
        ("535.104.05", None, "warn"),
        ("470.57.02", None, "missing"),
        ("470.57.02", "cuda-compat-12-4", "warn"),
    ],
)
def test_the_driver_is_compared(driver: str | None, compat: str | None, status: str) -> None:
    needed = dataclasses.replace(NEEDS, compat=compat)
    (finding,) = (
        each for each in preflight(needed, GpuHost(driver=driver)) if each.name == "driver"
    )
    assert finding.status == status
    assert finding.detail.startswith("needs 525.60.13 or newer; for all of CUDA 12.4: 550.54.14")
    assert (driver is None) == ("none is here to compare with" in finding.detail)


def test_a_release_beyond_the_table_is_called_unknown() -> None:
    needed = dataclasses.replace(NEEDS, cuda=(Cuda(version="14.2", known_by="cudart"),))
    assert _statuses(needed, GpuHost(driver="700.1"))["driver"] == "warn"


def test_devices_are_judged_by_machine_code_alone() -> None:
    extra = Code(package="extra 1", architectures=("sm_80", "compute_80"), known_by="wheel")
    needed = dataclasses.replace(NEEDS, code=(TORCH, extra))
    statuses = _statuses(needed, GpuHost(devices=("8.9", "9.0", "10.0")))
    assert statuses["GPU 8.9"] == "ok"
    assert statuses["GPU 9.0"] == "warn"  # extra has but PTX for it
    assert statuses["GPU 10.0"] == "missing"  # torch has nothing
    (runs,) = (each for each in preflight(needed, GpuHost()) if each.name == "runs on")
    assert "8.0 (A100)" in runs.detail
    assert "H100" not in runs.detail


def test_a_host_without_proc_is_known_by_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under WSL 2 the driver is Windows' own, and /proc does not know it."""
    said = "printf '550.54.15, 8.9\\n550.54.15, 8.9\\n550.54.15, 9.0\\n'"
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{said}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert this_host() == GpuHost(driver="550.54.15", devices=("8.9", "9.0"))


@pytest.mark.parametrize(
    ("line", "driver"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22", "550.54.14"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.26  Release", "570.26"),
        ("nothing that is known", None),
    ],
)
def test_the_drivers_own_words_are_understood(
    tmp_path: Path, line: str, driver: str | None
) -> None:
    (tmp_path / "version").write_text(line + "\nGCC version:  gcc 12.2.0\n")
    assert driver_version(str(tmp_path / "version")) == driver
    assert driver_version(str(tmp_path / "absent")) is None


def test_one_unread_wheel_is_enough_to_be_unsure() -> None:
    needed = dataclasses.replace(NEEDS, unread=("vllm 1", "a 1", "b 1", "c 1"))
    findings = {each.name: each for each in preflight(needed, GpuHost(devices=("9.0", "10.0")))}
    assert (
        findings["not known"].detail == "the store lacks the wheels of vllm 1, a 1, b 1 and 1 more"
    )
    assert findings["runs on"].status == findings["GPU 9.0"].status == "warn"
    assert findings["GPU 10.0"].status == "missing"  # torch's own lack is known
