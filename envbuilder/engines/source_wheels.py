"""The wheels of a lock's git sources: built by the engine that builds the image, or found."""

from __future__ import annotations

from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.model.lock import Lock
from envbuilder.resolve.context import Context
from envbuilder.resolve.git import wheel_build
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.context import GitContext
from envbuilder.resolve.git.wheel_build import Make

from .build_environment import build_sandbox
from .builder_image import on_builder
from .docker import build_wheel
from .foundation import fetch_base


def with_wheels(context: Context, lock: Lock, *, engine: str = "embedded") -> Lock:
    """Return ``lock`` with the wheel of every git source, each in the store; built if need be.

    ``engine`` "embedded" builds in containers of our own, "docker" in BuildKit. Raises BuildError
    if a build fails or gives other bytes than the lock holds, and what fetching and running bring
    along.
    """
    work = GitContext.of(context)
    return wheel_build.build_sources(lock, make=_make(work, lock, engine), context=work)


def check_reproducible(context: Context, lock: Lock, *, engine: str = "embedded") -> None:
    """Build every git source of ``lock`` once more; raise BuildError that lists what differs."""
    work = GitContext.of(context)
    wheel_build.check_reproducible(lock, make=_make(work, lock, engine), context=work)


def fetch_sources(context: Context, lock: Lock) -> None:
    """Bring what building the git sources needs: commits, build environments, the builder image."""
    wheel_build.fetch_sources(lock, GitContext.of(context))
    wheels = [source.wheel for source in lock.built]
    built = all(wheel is not None and has_wheel(context.store, wheel.sha256) for wheel in wheels)
    if lock.builder is not None and not built:
        fetch_base(context, on_builder(lock))


def _make(context: GitContext, lock: Lock, engine: str) -> Make:
    if engine == "embedded":
        return contained(build_sandbox(context, lock), context)
    return lambda job: build_wheel(context, job)
