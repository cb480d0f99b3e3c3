"""What the GPU, its driver and the installed torch say of each other."""

from __future__ import annotations

import ctypes
import re
from typing import Any

from .facts import Absent, Emitter, Facts, describe


def run(_request: Facts, emit: Emitter) -> None:
    """Emit the driver's CUDA version, torch's own, its arch list, and each device's capability."""
    emit(facts={"driver_cuda": driver_cuda(), "driver": driver_version()})
    try:
        import torch
    except ModuleNotFoundError as error:
        raise Absent("torch is not installed") from error
    emit(facts={"torch": torch.__version__, "torch_cuda": torch.version.cuda})
    if torch.version.cuda is None:
        return
    emit(facts={"arch_list": compiled_for(torch)})
    if not torch.cuda.is_available():
        emit(facts={"unavailable": why_not(torch)})
        return
    for number in range(torch.cuda.device_count()):
        emit(doing=f"multiplying on device {number}")
        emit(item=device(torch, number))


def driver_cuda() -> str | None:
    """Return the newest CUDA version that the driver serves ("12.4"), or None without a driver."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def driver_version(file: str = "/proc/driver/nvidia/version") -> str | None:
    """Return the version of the loaded driver ("550.54.14"), or None if none is loaded."""
    try:
        with open(file, encoding="utf-8") as stream:
            found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", stream.readline())
    except OSError:
        return None
    return found[1] if found else None


def compiled_for(torch: Any) -> list[str]:
    """Return the architectures that torch carries code for; readable without any GPU."""
    return (torch._C._cuda_getArchFlags() or "").split()


def why_not(torch: Any) -> str:
    """Return the reason that CUDA itself gives for not starting."""
    try:
        torch.cuda.init()
    except Exception as error:
        return describe(error)
    return "no device is visible"


def device(torch: Any, number: int) -> Facts:
    """Return what device ``number`` is, and whether a small matrix product on it is right."""
    properties = torch.cuda.get_device_properties(number)
    ones = torch.ones(64, 64, device=f"cuda:{number}")
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory": properties.total_memory,
        "computes": float((ones @ ones).sum()) == 64.0**3,
    }
