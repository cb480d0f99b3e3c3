"""How one logs in to a registry: clouds have programs of their own, which Docker asks by name."""

from __future__ import annotations

import re

_CLOUDS = (
    (
        re.compile(
            r"(?:public\.ecr\.aws|\d+\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?)"
        ),
        "ecr-login",
        "aws ecr get-login-password | docker login --username AWS --password-stdin {registry}",
    ),
    (
        re.compile(r"(?:(?:[a-z]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev)"),
        "gcloud",
        "gcloud auth configure-docker {registry}",
    ),
    (re.compile(r"[a-z0-9]+\.azurecr\.io"), "acr-env", "az acr login --name {registry}"),
    (
        re.compile(r"ghcr\.io"),
        "",
        "docker login ghcr.io, with a token that has the right read:packages or write:packages",
    ),
)


def login_hint(registry: str) -> str:
    """Return what to run to log in to ``registry``, a cloud's own way if it is a cloud's."""
    for host, helper, command in _CLOUDS:
        if host.fullmatch(registry):
            asked = f"; or name its helper in Docker's configuration: credHelpers {helper!r}"
            return command.format(registry=registry) + (asked if helper else "")
    return f"docker login {registry}"
