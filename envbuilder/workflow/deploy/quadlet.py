"""A deployment as a Quadlet: a unit by which systemd has Podman run it.

Source: podman-systemd.unit(5) of Podman 5, systemd.syntax(7) and systemd.service(5).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from envbuilder.model.image_spec import Healthcheck

from .deployment import MODEL, Deployment

_START = 1800  # seconds: a first start pulls gigabytes
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def quadlet(wanted: Deployment) -> str:
    """Return ``NAME.container``, for ``~/.config/containers/systemd/``."""
    lines = (
        "[Unit]",
        f"Description={wanted.name}",
        "",
        "[Container]",
        *_container(wanted),
        "",
        "[Service]",
        "Restart=always",
        f"TimeoutStartSec={_START}",
        "",
        "[Install]",
        "WantedBy=default.target",
    )
    return "".join(f"{line}\n" for line in lines)


def _container(wanted: Deployment) -> Iterator[str]:
    wishes = wanted.wishes
    yield f"Image={wanted.image}"
    yield f"ContainerName={wanted.name}"
    yield "NoNewPrivileges=true"
    yield f"ShmSize={wanted.shm}"
    yield from (f"AddDevice=nvidia.com/gpu={number}" for number in range(wanted.gpus))
    yield from (f"PublishPort={published}" for published in wishes.published)
    for name, value in wishes.env.items():
        yield f"Environment={_quoted(f'{name}={value}')}"
    if wishes.model is not None:
        yield f"Volume={_literal(str(wishes.model))}:{MODEL}:ro"
    if wishes.model_image is not None:
        yield f"Mount=type=image,source={wishes.model_image},destination={MODEL}"
    if wishes.args:
        yield f"Exec={' '.join(_quoted(text) for text in wishes.args)}"
    if wanted.healthcheck is not None:  # an OCI image has none, as Podman sees it
        yield from _health(wanted.healthcheck)


def _health(check: Healthcheck) -> Iterator[str]:
    command = json.dumps(list(check.command), ensure_ascii=False)
    yield f"HealthCmd={_literal(command)}"
    for name, value in (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
    ):
        if value:
            yield f"Health{name}={value}s"
    if check.retries:
        yield f"HealthRetries={check.retries}"


def _quoted(text: str) -> str:
    """Quote one word as systemd reads it."""
    escaped = "".join(_ESCAPES.get(sign, sign) for sign in _literal(text))
    return f'"{escaped}"'


def _literal(text: str) -> str:
    """Keep ``%`` and ``$``: all comes to stand in ExecStart, where both mean something."""
    return text.replace("%", "%%").replace("$", "$$")
