"""GPUs by the Container Device Interface: a vendor's file says what a container needs of the host.

``nvidia-ctk cdi generate`` writes such a file; its devices, mounts, variables and hooks are copied
into the runtime configuration as they are. Source: CDI specification 0.3 to 1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from envbuilder.model.codec import MisfitError, any_json, from_plain
from envbuilder.model.errors import MissingToolError

Edits = Mapping[str, Any]

_DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))  # later ones take precedence
_KIND = "nvidia.com/gpu"
_HINT = (
    "install the NVIDIA Container Toolkit, then run"
    " `nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
)


class _Node(Struct, rename="camel"):
    path: str
    host_path: str | None = None
    permissions: str | None = None


class _Mount(Struct, rename="camel"):
    host_path: str
    container_path: str
    type: str | None = None
    options: list[str] | None = None


class _Hook(Struct, rename="camel"):
    hook_name: str
    path: str
    args: list[str] | None = None
    env: list[str] | None = None


class _Edits(Struct, rename="camel"):
    env: list[str] | None = None
    device_nodes: list[_Node] | None = None
    mounts: list[_Mount] | None = None
    hooks: list[_Hook] | None = None
    additional_gids: list[int] | None = None


class _Device(Struct, rename="camel"):
    name: str | int
    container_edits: _Edits | None = None


class _File(Struct, rename="camel"):
    """What we use of a CDI file; further members are the runtime's business, or nobody's."""

    devices: list[_Device]
    container_edits: _Edits | None = None


def nvidia_devices(directories: Iterable[Path] = _DIRECTORIES) -> tuple[Edits, ...]:
    """Return what this host's CDI files want done for all NVIDIA GPUs.

    Raises MissingToolError if no file describes any, or one cannot be read or is no CDI file.
    """
    for file in _newest_first(directories):
        spec = _read(file)
        if spec.get("kind") == _KIND and spec.get("devices"):
            _check(spec, file)
            return device_edits(spec)
    raise MissingToolError(f"no CDI file describes a {_KIND} device on this host", hint=_HINT)


def device_edits(spec: Mapping[str, Any]) -> tuple[Edits, ...]:
    """Return the edits common to all devices of ``spec``, then those of the devices asked for.

    That is the device "all" if there is one, else every device.
    """
    devices = {each["name"]: each.get("containerEdits") or {} for each in spec["devices"]}
    chosen = [devices["all"]] if "all" in devices else list(devices.values())
    return (spec.get("containerEdits") or {}, *chosen)


def with_devices(config: Mapping[str, Any], edits: Iterable[Edits]) -> dict[str, Any]:
    """Return the runtime ``config`` with CDI ``edits`` applied, each path at most once."""
    made = deepcopy(dict(config))
    for edit in edits:
        _set_env(made["process"], edit.get("env") or ())
        for node in edit.get("deviceNodes") or ():
            _bind_device(made["mounts"], node)
        for mount in edit.get("mounts") or ():
            _add_mount(made["mounts"], _mount(mount))
        for hook in edit.get("hooks") or ():
            steps = made.setdefault("hooks", {}).setdefault(hook["hookName"], [])
            steps.append({key: value for key, value in hook.items() if key != "hookName"})
        groups = made["process"]["user"].setdefault("additionalGids", [])
        groups += [gid for gid in edit.get("additionalGids") or () if gid and gid not in groups]
    return made


def _set_env(process: dict[str, Any], entries: Iterable[str]) -> None:
    names = {entry.partition("=")[0] for entry in entries}
    kept = [entry for entry in process["env"] if entry.partition("=")[0] not in names]
    process["env"] = [*kept, *entries]


def _bind_device(mounts: list[dict[str, Any]], node: Mapping[str, Any]) -> None:
    # Binding the host's node needs no mknod, so that root and everybody else go one way.
    source = node.get("hostPath") or node["path"]
    options = ["bind", "nosuid", "noexec", "ro" if node.get("permissions") == "r" else "rw"]
    _add_mount(
        mounts,
        {"source": source, "destination": node["path"], "type": "bind", "options": options},
    )


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": mount["hostPath"],
        "destination": mount["containerPath"],
        "type": mount.get("type") or "bind",
        "options": list(mount.get("options") or ["rbind", "ro"]),
    }


def _add_mount(mounts: list[dict[str, Any]], mount: dict[str, Any]) -> None:
    if all(present["destination"] != mount["destination"] for present in mounts):
        mounts.append(mount)


def _newest_first(directories: Iterable[Path]) -> list[Path]:
    found = []
    for directory in reversed(tuple(directories)):
        if directory.is_dir():
            files = [p for p in directory.iterdir() if p.suffix in {".json", ".yaml", ".yml"}]
            found += sorted(files)
    return found


def _check(spec: Mapping[str, Any], file: Path) -> None:
    try:
        from_plain(spec, _File)
    except MisfitError as error:
        raise MissingToolError(f"{file} is not a CDI file: {error}", hint=_HINT) from error


def _read(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text()
        spec = any_json(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise MissingToolError(f"cannot read {file}: {error}", hint=_HINT) from error
    if not isinstance(spec, dict):
        raise MissingToolError(f"{file} is not a CDI file: expected a mapping", hint=_HINT)
    return spec
