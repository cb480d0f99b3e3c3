"""What is to run, in no tool's words: one value for `docker run`, Kubernetes and all the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.image_spec import Healthcheck
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Seal
from envbuilder.workflow.gpu.needs import wants_gpu
from envbuilder.workflow.publish_platforms import sealed_index

MODEL = "/model"
"""Where a container finds the model that it is given."""

LOOPBACK = IPv4Address("127.0.0.1")

_SEPARATORS = ',:"\n'
_SHM, _SHM_WITH_GPU = 1 << 30, 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a user asks for beyond the lock.

    ``args`` take the place of the image's Cmd. ``model`` is an absolute path of the host, or of
    the nodes; ``model_image`` an image that holds the model. ``ports`` are published on the address
    ``listen``. ``gpus`` and ``shm`` (bytes) of None are for the lock to decide. ``pull_secret``
    names a secret of a cluster.
    """

    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    gpus: int | None = None
    model: Path | None = None
    model_image: ImageRef | None = None
    ports: tuple[int, ...] = ()
    listen: IPv4Address | IPv6Address = LOOPBACK
    shm: int | None = None
    pull_secret: str | None = None

    @property
    def published(self) -> tuple[str, ...]:
        """The ports as container engines want them: ``ADDRESS:PORT:PORT``, IPv6 in brackets."""
        host = f"[{self.listen}]" if self.listen.version == 6 else str(self.listen)
        return tuple(f"{host}:{port}:{port}" for port in self.ports)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One container, decided to the last detail; ``image`` is what the tool pulls, or has.

    Of ``wishes``, the ports are those of the spec, too; ``gpus`` and ``shm`` stand here.
    """

    name: str
    image: str
    lock: Digest
    wishes: Wishes
    gpus: int
    shm: int
    healthcheck: Healthcheck | None = None


def deployment(lock: Lock, wishes: Wishes, *, image: str) -> Deployment:
    """Return how the image of ``lock`` runs as ``wishes`` has it; ``image`` is its name there.

    Raises UsageError if the model comes from two places, or from one that no tool can name.
    """
    if wishes.model is not None and wishes.model_image is not None:
        raise UsageError("expected one place of the model, not both a path and an image")
    _check_path(wishes.model)
    gpus = int(wants_gpu(lock)) if wishes.gpus is None else wishes.gpus
    return Deployment(
        name=lock.spec.name,
        image=image,
        lock=lock_checksum(lock),
        wishes=replace(wishes, ports=_distinct((*lock.spec.expose, *wishes.ports))),
        gpus=gpus,
        shm=wishes.shm or (_SHM_WITH_GPU if gpus else _SHM),
        healthcheck=lock.spec.healthcheck,
    )


def pinned(locks: Sequence[Lock], ref: ImageRef) -> str:
    """Name the sealed image at ``ref`` by its digest, which no tag can move.

    Of the locks of several platforms it is the index of their images. Raises LockError for a lock
    whose image was not built in the form that its spec publishes, UsageError if ``ref`` names
    another digest.
    """
    lock = locks[0]
    if len(locks) == 1:
        digest = published_digest(lock)
    else:
        digest = sealed_index(locks, lock.spec.publish.compression)
    if ref.digest is not None and ref.digest != digest:
        raise UsageError(
            f"{ref} is another image than the one that the lock of {lock.spec.name} has sealed",
            hint=f"the sealed one is {digest}; leave the digest out to name that",
        )
    return str(ref.at(digest))


def published_digest(lock: Lock) -> Digest:
    """Return the sealed manifest in the form that the spec publishes; raises LockError for none.

    A form other than the sealed image's own is there only once it was made.
    """
    name, compression = lock.spec.name, lock.spec.publish.compression
    digest = seal_of(lock).published(compression)
    if digest is None:
        raise LockError(
            f"{name} is published as {compression}, and its lock does not list that form yet",
            hint=f"envbuilder push {name} HOST/NAME:TAG",
        )
    return digest


def seal_of(lock: Lock) -> Seal:
    """Return the seal of ``lock``; raises LockError if there is none."""
    if lock.seal is None:
        name = lock.spec.name
        raise LockError(
            f"the lock of {name} has no seal: it was never built", hint=f"envbuilder build {name}"
        )
    return lock.seal


def _check_path(path: Path | None) -> None:
    """Refuse a path that the tools' own separators would cut in two, or that leads back up."""
    if path is not None and ".." in path.parts:
        raise UsageError(f"{str(path)!r} cannot be mounted: Kubernetes takes no path with ..")
    unfit = sorted(set(str(path or "")) & set(_SEPARATORS))
    if unfit:
        raise UsageError(
            f"{str(path)!r} cannot be mounted: {unfit[0]!r} means something to container engines",
            hint="give it by a link with a plain name",
        )


def _distinct(ports: Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(ports))
