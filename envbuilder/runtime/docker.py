"""Run commands with a Docker Engine, through its API.

A run leaves nothing in the engine: container and image carry a mark that names our process, are
removed at the end, and, should we be killed, by the next run.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Ulimit
from docker.types import Mount as DockerMount
from docker.utils import socket as frames

from envbuilder.model.errors import EnvbuilderError, MissingToolError, SmokeError, UsageError
from envbuilder.model.image import Image
from envbuilder.model.progress import Progress
from envbuilder.storage.store import Store

from .command import Command, Completed, check_sources
from .limits import LARGEST_FILE, most_memory, tmpfs_options
from .loading import answering, loaded, new_mark, remove_abandoned
from .output import Output, outputs
from .room import LOOK, Room

_PATIENCE = 3600  # seconds without a word from the engine; unpacking a big layer is silent


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerRuntime:
    """Runs commands with the engine behind ``client`` on images that lie in ``store``."""

    client: docker.DockerClient
    store: Store

    @property
    def name(self) -> str:
        """The runtime's name."""
        return "docker"

    @property
    def overlays(self) -> bool:
        """False: the engine has layers of its own, below ``/`` and nowhere else."""
        return False

    @contextmanager
    def prepared(self, image: Image, *, progress: Progress) -> Iterator[PreparedImage]:
        """Bring ``image`` into the engine, without the layers that it has; remove it at the end."""
        with closing(self.client):  # its connections; later calls open new ones
            with answering():
                remove_abandoned(self.client)
            with loaded(image, self.client, store=self.store, progress=progress) as name:
                yield PreparedImage(client=self.client, name=name)

    def facts(self) -> Mapping[str, Any]:
        """Return what the engine says of itself (``GET /info`` of its API).

        Raises MissingToolError if it does not say.
        """
        try:
            with closing(self.client), answering():
                return dict(self.client.info())
        except APIError as error:
            raise MissingToolError(
                f"the Docker Engine does not tell what it is: {error}", hint="docker info"
            ) from error

    def run(self, image: Image, command: Command, *, progress: Progress) -> Completed:
        """Run one command inside ``image``."""
        with self.prepared(image, progress=progress) as prepared:
            return prepared.run(command)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedImage:
    """An image in the engine, under a name of its own."""

    client: docker.DockerClient
    name: str

    def run(self, command: Command) -> Completed:
        """Run one command to its end; see :meth:`command.Prepared.run`."""
        check_sources(command)
        with _container(self.client, self.name, command) as container:
            return _attend(container, command)


def connect(store: Store) -> DockerRuntime:
    """Return a runtime on the engine of ``DOCKER_HOST``, else of the docker context in use.

    Raises MissingToolError if none answers.
    """
    try:
        client = docker.from_env(timeout=_PATIENCE)  # asks it for its version
        client.close()
    except DockerException as error:
        raise MissingToolError(
            f"no Docker Engine answers: {error}",
            hint="start one, point DOCKER_HOST or a docker context at one, or use --runtime oci",
        ) from error
    return DockerRuntime(client=client, store=store)


def container_options(command: Command) -> dict[str, Any]:
    """Return what the engine is told about ``command``, beside the image.

    Its own lists of system calls, of devices and of hidden kernel files stay as they are. Raises
    UsageError for ``overlays``, which it has no word for.
    """
    if command.overlays:
        raise UsageError("a Docker Engine cannot show a layer at another place than its own")
    tmpfs = ",".join(("exec", "nosuid", "nodev", "mode=1777", *tmpfs_options(_scratch(command))))
    options: dict[str, Any] = {
        "entrypoint": [command.args[0]],
        "command": list(command.args[1:]),
        "environment": dict(command.env),
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": command.processes,
        "ulimits": [
            Ulimit(name="core", soft=0, hard=0),
            Ulimit(name="fsize", soft=LARGEST_FILE, hard=LARGEST_FILE),
        ],
        "stdin_open": bool(command.stdin),
        "log_config": LogConfig(type="none"),  # a flood would fill the engine's disk
        "tmpfs": dict.fromkeys(("/tmp", "/dev/shm", *command.tmpfs), tmpfs),  # noqa: S108
        "mounts": [
            DockerMount(
                mount.target, str(mount.source.absolute()), type="bind", read_only=mount.read_only
            )
            for mount in command.mounts
        ],
    }
    if command.memory is not None:  # the second counts memory and swap together
        options |= {"mem_limit": command.memory, "memswap_limit": command.memory}
    if command.gpus:
        options["device_requests"] = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    if command.user is not None:
        options["user"] = command.user
    if command.workdir is not None:
        options["working_dir"] = command.workdir
    return options


def _scratch(command: Command) -> int:
    """Return the bytes that each file system in memory may hold; the engine counts them together.

    Where no limit was asked for there is nothing to count them against.
    """
    if command.memory is not None:
        return command.memory
    return most_memory() // (2 + len(command.tmpfs))


@contextmanager
def _container(client: docker.DockerClient, image: str, command: Command) -> Iterator[Container]:
    mark = new_mark()
    try:
        with answering():
            container = client.containers.create(image, name=mark, **container_options(command))
            yield container
    except APIError as error:
        raise refused(command, error) from error
    finally:
        with answering(), suppress(NotFound):
            client.api.remove_container(mark, force=True, v=True)


def _attend(container: Container, command: Command) -> Completed:
    """Start ``container``, feed and drain it, and end it when its time is up."""
    streams = {"stdin": int(bool(command.stdin)), "stdout": 1, "stderr": 1, "stream": 1}
    stream: Any = container.attach_socket(params=streams)
    connection = getattr(stream, "_sock", stream)  # a file over a socket, but not with TLS
    warden = _Warden(container, command)
    started = time.monotonic()
    feed = threading.Thread(target=_feed, args=(connection, command.stdin), daemon=True)
    try:
        container.start()
        warden.start()
        if command.stdin:
            feed.start()
        with outputs(command.log) as (stdout, stderr):
            _drain(stream, stdout, stderr)
        exit_code = container.wait()["StatusCode"]
    finally:
        warden.over.set()
        stream.close()
        connection.close()
    container.reload()
    return Completed(
        exit_code=exit_code,
        stdout=bytes(stdout.data),
        stderr=bytes(stderr.data),
        seconds=time.monotonic() - started,
        peak_memory=None,  # the engine forgets it with the process
        timed_out=warden.out_of_time,
        out_of_memory=container.attrs["State"]["OOMKilled"],
        out_of_disk=not warden.room.left(),
        truncated=stdout.truncated or stderr.truncated,
        memory_limit="none" if command.memory is None else "cgroup",
        process_limit="cgroup",
    )


class _Warden(threading.Thread):
    """Ends a container when its time, or its room on the disk, is over; ``over`` ends this."""

    def __init__(self, container: Container, command: Command) -> None:
        super().__init__(daemon=True)
        self.room = Room(command.mounts)
        self.over = threading.Event()
        self.out_of_time = False
        self._container = container
        self._deadline = time.monotonic() + command.timeout

    def run(self) -> None:
        """Look again and again."""
        while not self.over.wait(LOOK):
            late = time.monotonic() > self._deadline
            if late or not self.room.left():
                self.out_of_time = late
                with suppress(OSError):  # it ended in this very moment, or the engine did
                    self._container.kill()
                return


def _feed(connection: Any, data: bytes) -> None:  # noqa: ANN401 (a class for each transport)
    with suppress(OSError):  # a command may end without reading its input
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _drain(stream: Any, stdout: Output, stderr: Output) -> None:  # noqa: ANN401
    for number, piece in frames.frames_iter(stream, tty=False):  # type: ignore[no-untyped-call]
        (stderr if number == frames.STDERR else stdout).add(piece)


def refused(command: Command, error: APIError) -> EnvbuilderError:
    """Say in our words why the engine would not run ``command``."""
    reason = str(error.explanation or error)
    if "device driver" in reason or "nvidia" in reason.lower():
        return MissingToolError(
            f"Docker has no GPUs to give: {reason}",
            hint="install the NVIDIA Container Toolkit and run"
            " `nvidia-ctk runtime configure --runtime=docker`",
        )
    if "executable file not found" in reason or "no such file or directory" in reason:
        return SmokeError(
            f"{command.args[0]} cannot be started in the image: {reason}",
            hint="look into the image with `envbuilder inspect`",
        )
    return MissingToolError(
        f"Docker cannot run {command.args[0]}: {reason}",
        hint="`envbuilder doctor` looks at the engine; --runtime oci does without it",
    )
