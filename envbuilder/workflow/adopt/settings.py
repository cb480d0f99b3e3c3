"""What an image's config or a Dockerfile says of how it runs, as keys of a spec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .statements import At, Setting, Statement, left, taken

_SECRET = re.compile(
    r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|APIKEY|API_KEY|ACCESS_KEY)s?(_|$)", re.IGNORECASE
)
_OF_BASE = re.compile(r"NV_\w+|NVARCH|CUDA_VERSION|PYTHON_\w+|GPG_KEY|HOME|OLDPWD|PWD|SHLVL")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_ENVIRONMENT = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "UV_SYSTEM_PYTHON"}
_ENVIRONMENTS = re.compile(r"\S*(venv|virtualenv|env|py3|conda)\S*/bin")
_BUILDS = re.compile(r"PIP_\w+|UV_\w+|POETRY_\w+|DEBIAN_FRONTEND|DEBCONF_\w+")
_NANOSECONDS = 10**9


def environment_statement(at: At, name: str, value: str, *, inherited: bool = False) -> Statement:
    """Read an environment variable; the base may bring again what is ``inherited``."""
    if _SECRET.search(name) and value:
        return left(At(place=at.place, text=f"ENV {name}=…"), "it looks like a secret")
    if name == "PATH":
        return _path_statement(at, value)
    if name in _OF_ENVIRONMENT:
        return taken(at, note="the environment lies where envbuilder lays it")
    if _BUILDS.fullmatch(name):
        return taken(at, note=f"{name} is about the build, which envbuilder does its own way")
    if inherited and _OF_BASE.fullmatch(name):
        return taken(at, note="the base brings it")
    if "$" in value:
        return left(at, "it builds on a value of the base that is not known here")
    return taken(at, Setting(path=("env", name), value=value))


def _path_statement(at: At, value: str) -> Statement:
    """Read PATH: the environment's own bin comes first anyway; other folders are not known."""
    known = {*_SYSTEM_PATH.split(":"), "$PATH", "${PATH}"}
    more = [each for each in value.split(":") if each and each not in known]
    if all(_ENVIRONMENTS.fullmatch(each) for each in more):
        return taken(at, note="the environment's programs come first on PATH anyway")
    if all(each.startswith(("/usr/local/cuda", "/usr/local/nvidia")) for each in more):
        return taken(at, note="the CUDA base brings it")
    return left(at, "PATH would be replaced, not extended: a step may link what lies there")


def settings_statements(name: str, settings: Mapping[str, Any]) -> Iterator[Statement]:
    """Read the ``config`` of an image (OCI, and what Docker adds), but for its environment."""
    plain = {
        "User": "user", "WorkingDir": "workdir", "Entrypoint": "entrypoint", "Cmd": "cmd",
        "StopSignal": "stop_signal", "Shell": "shell",
    }  # fmt: skip
    for key, ours in plain.items():
        if found := settings.get(key):
            at = At(place=name, text=f"{key} {found}")
            yield taken(at, Setting(path=(ours,), value=found))
    for port in settings.get("ExposedPorts") or ():
        yield expose_statement(At(place=name, text=f"EXPOSE {port}"), str(port))
    for path in settings.get("Volumes") or ():
        yield taken(At(place=name, text=f"VOLUME {path}"), Setting(path=("volumes",), value=[path]))
    for label, value in (settings.get("Labels") or {}).items():
        yield label_statement(At(place=name, text=f"LABEL {label}"), str(label), str(value))
    if check := settings.get("Healthcheck"):
        yield _healthcheck(At(place=name, text="HEALTHCHECK"), check)


def label_statement(at: At, name: str, value: str) -> Statement:
    """Read a label; those that tell of the very build are written by every build anew."""
    if name.startswith(("dev.gpu-envbuilder", "com.nvidia", "org.opencontainers.image.")):
        return taken(at, note="a label of that build, or of its base")
    return taken(at, Setting(path=("labels", name), value=value))


def expose_statement(at: At, text: str) -> Statement:
    """Read one port of EXPOSE: ``8000``, ``8000/tcp``, ``8000-8003``."""
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp))?", text, re.IGNORECASE)
    if match is None:
        return left(at, "a spec exposes TCP ports by number")
    first, last = int(match[1]), int(match[2] or match[1])
    if last - first > 1000:
        return left(at, "a thousand ports are more than a server needs")
    return taken(at, Setting(path=("expose",), value=list(range(first, last + 1))))


def healthcheck_statement(at: At, command: list[str], times: Mapping[str, int]) -> Statement:
    """Read a health check: its ``command`` as it stands, and ``times`` in seconds, or a count."""
    return taken(at, Setting(path=("healthcheck",), value={"command": command, **times}))


def _healthcheck(at: At, check: Mapping[str, Any]) -> Statement:
    test = list(check.get("Test") or ())
    kind = test[0] if test else "NONE"
    if kind == "NONE":
        return left(at, "HEALTHCHECK NONE takes the base's away, which a spec does not say")
    command = test[1:] if kind == "CMD" else ["/bin/sh", "-c", *test[1:]]
    keys = {"Interval": "interval", "Timeout": "timeout", "StartPeriod": "start_period"}
    times = {
        ours: max(1, int(check[key]) // _NANOSECONDS)
        for key, ours in keys.items()
        if check.get(key)
    }
    if check.get("Retries"):
        times["retries"] = int(check["Retries"])
    return healthcheck_statement(at, command, times)
