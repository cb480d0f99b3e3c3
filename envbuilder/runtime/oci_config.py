"""The OCI runtime configuration of one command: a pure function of image, command and host.

Source: OCI runtime-spec 1.0 ("config.json"). The lists of hidden and read-only kernel files are
those that every container engine agrees on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .command import Command, Mount
from .limits import tmpfs_options
from .seccomp import profile
from .user import User

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CAPABILITIES = ("bounding", "effective", "inheritable", "permitted", "ambient")


def oci_config(
    settings: Mapping[str, Any],
    command: Command,
    *,
    user: User,
    scratch: int,
    limits: Mapping[str, int],
    mapped: bool = False,
) -> dict[str, Any]:
    """Return the config.json that runs ``command`` in an image with these ``settings``.

    Expected beside it are the root file system (``rootfs``), a sysfs (``sys``) and the command's
    overlays, by their numbers (``overlay-0``). There is no
    network namespace in it: the command stays in the one of the cage that starts the runtime.

    ``mapped`` says that we are an unprivileged user, to whom the cage has no user but root: another
    ``user`` then gets a user namespace of its own. ``scratch`` bounds each of its file systems in
    memory (bytes), ``limits`` each of its processes (names of setrlimit(2)).
    """
    mapped = mapped and user.uid != 0
    return {
        "ociVersion": "1.0.2",
        "hostname": "envbuilder",
        "root": {"path": "rootfs", "readonly": True},
        "process": _process(settings, command, user=user, limits=limits),
        "mounts": [*_kernel_mounts(), *_own_mounts(command, scratch)],
        "linux": {
            "namespaces": [
                {"type": kind}
                for kind in ("pid", "mount", "ipc", "uts", *(("user",) if mapped else ()))
            ],
            **(_mappings(user) if mapped else {}),
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READ_ONLY),
            "seccomp": profile(),
        },
    }


def in_memory(command: Command) -> tuple[str, ...]:
    """Return where ``command`` may write, in memory of its own."""
    return ("/tmp", "/dev/shm", *command.tmpfs)  # noqa: S108


def environment(settings: Mapping[str, Any], command: Command, *, user: User) -> list[str]:
    """Merge Env of the image with that of the command, which wins; PATH and HOME always exist."""
    env = {"PATH": _PATH, "HOME": user.home}
    env |= dict(entry.partition("=")[::2] for entry in settings.get("Env") or ())
    env |= command.env
    return [f"{name}={value}" for name, value in env.items()]


def _process(
    settings: Mapping[str, Any], command: Command, *, user: User, limits: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "terminal": False,
        "user": {"uid": user.uid, "gid": user.gid},
        "args": list(command.args),
        "env": environment(settings, command, user=user),
        "cwd": command.workdir or settings.get("WorkingDir") or "/",
        "capabilities": {kind: [] for kind in _CAPABILITIES},
        "noNewPrivileges": True,
        "rlimits": [{"type": kind, "soft": value, "hard": value} for kind, value in limits.items()],
    }


def _mappings(user: User) -> dict[str, Any]:
    return {
        "uidMappings": [{"containerID": user.uid, "hostID": 0, "size": 1}],
        "gidMappings": [{"containerID": user.gid, "hostID": 0, "size": 1}],
    }


def _kernel_mounts() -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    return [
        _mount("proc", "/proc", "proc", safe),
        _mount("tmpfs", "/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "devpts", "/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666"]
        ),
        _mount("mqueue", "/dev/mqueue", "mqueue", safe),
        _mount("sys", "/sys", "bind", ["rbind", *safe, "ro"]),
    ]


def _own_mounts(command: Command, scratch: int) -> list[dict[str, Any]]:
    options = ["nosuid", "nodev", "mode=1777", *tmpfs_options(scratch)]
    memory = [_mount("tmpfs", path, "tmpfs", options) for path in in_memory(command)]
    overlays = [
        _mount(f"overlay-{number}", overlay.target, "bind", ["bind", "nosuid", "nodev", "ro"])
        for number, overlay in enumerate(command.overlays)
    ]
    return [*memory, *overlays, *(_bind(mount) for mount in command.mounts)]


def _bind(mount: Mount) -> dict[str, Any]:
    access = "ro" if mount.read_only else "rw"
    options = ["rbind", "nosuid", "nodev", access]
    return _mount(str(mount.source.absolute()), mount.target, "bind", options)


def _mount(source: str, target: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"source": source, "destination": target, "type": kind, "options": options}
