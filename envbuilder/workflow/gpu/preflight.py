"""Compare what a lock wants of a GPU with a host: this one, or one that is only described."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from envbuilder.smoke.judge.gpu import runs_on
from envbuilder.smoke.probe.gpu import driver_version
from envbuilder.workflow.doctor import Diagnosis

from .cuda import drivers, fit
from .needs import Code, Cuda, Needs

DEVICES = {
    "7.0": "V100",
    "7.5": "T4, RTX 20",
    "8.0": "A100",
    "8.6": "A10, A40, RTX 30",
    "8.9": "L4, L40S, RTX 40",
    "9.0": "H100, H200",
    "10.0": "B200",
    "10.3": "B300",
    "12.0": "RTX PRO 6000, RTX 50",
}
"""Compute capabilities and who has them. Source: developer.nvidia.com/cuda-gpus."""

SHOWN = 3
"""So many wheels that could not be read are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuHost:
    """A driver ("550.54.14") and the compute capabilities ("9.0") of its devices, where known."""

    driver: str | None = None
    devices: tuple[str, ...] = ()


def this_host() -> GpuHost:
    """Ask the driver of this machine, if there is one."""
    asked = ["nvidia-smi", "--query-gpu=driver_version,compute_cap", "--format=csv,noheader"]
    try:
        listed = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return GpuHost(driver=driver_version())
    found = re.findall(r"(?m)^([\d.]+), (\d+\.\d+)$", listed.stdout)
    return GpuHost(
        driver=found[0][0] if found else driver_version(),
        devices=tuple(dict.fromkeys(device for _, device in found)),
    )


def preflight(needs: Needs, host: GpuHost) -> tuple[Diagnosis, ...]:
    """Say what the lock needs and runs on, and how ``host`` fits; pure."""
    cuda = needs.newest
    if cuda is None and not needs.wanted_by:
        return (Diagnosis(name="CUDA", status="ok", detail="none: this lock needs no GPU"),)
    return (
        *((_cuda(needs, cuda), _driver(needs, cuda, host)) if cuda else (_unnamed(needs),)),
        *(_code(code) for code in needs.code),
        *_unread(needs),
        _runs(needs),
        *(_device(needs, capability) for capability in host.devices),
    )


def _cuda(needs: Needs, cuda: Cuda) -> Diagnosis:
    others = sorted({each.version for each in needs.cuda if each.version != cuda.version})
    if others:
        detail = f"{cuda.version} (by {cuda.known_by}), and {', '.join(others)} beside it"
        advice = "two CUDA releases in one image; the driver must serve the newer one"
        return Diagnosis(name="CUDA", status="warn", detail=detail, advice=advice)
    return Diagnosis(name="CUDA", status="ok", detail=f"{cuda.version}, by {cuda.known_by}")


def _unnamed(needs: Needs) -> Diagnosis:
    return Diagnosis(
        name="CUDA",
        status="warn",
        detail=f"release not known, nor which driver it needs, though {needs.wanted_by}",
        advice="no locked wheel and no tag of the base image names it; ask the base image",
    )


def _driver(needs: Needs, cuda: Cuda, host: GpuHost) -> Diagnosis:
    """Compare the driver with the newest release; NVIDIA's two kinds of compatibility count."""
    wanted = drivers(cuda.version)
    if wanted.least is None:
        detail = f"CUDA {cuda.version} is not in the table here, so its driver is not known"
        advice = "look it up in NVIDIA's CUDA Toolkit release notes"
        return Diagnosis(name="driver", status="warn", detail=detail, advice=advice)
    full = f"{wanted.full} or newer" if wanted.full else f"the one that came with {cuda.version}"
    told = f"needs {wanted.least} or newer; for all of CUDA {cuda.version}: {full}"
    if host.driver is None:
        return Diagnosis(name="driver", status="ok", detail=f"{told}; none is here to compare with")
    fits = fit(host.driver, wanted)
    if fits == "full":
        return Diagnosis(name="driver", status="ok", detail=f"{told}; {host.driver} is")
    if fits == "minor":
        detail = f"{told}; {host.driver} serves it by minor version compatibility"
        advice = "PTX is refused, so only GPUs that the wheels hold machine code for will run"
        return Diagnosis(name="driver", status="warn", detail=detail, advice=advice)
    forward = needs.compat or f"cuda-compat-{cuda.version.replace('.', '-')}"
    has = "has" if needs.compat else "lacks"
    return Diagnosis(
        name="driver",
        status="warn" if needs.compat else "missing",
        detail=f"{told}; {host.driver} is too old",
        advice=f"update it; on data centre GPUs {forward} bridges it, which the image {has}",
    )


def _code(code: Code) -> Diagnosis:
    listed = " ".join(code.architectures)
    return Diagnosis(name=code.package, status="ok", detail=f"{listed}, by {code.known_by}")


def _unread(needs: Needs) -> list[Diagnosis]:
    unclear = [
        Diagnosis(
            name=each.partition(" ")[0],
            status="warn",
            detail=f"targets not known: TORCH_CUDA_ARCH_LIST of {each} is not in torch's words",
            advice='for example "8.0;9.0+PTX"',
        )
        for each in needs.unclear
    ]
    if not needs.unread:
        return unclear
    named = ", ".join(needs.unread[:SHOWN])
    rest = f" and {len(needs.unread) - SHOWN} more" if len(needs.unread) > SHOWN else ""
    detail = f"the store lacks the wheels of {named}{rest}"
    advice = "envbuilder fetch NAME brings them; then this is read from them"
    return [Diagnosis(name="not known", status="warn", detail=detail, advice=advice), *unclear]


def _runs(needs: Needs) -> Diagnosis:
    """List the GPUs that all packages hold machine code for; PTX covers parts and is no proof."""
    if not needs.code:
        return Diagnosis(name="runs on", status="warn", detail="not known: no wheel could be read")
    good = [each for each in DEVICES if all(_holds(code, each) for code in needs.code)]
    listed = ", ".join(f"{each} ({DEVICES[each]})" for each in good)
    detail = f"compute capability {listed}" if good else "none of the GPUs in the table here"
    if needs.unread or needs.unclear:
        return Diagnosis(name="runs on", status="warn", detail=f"as far as is known, {detail}")
    return Diagnosis(name="runs on", status="ok" if good else "missing", detail=detail)


def _device(needs: Needs, capability: str) -> Diagnosis:
    """Judge one device: without torch's code for it nothing runs, without another's something."""
    name, label = f"GPU {capability}", DEVICES.get(capability, "not in the table here")
    lacking = [code.package for code in needs.code if not _holds(code, capability)]
    if lacking:
        return Diagnosis(
            name=name,
            status="missing" if any(each.split()[0] == "torch" for each in lacking) else "warn",
            detail=f"{label}: no machine code for it in {', '.join(lacking)}",
            advice="bump to releases that are built for it, or choose another GPU",
        )
    if needs.unread or needs.unclear or not needs.code:
        return Diagnosis(name=name, status="warn", detail=f"{label}: not known of every package")
    return Diagnosis(name=name, status="ok", detail=f"{label}: all have machine code for it")


def _holds(code: Code, capability: str) -> bool:
    return runs_on(capability, [name for name in code.architectures if name.startswith("sm_")])
