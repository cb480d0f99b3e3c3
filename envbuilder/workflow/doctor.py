"""Look at the machine: what envbuilder can do here, and what to do about the rest.

Each check tries the thing itself where it can, since version numbers promise what a host then
refuses. Checks never raise for what they find missing: that is a finding.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from envbuilder.engines.buildkit import find_builder
from envbuilder.model.errors import EnvbuilderError, SmokeError
from envbuilder.model.image import Image
from envbuilder.model.package_spec import Index
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.resolve.context import Context
from envbuilder.resolve.python.download import IndexClient
from envbuilder.resolve.python.releases import releases
from envbuilder.resolve.python.requirements import PythonTarget
from envbuilder.runtime import Command, cdi
from envbuilder.runtime.cgroup import cgroups
from envbuilder.runtime.docker import connect
from envbuilder.runtime.oci import PreparedTrees, find_program, find_runtime
from envbuilder.storage.store import Store

Status = Literal["ok", "warn", "missing"]

_PATIENCE = 20.0  # seconds that a program may take to tell its version
_ROOM = 30 << 30  # bytes: the GPU example's wheels, layers and unpacked trees
_DRIVER = Path("/proc/driver/nvidia/version")
_NO_USER_NAMESPACES = {  # what to write where this file holds that
    Path("/proc/sys/user/max_user_namespaces"): ("0", "sysctl user.max_user_namespaces=15000"),
    Path("/proc/sys/kernel/unprivileged_userns_clone"): (
        "0",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"): (
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that was looked at.

    "missing" stops some command, "warn" makes one slower, weaker or unavailable in part; both come
    with ``advice``: what to run or set.
    """

    name: str
    status: Status
    detail: str
    advice: str = ""


def examine(context: Context, *, images: Iterable[ImageRef] = ()) -> tuple[Diagnosis, ...]:
    """Look at this machine and return what was found, in a fixed order.

    ``images`` are references whose registries must answer, such as the bases of the specs.
    """
    store = context.store
    checks: list[Callable[[], Diagnosis]] = [
        lambda: oci_runtime(store),
        memory_limits,
        user_namespaces,
        lambda: docker_engine(store),
        builder,
        nvidia_driver,
        lambda: gpu_devices(store),
        lambda: disk(store),
        lambda: program("git", needed_for="git sources", advice="apt-get install git"),
        lambda: program(
            "apt-get", needed_for="Debian bases and system packages", advice="use Debian or Ubuntu"
        ),
        lambda: program(
            "mmdebstrap", needed_for="Debian bases", advice="apt-get install mmdebstrap uidmap"
        ),
        lambda: package_index(context.indexes),
        *((lambda image=image: registry(context.registries, image)) for image in images),
    ]
    with ThreadPoolExecutor(len(checks)) as pool:
        return tuple(pool.map(lambda check: check(), checks))


def oci_runtime(store: Store) -> Diagnosis:
    """Start a container of nothing: only its program is missing if all else is well."""
    name = "container runtime"
    try:
        runtime = find_runtime(store)
        with store.scratch() as empty:
            image = Image(manifest=b"{}", config=b"{}", layers=())
            bare = PreparedTrees(runtime=runtime, image=image, trees=(empty.absolute(),))
            bare.run(Command(args=("/nothing",), timeout=60))
    except SmokeError:
        who = "as root" if os.geteuid() == 0 else "without root"
        return Diagnosis(name=name, status="ok", detail=f"{runtime.name} works here {who}")
    except EnvbuilderError as error:
        return _problem(name, error)
    return Diagnosis(
        name=name,
        status="missing",
        detail=f"{runtime.name} started a program that is not there",
        advice="reinstall it: apt-get install --reinstall crun",
    )


def memory_limits() -> Diagnosis:
    """Make cgroups of memory and of processes, and remove them."""
    with cgroups({"memory": 1 << 30, "pids": 1 << 10}) as held:
        if held.paths.keys() >= {"memory", "pids"}:
            return Diagnosis(
                name="memory limits", status="ok", detail="by cgroup, for all processes"
            )
    return Diagnosis(
        name="memory limits",
        status="warn",
        detail="no cgroup may be made here: limits hold for each process by itself",
        advice="run as root, or in a session of systemd, which delegates cgroups",
    )


def user_namespaces() -> Diagnosis:
    """Read whether the kernel lets users who are not root run containers."""
    for file, (bad, advice) in _NO_USER_NAMESPACES.items():
        if file.exists() and file.read_text().strip() == bad:
            return Diagnosis(
                name="rootless containers", status="warn", detail=f"{file} is {bad}", advice=advice
            )
    return Diagnosis(name="rootless containers", status="ok", detail="user namespaces are allowed")


def docker_engine(store: Store) -> Diagnosis:
    """Ask the engine what it is; only ``--runtime docker`` and ``--engine docker`` need one."""
    name = "Docker Engine"
    try:
        facts = connect(store).facts()
    except EnvbuilderError as error:
        return _problem(name, error, status="warn")
    rootless = ", rootless" if "name=rootless" in (facts["SecurityOptions"] or ()) else ""
    detail = f"{facts['ServerVersion']}{rootless}"
    free = _ROOM
    if facts["Name"] == platform.node():
        with suppress(OSError):  # its folder may be hidden from us, or inside a VM
            free = shutil.disk_usage(facts["DockerRootDir"]).free
            detail += f", {free / 1e9:.0f} GB free for images in {facts['DockerRootDir']}"
    if free < _ROOM:
        return Diagnosis(name=name, status="warn", detail=detail, advice="docker system prune")
    return Diagnosis(name=name, status="ok", detail=detail)


def builder() -> Diagnosis:
    """Ask for the builder in use, which must be fit as a build will want it."""
    name = "BuildKit"
    try:
        found = find_builder()
    except EnvbuilderError as error:
        return _problem(name, error, status="warn")
    return Diagnosis(name=name, status="ok", detail=f"{found.version}, driver {found.driver}")


def nvidia_driver() -> Diagnosis:
    """Read the version of the loaded NVIDIA driver."""
    if not _DRIVER.exists():
        return Diagnosis(
            name="NVIDIA driver",
            status="warn",
            detail="none is loaded: smoke checks run on the CPU",
            advice="install the driver where this machine has a GPU",
        )
    return Diagnosis(
        name="NVIDIA driver", status="ok", detail=_DRIVER.read_text().splitlines()[0].strip()
    )


def gpu_devices(store: Store) -> Diagnosis:
    """Look for the CDI files that describe the GPUs to containers, else for Docker's own way."""
    name = "GPUs in containers"
    try:
        edits = cdi.nvidia_devices()
    except EnvbuilderError as error:
        with suppress(EnvbuilderError):  # what ails the engine is another check's
            if "nvidia" in (connect(store).facts()["Runtimes"] or ()):
                detail = "by Docker's runtime nvidia, with --runtime docker alone"
                return Diagnosis(name=name, status="warn", detail=detail, advice=error.hint)
        return _problem(name, error, status="missing" if _DRIVER.exists() else "warn")
    nodes = sum(len(edit.get("deviceNodes") or ()) for edit in edits)
    return Diagnosis(name=name, status="ok", detail=f"{nodes} device nodes by CDI")


def disk(store: Store) -> Diagnosis:
    """Compare the free space around the store with what a GPU environment takes."""
    place = next(path for path in (store.root, *store.root.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / 1e9:.0f} GB free for the store {store.root}"
    if free < _ROOM:
        advice = "`envbuilder cache prune`, or set ENVBUILDER_CACHE to a larger disk"
        return Diagnosis(name="disk", status="warn", detail=detail, advice=advice)
    return Diagnosis(name="disk", status="ok", detail=detail)


def program(name: str, *, needed_for: str, advice: str) -> Diagnosis:
    """Ask a program for its version."""
    found = _output(str(find_program(name) or name), "--version")
    if found is None:
        detail = f"not installed; {needed_for} need it"
        return Diagnosis(name=name, status="missing", detail=detail, advice=advice)
    return Diagnosis(name=name, status="ok", detail=found)


def package_index(indexes: IndexClient) -> Diagnosis:
    """Ask the configured package indexes for something that every index has."""
    target = PythonTarget(python=platform.python_version()[:4], platform="linux/amd64")
    try:
        newest = releases(indexes, "pip", target=target, index=Index())[-1].version
    except EnvbuilderError as error:
        return _problem("Python package index", error)
    return Diagnosis(name="Python package index", status="ok", detail=f"answers; pip {newest}")


def registry(registries: Client, image: ImageRef) -> Diagnosis:
    """Ask a registry for an image, by one HEAD request."""
    name = f"registry {image.registry}"
    try:
        digest = registries.repository(image).find(image.digest or image.tag or "latest")
    except EnvbuilderError as error:
        return _problem(name, error)
    if digest is None:
        return Diagnosis(
            name=name,
            status="missing",
            detail=f"answers, but does not have {image}",
            advice="check the name, or log in with `docker login`",
        )
    return Diagnosis(name=name, status="ok", detail=f"has {image}")


def _problem(name: str, error: EnvbuilderError, *, status: Status = "missing") -> Diagnosis:
    return Diagnosis(name=name, status=status, detail=error.message, advice=error.hint)


def _output(*command: str) -> str | None:
    """Return the first line that a program prints, None if it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.splitlines()), "")
