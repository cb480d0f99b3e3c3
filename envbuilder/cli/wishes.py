"""What `run`, `shell` and `export` share: how a container is wished for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from envbuilder.model.errors import UsageError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from envbuilder.workflow.deploy.deployment import Wishes

_F = TypeVar("_F", bound=Callable[..., object])
_SIZE = re.compile(r"(\d+)([kmgt]?)(i?b)?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def wishes(command: _F) -> _F:
    """Add the options that say how a container runs, whoever runs it."""
    for option in (
        click.option(
            "-e", "--env", multiple=True, metavar="NAME=VALUE",
            help="Set a variable. Repeatable; no secrets: they would be shown.",
        ),
        click.option(
            "--shm-size", metavar="SIZE", show_default="8g with GPUs, else 1g",
            help="Size of /dev/shm, by which the processes of a model server talk.",
        ),
        click.option(
            "--listen", metavar="ADDRESS", default="127.0.0.1", show_default=True,
            help="Publish ports on this address.",
        ),
        click.option(
            "--port", "ports", type=click.IntRange(1, 65535), multiple=True, metavar="PORT",
            help="Publish this port, beside those of the spec. Repeatable.",
        ),
        click.option("--model-image", metavar="REF", help="Mount this image's files at /model."),
        click.option(
            "--model", type=click.Path(path_type=Path), metavar="DIR",
            help="Mount this folder at /model, read-only.",
        ),
        click.option(
            "--gpus", type=click.IntRange(0, 1024), metavar="N",
            show_default="1 if the lock wants one", help="How many GPUs.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def wishes_of(
    *,
    args: tuple[str, ...],
    env: tuple[str, ...],
    gpus: int | None,
    model: Path | None,
    model_image: str | None,
    ports: tuple[int, ...],
    listen: str,
    shm_size: str | None,
) -> Wishes:
    """Return what the options wish for; raises UsageError for what cannot be meant."""
    from envbuilder.model.reference import ImageRef
    from envbuilder.workflow.deploy.deployment import Wishes

    return Wishes(
        args=args,
        env=dict(_variable(text) for text in env),
        gpus=gpus,
        model=model,
        model_image=None if model_image is None else ImageRef.parse(model_image),
        ports=ports,
        listen=address(listen),
        shm=None if shm_size is None else size(shm_size),
    )


def size(text: str) -> int:
    """Return the bytes that a size like ``8g``, ``512MiB`` or ``4096`` means."""
    match = _SIZE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise UsageError(f"{text!r} is no size", hint="a number of bytes, or one such as 8g")
    found = int(match[1]) << _UNITS[match[2].lower()]
    if found > sys.maxsize:
        raise UsageError(f"{text!r} is more than any machine has")
    return found


def address(text: str) -> IPv4Address | IPv6Address:
    """Return the IP address that ``text`` is; engines take no name there, and no zone."""
    from ipaddress import AddressValueError, IPv4Address, IPv6Address

    try:
        found = IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError as error:
        raise UsageError(
            f"--listen {text!r} is no IP address: {error}", hint="--listen 0.0.0.0, or ::1"
        ) from error
    if isinstance(found, IPv6Address) and found.scope_id is not None:
        raise UsageError(f"--listen {text!r}: container engines take no zone (%)")
    return found


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _VARIABLE.fullmatch(name):
        raise UsageError(f"--env {text!r}: expected NAME=VALUE", hint="--env VLLM_USE_V1=0")
    return name, value
