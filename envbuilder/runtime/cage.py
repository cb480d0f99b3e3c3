"""Run an OCI runtime inside private namespaces, as their first process.

Runs as a program by its path, in fresh mount, pid and network namespaces (``oci.py`` says how),
with nothing but the standard library. All that a container needs (its root file system, its bundle,
the runtime's state) is mounted here, in memory, so that the kernel takes it away together with
the last process, however that one ends: nothing is left to clean up, not even after kill -9.

Arguments: two file descriptors. From the first comes the job as JSON, to the second goes the
report: ``{"exit_code", "peak_memory"}``, ``{"start_error"}`` if the command cannot be started,
or ``{"cage_error"}`` if the host does not allow the cage.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 32, 4096, 16384
_MS_KEEP = {"nosuid": 2, "nodev": 4, "noexec": 8, "relatime": 1 << 21, "noatime": 1024}
# An image's device nodes open nothing, and its set-id bits change nobody, on any mount of ours.
_SAFE = _MS_KEEP["nosuid"] | _MS_KEEP["nodev"]
# What lies in memory beside the command's own tmpfs: mount points, the bundle, drivers' links.
_STAGE = "mode=0755,size=512m,nr_inodes=256k"
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_CGROUPS = "/sys/fs/cgroup"


def main() -> None:
    """Read the job, do it, write the report."""
    job_fd, report_fd = map(int, sys.argv[1:])
    with os.fdopen(job_fd) as file:
        job = json.load(file)
    try:
        report = run(job)
    except OSError as error:
        report = {"cage_error": str(error)}
    with os.fdopen(report_fd, "w") as file:
        json.dump(report, file)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Set the stage, run the runtime on it to its end, and report.

    ``job``: ``directory`` (empty; hidden under a tmpfs), ``trees`` (lowest first), ``overlays``
    (of each, its folders, lowest first), ``config``, ``runtime`` (path), ``join`` (cgroup.procs
    files to enter), ``network`` ("none", or "host": the caller has left us in the host's).
    """
    for path in job["join"]:
        Path(path).write_text("0")
    if job["network"] == "none":
        raise_loopback()
    mount("tmpfs", job["directory"], "tmpfs", _SAFE, data=_STAGE)
    os.chdir(job["directory"])
    mount_rootfs(job["trees"])
    for number, folders in enumerate(job["overlays"]):
        mount_overlay(f"overlay-{number}", folders)
    Path("sys").mkdir()
    if job["network"] == "none":
        # Only who owns the network namespace may mount its sysfs: the cage, but no nested user.
        mount("sysfs", "sys", "sysfs", _SAFE | _MS_KEEP["noexec"])
    else:
        mount("/sys", "sys", "none", _MS_BIND | _MS_REC)
    Path("config.json").write_text(json.dumps(job["config"]))
    return start(job["runtime"])


def raise_loopback() -> None:
    """Bring up ``lo``: servers and torch.distributed talk to themselves through it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))


def mount_rootfs(trees: list[str]) -> None:
    """Overlay ``trees`` at ``rootfs``; mount points and driver hooks write to memory above them.

    The trees go by short links, since all options together must fit into one page.
    """
    for number, tree in enumerate(trees):
        Path(str(number)).symlink_to(tree)
    for name in ("upper", "work", "rootfs"):
        Path(name).mkdir()
    lower = ":".join(str(number) for number in reversed(range(len(trees))))
    data = f"lowerdir={lower},upperdir=upper,workdir=work,userxattr"
    mount("overlay", "rootfs", "overlay", _SAFE, data=data)


def mount_overlay(name: str, folders: list[str]) -> None:
    """Overlay ``folders``, the lowest first, at ``name``; nothing can be written there."""
    Path(name).mkdir()
    links = [f"{name}.{number}" for number in range(len(folders))]
    for link, folder in zip(links, folders, strict=True):
        Path(link).symlink_to(folder)
    data = f"lowerdir={':'.join(reversed(links))},userxattr"
    mount("overlay", name, "overlay", _SAFE | _MS_RDONLY, data=data)


def start(runtime: str) -> dict[str, Any]:
    """Run ``runtime`` on the bundle that is the working directory and wait for its end."""
    here = Path.cwd()
    options = [f"--root={here}/state", f"--log={here}/log", "--log-format=json"]
    # The cage is in its cgroup already: the runtime must make none that could outlive it.
    if Path(runtime).name == "crun":
        mount(
            "tmpfs", _CGROUPS, "tmpfs", _SAFE | _MS_RDONLY
        )  # crun refuses to start on mixed hierarchies
        options.append("--cgroup-manager=disabled")
    else:
        seal_cgroups()
        options.append("--rootless=true")  # to runc this also means: cgroups may be denied
    process = subprocess.Popen([runtime, *options, "run", "--bundle=.", "command"])
    _, status, usage = os.wait4(process.pid, 0)
    if message := start_error(here / "log"):
        return {"start_error": message}
    return {
        "exit_code": os.waitstatus_to_exitcode(status),
        "peak_memory": usage.ru_maxrss * 1024,
    }


def seal_cgroups() -> None:
    """Make every cgroup hierarchy read-only, in this mount namespace alone."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        path, options = line.split()[4:6]
        if path.startswith(_CGROUPS):
            keep = sum(_MS_KEEP.get(option, 0) for option in options.split(","))
            mount("none", path, "none", _MS_BIND | _MS_REMOUNT | _MS_RDONLY | keep)


def start_error(log: Path) -> str:
    """Return the last error that the runtime logged, or nothing."""
    if not log.exists():
        return ""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    errors = [str(entry["msg"]) for entry in entries if entry.get("level") == "error"]
    return errors[-1] if errors else ""


def mount(source: str, target: str, kind: str, flags: int = 0, *, data: str = "") -> None:
    """Attach a file system by the system call itself.

    mount(8) limits or rewrites long overlay options, each version in its own way.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [text.encode() for text in (source, target, kind)]
    if libc.mount(*arguments, ctypes.c_ulong(flags), data.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mounting {kind} on {target}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
