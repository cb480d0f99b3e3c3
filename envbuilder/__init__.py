"""envbuilder: reproducible deployment environments for multimodal models on GPUs.

This is the library; the command line stands on the same functions. What is not listed in
``__all__`` may change without notice. Errors are subclasses of :class:`EnvbuilderError`, one for
each exit code, with a message and a hint.

Names are imported when they are first used: ``import envbuilder`` costs nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"

# Type checkers take it for True. Nothing is imported before a name is used, not even typing.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from .evidence.remote_layers import RemoteSettings
    from .evidence.verify.findings import Level, Verdict
    from .evidence.verify.platforms import verify_platforms
    from .evidence.verify.remote import verify
    from .model.errors import (
        BuildError,
        EnvbuilderError,
        LockError,
        MismatchError,
        MissingToolError,
        NetworkError,
        ResolutionError,
        SmokeError,
        SpecError,
        UsageError,
    )
    from .model.image import Image
    from .model.lock import Lock
    from .model.progress import Progress
    from .model.pylock import lock_path, read_lock
    from .model.reference import ImageRef
    from .model.spec import Spec
    from .model.spec_file import load
    from .resolve.context import Context
    from .runtime import choose
    from .smoke import Report
    from .storage.store import Store
    from .workflow.build import BuildResult, Decisions, build_environment
    from .workflow.bump.bump import Bumped, bump
    from .workflow.bump.pins import parse_pin
    from .workflow.bump.stages import real_stages
    from .workflow.lock import lock_environment, lock_platforms
    from .workflow.platforms import PlatformsBuilt, build_platforms
    from .workflow.publish import Published, publish
    from .workflow.publish_platforms import publish_platforms
    from .workflow.signing import signing_with
    from .workflow.smoke import smoke_image

_HOMES = {
    "evidence.remote_layers": "RemoteSettings",
    "evidence.verify.findings": "Level Verdict",
    "evidence.verify.platforms": "verify_platforms",
    "evidence.verify.remote": "verify",
    "model.errors": "BuildError EnvbuilderError LockError MismatchError MissingToolError "
    "NetworkError ResolutionError SmokeError SpecError UsageError",
    "model.image": "Image",
    "model.lock": "Lock",
    "model.progress": "Progress",
    "model.pylock": "lock_path read_lock",
    "model.reference": "ImageRef",
    "model.spec": "Spec",
    "model.spec_file": "load",
    "resolve.context": "Context",
    "runtime": "choose",
    "smoke": "Report",
    "storage.store": "Store",
    "workflow.build": "BuildResult Decisions build_environment",
    "workflow.bump.bump": "Bumped bump",
    "workflow.bump.pins": "parse_pin",
    "workflow.bump.stages": "real_stages",
    "workflow.lock": "lock_environment lock_platforms",
    "workflow.platforms": "PlatformsBuilt build_platforms",
    "workflow.publish": "Published publish",
    "workflow.publish_platforms": "publish_platforms",
    "workflow.signing": "signing_with",
    "workflow.smoke": "smoke_image",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "BuildError",
    "BuildResult",
    "Bumped",
    "Context",
    "Decisions",
    "EnvbuilderError",
    "Image",
    "ImageRef",
    "Level",
    "Lock",
    "LockError",
    "MismatchError",
    "MissingToolError",
    "NetworkError",
    "PlatformsBuilt",
    "Progress",
    "Published",
    "RemoteSettings",
    "Report",
    "ResolutionError",
    "SmokeError",
    "Spec",
    "SpecError",
    "Store",
    "UsageError",
    "Verdict",
    "build_environment",
    "build_platforms",
    "bump",
    "choose",
    "load",
    "lock_environment",
    "lock_path",
    "lock_platforms",
    "open_context",
    "parse_pin",
    "publish",
    "publish_platforms",
    "read_lock",
    "real_stages",
    "signing_with",
    "smoke_image",
    "verify",
    "verify_platforms",
]


def open_context(
    *,
    store: Path | None = None,
    progress: Progress | None = None,
    offline: bool = False,
    builder: str | None = None,
    remote: RemoteSettings | None = None,
) -> AbstractContextManager[Context]:
    """Open what work is done with, for the time of a ``with`` block.

    ``store`` is the folder of the content store, else this machine's (``ENVBUILDER_CACHE``).
    Registries are reached as ``docker login`` and the proxy variables say. ``progress`` watches;
    ``offline`` forbids the network; ``builder`` names the buildx builder for what takes Docker.
    ``remote`` is where a team shares layers. Raises UsageError for settings of the machine that
    cannot be.
    """
    from contextlib import contextmanager

    return contextmanager(_context)(
        store, progress, offline=offline, builder=builder, remote=remote
    )


def _context(
    store: Path | None,
    progress: Progress | None,
    *,
    offline: bool,
    builder: str | None,
    remote: RemoteSettings | None,
) -> Iterator[Context]:
    from .model.progress import Silent
    from .registry.client import Client
    from .resolve.context import Context
    from .resolve.python.download import IndexClient
    from .storage.store import Store
    from .storage.temporary import remove_abandoned_work

    remove_abandoned_work()
    with Client.from_environment() as registries, IndexClient() as indexes:
        yield Context(
            store=Store.default() if store is None else Store(store),
            progress=progress or Silent(),
            registries=registries,
            indexes=indexes,
            offline=offline,
            builder=builder,
            remote=None if remote is None else remote.open(registries),
        )


def __getattr__(name: str) -> object:
    """Import a public name from its room (PEP 562)."""
    from importlib import import_module

    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
