"""Which runtime runs a command: the one that was asked for, or the best that is there."""

from __future__ import annotations

from envbuilder.model.errors import MissingToolError, UsageError
from envbuilder.storage.store import Store

from .command import Runtime

NAMES = ("auto", "docker", "oci")


def choose(name: str, store: Store) -> Runtime:
    """Return the runtime ``name``: "oci" (crun or runc), "docker", or "auto".

    Raises MissingToolError if it is not to be had or not allowed, UsageError for another name.
    """
    if name not in NAMES:
        raise UsageError(f"{name!r} is no runtime: expected one of {', '.join(NAMES)}")
    if name == "docker":
        return _docker(store)
    if name == "oci":
        return _oci(store)
    try:
        return _oci(store)
    except MissingToolError as no_oci:
        try:
            return _docker(store)
        except MissingToolError as no_docker:
            raise MissingToolError(
                f"nothing here can run containers: {no_oci.message}; {no_docker.message}",
                hint=f"{no_oci.hint}, or start a Docker Engine",
            ) from no_docker


def _oci(store: Store) -> Runtime:
    from .oci import find_runtime  # noqa: PLC0415 (each runtime loads only what it needs)

    return find_runtime(store)


def _docker(store: Store) -> Runtime:
    from .docker import connect  # noqa: PLC0415

    return connect(store)
