"""Bring an image into a Docker Engine under a passing name, and take it out again."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from urllib3.exceptions import HTTPError

from envbuilder.model.errors import MissingToolError
from envbuilder.model.image import Image
from envbuilder.model.progress import Progress
from envbuilder.registry.layout import export
from envbuilder.storage.store import Store

from .local_registry import LocalRegistry, local_registry

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = Path("/proc/self/ns/pid")


def _host() -> str:
    """Name the place where our process ids hold: this start of this host's kernel, this container.

    Hosts and containers that share an engine may share a name; outside Linux that is all there is.
    """
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts += [_BOOT.read_text(), str(_PROCESSES.readlink())]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


_OURS = f"envbuilder-run-{_host()}"


def new_mark() -> str:
    """Return a new name for a container or tag that tells which process of which host made it."""
    return f"{_OURS}-{os.getpid()}-{time.monotonic_ns()}"


@contextmanager
def answering() -> Iterator[None]:
    """Raise MissingToolError if the engine dies, or falls silent, in the middle of a call."""
    try:
        yield
    except APIError:  # an answer, if not the one that was wished for
        raise
    except (HTTPError, OSError) as error:  # urllib3's, requests' and the socket's own
        raise MissingToolError(
            f"the Docker Engine went away: {error}",
            hint="look into its log, start it again, or use --runtime oci",
        ) from error


@contextmanager
def loaded(
    image: Image, client: docker.DockerClient, *, store: Store, progress: Progress
) -> Iterator[str]:
    """Lend ``image`` to the engine and yield its name there; it is untagged at the end.

    The engine pulls it from us, which sends only the layers that it lacks. Where it cannot reach
    us (another host, a VM), it gets the whole image as an archive. Raises MissingToolError if
    it takes neither.
    """
    mark = new_mark()
    total = sum(layer.size for layer in image.layers)
    name = ""
    try:
        with (
            progress.step("load", "into Docker", total=total) as step,
            local_registry(image, store, tag=mark, on_sent=step.advance) as registry,
        ):
            name = f"{registry.repository}:{mark}"
            pulled = _pull(client, registry, mark)
        if not pulled:
            name = f"docker.io/library/envbuilder:{mark}"
            _load(client, image, store, name=name, progress=progress)
        yield name
    finally:
        if name:
            with answering(), suppress(ImageNotFound):
                client.images.remove(name)


def remove_abandoned(client: docker.DockerClient) -> None:
    """Remove the containers and images of runs that were killed with -9 since this host started."""
    for container in client.api.containers(all=True, filters={"name": f"^/?{_OURS}-"}):
        if any(is_abandoned(name.lstrip("/")) for name in container["Names"]):
            with suppress(NotFound):
                client.api.remove_container(container["Id"], force=True, v=True)
    for entry in client.api.images():
        for name in entry["RepoTags"] or ():
            if is_abandoned(name.rpartition(":")[2]):
                with suppress(NotFound):
                    client.api.remove_image(name)


def is_abandoned(mark: str) -> bool:
    """Return whether a process of this host made ``mark`` and is gone."""
    ours = re.fullmatch(rf"{_OURS}-(\d+)-\d+", mark)
    return ours is not None and not _lives(int(ours[1]))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _pull(client: docker.DockerClient, source: LocalRegistry, mark: str) -> bool:
    """Pull from ``source``; False if the engine cannot reach it."""
    try:
        with answering():
            _follow(client.api.pull(source.repository, tag=mark, stream=True, decode=True))
    except DockerException as error:
        if not source.visited:
            return False
        raise _cannot_take(error) from error
    return True


def _load(
    client: docker.DockerClient, image: Image, store: Store, *, name: str, progress: Progress
) -> None:
    try:
        with store.scratch() as scratch:
            archive = export(image, store, str(scratch / "i.tar"), name=name, progress=progress)
            with archive.open("rb") as stream, answering():
                _follow(client.api.load_image(stream))  # type: ignore[no-untyped-call]
    except DockerException as error:
        raise _cannot_take(error) from error


def _follow(events: Iterable[dict[str, str]]) -> None:
    """Wait for the end of ``events``; an error among them is raised."""
    for event in events:
        if "error" in event:
            raise DockerException(event["error"])


def _cannot_take(error: DockerException) -> MissingToolError:
    return MissingToolError(
        f"the Docker Engine cannot take the image: {error}",
        hint="`docker system df` shows its disk; --runtime oci does without it",
    )
