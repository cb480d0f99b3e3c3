"""Exact versions for the packages that a spec adds to an image from a registry.

Only the image's own package manager knows them, so BuildKit runs it, without installing anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from envbuilder.model.errors import BuildError, ResolutionError
from envbuilder.model.lock import DebianBase, ImageBase, Lock
from envbuilder.resolve.context import Context

from .builder_image import on_builder
from .buildkit import BuildxRun, build, find_builder, gather
from .render import render_question, write


@dataclass(slots=True, kw_only=True)
class SystemPins:
    """Pins the system packages of a lock in the making, which is asked of twice, only once.

    What ``held`` pinned for the same image and the same packages stays.
    """

    context: Context
    held: Lock | None

    def pin(self, lock: Lock) -> Lock:
        """Return ``lock`` with exact packages; see :func:`pin_packages`."""
        self.held = pin_packages(self.context, lock, previous=self.held)
        return self.held


def pin_packages(context: Context, lock: Lock, *, previous: Lock | None = None) -> Lock:
    """Return ``lock`` with the exact packages of its image base, and of its builder image.

    What ``previous`` pinned for the same image and the same packages stays. Raises ResolutionError
    with what the package manager said, MissingToolError if nothing can run it.
    """
    lock = replace(lock, base=_pinned(context, lock, previous, key="system"))
    if lock.builder is None:
        return lock
    before = on_builder(previous) if previous is not None and previous.builder else None
    builder = _pinned(context, on_builder(lock), before, key="build: {system")
    assert isinstance(builder, ImageBase)  # noqa: S101 - it was one
    return replace(lock, builder=builder)


def _pinned(
    context: Context, lock: Lock, previous: Lock | None, *, key: str
) -> DebianBase | ImageBase:
    if not isinstance(lock.base, ImageBase) or not lock.spec.system.packages:
        return lock.base
    if previous is not None and _still_holds(lock, lock.base, previous):
        return previous.base
    chosen = find_builder(context.builder)
    secrets = gather(lock.spec)
    with context.store.scratch() as work:
        write(render_question(lock), work / "context")
        wanted = BuildxRun(  # an answer from BuildKit's cache would be that of another day
            folder=work / "context", target="pins", platform=lock.spec.platform, fresh=True
        )
        try:
            build(context, wanted, work / "pins", builder=chosen, secrets=secrets)
        except BuildError as error:
            raise ResolutionError(
                f"{lock.base.reference} cannot install the system packages: {error.message}",
                hint=f"check `{key}: packages:`",
            ) from error
        manager = (work / "pins" / "manager").read_text("utf-8").strip()
        packages = (work / "pins" / "packages").read_text("utf-8").split()
    return replace(lock.base, manager=manager, packages=tuple(packages))


def _still_holds(lock: Lock, base: ImageBase, previous: Lock) -> bool:
    return (
        isinstance(previous.base, ImageBase)
        and previous.base.packages is not None
        and previous.base.digest == base.digest
        and previous.spec.system == lock.spec.system
        and previous.spec.minor == lock.spec.minor
    )
