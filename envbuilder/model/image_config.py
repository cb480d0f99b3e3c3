"""What an image's config says of how it runs: environment, user, entry point, labels.

Pure: a lock, and the settings of the base image if there is one, give one dictionary in the
terms of the OCI image configuration (image-spec 1.1, "config").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs

from envbuilder.model.plan import LAYOUT_VERSION

from .account import user_setting
from .image_spec import Healthcheck
from .lock import ImageBase, Lock, spec_checksum
from .plan import PREFIX, is_cuda
from .pylock import lock_checksum
from .spec import Spec
from .variables import expanded, names_in

LABEL = "dev.gpu-envbuilder"
"""Prefix of our own labels: .name, .spec and .lock (checksums), .layout (version)."""

_NANOSECONDS = 10**9
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def image_settings(lock: Lock, base: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the base's settings, the environment's own, and the spec's, each over those before."""
    spec = lock.spec
    settings: dict[str, Any] = {
        "Env": [f"{name}={value}" for name, value in environment(lock, base).items()],
        "Labels": labels(lock, base),
    }
    given = {
        "User": user_setting(spec),
        "WorkingDir": spec.workdir,
        "Entrypoint": list(spec.entrypoint),
        "Cmd": list(spec.cmd),
    }
    for key, value in given.items():
        if chosen := value or base.get(key):
            settings[key] = chosen
    if spec.entrypoint and not spec.cmd:
        settings.pop("Cmd", None)  # as Docker does: a new entry point drops the base's arguments
    if "Entrypoint" not in settings and "Cmd" not in settings:
        settings["Cmd"] = ["python3"]
    ports: dict[str, Any] = {f"{port}/tcp": {} for port in spec.expose} | dict(
        base.get("ExposedPorts") or {}
    )
    if ports:
        settings["ExposedPorts"] = ports
    return settings | _more(spec, base)


def _more(spec: Spec, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are no part of OCI's own, but known to Docker and Podman."""
    own: dict[str, Any] = {
        "Volumes": {path: {} for path in spec.volumes} | dict(base.get("Volumes") or {}),
        "StopSignal": spec.stop_signal or base.get("StopSignal"),
        "Healthcheck": _healthcheck(spec.healthcheck) or base.get("Healthcheck"),
        "Shell": list(spec.shell) or base.get("Shell"),
    }
    return {key: value for key, value in own.items() if value}


def _healthcheck(check: Healthcheck | None) -> dict[str, Any]:
    if check is None:
        return {}
    times = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
    }
    found: dict[str, Any] = {"Test": ["CMD", *check.command]}
    found |= {key: seconds * _NANOSECONDS for key, seconds in times.items() if seconds}
    return found | ({"Retries": check.retries} if check.retries else {})


def environment(lock: Lock, base: Mapping[str, Any]) -> dict[str, str]:
    """Return the image's environment variables in the order in which they are written.

    Those of the spec may name others, of the base's and the environment's own: see ``variables``.
    """
    inherited = dict(entry.partition("=")[::2] for entry in base.get("Env") or ())
    path = inherited.get("PATH") or _SYSTEM_PATH
    own = {"PATH": f"{PREFIX}/bin:{path}", "VIRTUAL_ENV": PREFIX, "LANG": "C.UTF-8"}
    if is_cuda(lock):
        # Without these the NVIDIA runtime mounts no driver into the container.
        own |= {
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        }
    known = inherited | own
    return known | {name: expanded(text, known) for name, text in sorted(lock.spec.env.items())}


def unknown_variables(lock: Lock) -> list[tuple[str, str]]:
    """List (variable of the spec, name in it that nothing sets), sorted.

    What an image base sets, its config alone says, so there none is listed.
    """
    if isinstance(lock.base, ImageBase):
        return []
    known = environment(replace(lock, spec=structs.replace(lock.spec, env={})), {})
    pairs = ((key, name) for key, text in lock.spec.env.items() for name in names_in(text))
    return sorted(pair for pair in pairs if pair[1] not in known)


def labels(lock: Lock, base: Mapping[str, Any]) -> dict[str, str]:
    """Return the image's labels; ours cannot be overridden, they are what ``verify`` reads."""
    standard = {"org.opencontainers.image.title": lock.spec.name}
    if isinstance(lock.base, ImageBase):
        standard |= {
            "org.opencontainers.image.base.name": lock.base.reference,
            "org.opencontainers.image.base.digest": str(lock.base.digest),
        }
    own: dict[str, Any] = {
        f"{LABEL}.name": lock.spec.name,
        f"{LABEL}.spec": str(spec_checksum(lock.spec)),
        f"{LABEL}.lock": str(lock_checksum(lock)),
        f"{LABEL}.layout": str(LAYOUT_VERSION),
    }
    return dict(base.get("Labels") or {}) | standard | lock.spec.labels | own
