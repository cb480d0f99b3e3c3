"""The ``config`` member of an image's config, decoded: what has the wrong type is refused.

Source: OCI image-spec 1.1 ("Image Configuration", "Properties"). Docker, whose images are read as
well, knows more members, and null for any of them, for its Go takes that as nothing; it takes one
string for a list of commands (``strslice``), too. Members that nobody here reads may hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from .codec import MisfitError, any_json, from_plain
from .errors import EnvbuilderError

_COMMANDS = ("Entrypoint", "Cmd", "Shell")


class _Healthcheck(Struct, rename="pascal"):
    """Docker's own: times are in nanoseconds."""

    test: list[str] | None = None
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


class _Settings(Struct, rename="pascal"):
    """The members that are read, by us or by whom an image is handed on to."""

    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | str | None = None
    cmd: list[str] | str | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    healthcheck: _Healthcheck | None = None
    shell: list[str] | str | None = None


class _Config(Struct):
    config: _Settings | None = None


def settings_of(config: bytes) -> Mapping[str, Any]:
    """Return the ``config`` member of an image's ``config``: every member of it, as it stands.

    One string in the place of a command becomes a list. Raises EnvbuilderError that names the
    member which is not what the specification says.
    """
    try:
        document = any_json(config)  # which reads half a surrogate, as Go does
        from_plain(document, _Config)
    except MisfitError as error:
        raise EnvbuilderError(f"not an image's config: {error}") from error
    found = document.get("config") or {}
    words = {key: [found[key]] for key in _COMMANDS if isinstance(found.get(key), str)}
    return found | words
