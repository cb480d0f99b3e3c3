"""Judge the GPU: driver, CUDA version, and whether the wheels carry code for the devices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from envbuilder.smoke.plan import SmokePlan
from envbuilder.smoke.report import Check

from . import jobs
from .finding import Fault, conclude, skipped


def judge(plan: SmokePlan, document: Mapping[str, Any]) -> list[Check]:
    """Return the GPU check: skipped without a driver or a CUDA build, unless a GPU is required."""
    job = jobs.named(document, "gpu")
    if job is None or plan.gpu == "never":
        return []
    stopped = jobs.failure(job)
    facts, required = job["facts"], plan.gpu == "required"
    reached = stopped is None or job["outcome"] in {"absent", "inapplicable"}
    if not required and reached and not (facts.get("driver_cuda") and facts.get("torch_cuda")):
        driver = "" if facts.get("driver_cuda") else "no NVIDIA driver here; "
        why = stopped.text if stopped else driver + _needs(facts)
        return [skipped("gpu", why, seconds=job["seconds"])]
    findings = [stopped] if stopped else [*_missing(facts), *_unfit(facts, job["items"])]
    names = ", ".join(item["name"] for item in job["items"])
    return [
        conclude(
            "gpu",
            findings,
            good=(names, f"torch {facts.get('torch')} computes on {names}"),
            seconds=job["seconds"],
            details={"facts": facts, "devices": job["items"]},
        )
    ]


def _needs(facts: Mapping[str, Any]) -> str:
    if not facts.get("torch_cuda"):
        return f"torch {facts.get('torch')} is built for the CPU alone"
    known = ", ".join(facts.get("arch_list", ()))
    return f"torch {facts['torch']} needs a driver for CUDA {facts['torch_cuda']}, runs on {known}"


def _missing(facts: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what keeps torch from any GPU."""
    if not facts.get("torch_cuda"):
        yield _finding("gpu-cpu-build", _needs(facts), "a CUDA build", "a CPU build", facts)
    elif facts.get("driver_cuda") is None:
        text = "a GPU is required, but no NVIDIA driver is visible; " + _needs(facts)
        yield _finding("gpu-no-driver", text, "a driver", "none", facts)
    elif "unavailable" in facts:
        text = (
            f"the driver serves CUDA {facts['driver_cuda']}, torch wants {facts['torch_cuda']}: "
            f"{facts['unavailable']}"
        )
        wanted, found = f"CUDA {facts['torch_cuda']}", f"CUDA {facts['driver_cuda']}"
        yield _finding("gpu-driver-old", text, wanted, found, facts)


def _unfit(facts: Mapping[str, Any], devices: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield the devices that torch has no code for, or computes wrongly on."""
    for device in devices:
        label = f"{device['name']} (compute capability {device['capability']})"
        if not runs_on(device["capability"], facts.get("arch_list", ())):
            known = " ".join(facts.get("arch_list", ()))
            text = (
                f"torch {facts.get('torch')} carries no code for {label}: it was built for {known}"
            )
            yield _finding("gpu-arch", text, f"sm_{device['capability']}", known, facts)
        elif not device["computes"]:
            text = f"a product of two small matrices is wrong on {label}"
            yield _finding("gpu-wrong", text, "262144", "another sum", facts)


def runs_on(capability: str, arch_list: Sequence[str]) -> bool:
    """Return whether code for ``arch_list`` runs on a device of ``capability`` ("9.0").

    ``sm_XY`` runs on the same major version from minor Y up, ``compute_XY`` (PTX) on any newer
    device, ``sm_XYa`` on exactly X.Y, ``sm_XYf`` (family code) like ``sm_XY`` also if it is PTX.
    Source: CUDA C++ Programming Guide, "Application Compatibility" and "Feature Availability".
    """
    major, minor = (int(part) for part in capability.split("."))
    for name in arch_list:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        if match is None:
            continue
        built = int(match[2]), int(match[3])
        if match[4] == "a":
            fits = built == (major, minor)
        elif match[1] == "sm" or match[4]:
            fits = built[0] == major and built[1] <= minor
        else:
            fits = built <= (major, minor)
        if fits:
            return True
    return False


def _finding(kind: str, text: str, expected: str, actual: str, facts: Mapping[str, Any]) -> Fault:
    return Fault(kind=kind, text=text, expected=expected, actual=actual, facts=facts)
