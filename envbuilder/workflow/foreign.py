"""A platform that is not this machine's: what takes an emulator, and what goes without one."""

from __future__ import annotations

from envbuilder.engines.bytecode_layers import uncompiled
from envbuilder.engines.foundation import has_base
from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.model.lock import Lock
from envbuilder.model.plan import plan
from envbuilder.model.spec import Spec
from envbuilder.resolve.context import Context
from envbuilder.runtime import Runtime
from envbuilder.runtime.emulation import INSTALL, can_run, no_emulator
from envbuilder.smoke import Check, CheckStatus, Report


def check_runs(context: Context, spec: Spec, lock: Lock | None, *, engine: str) -> None:
    """Refuse, before anything is fetched, what no program of the spec's platform can run for.

    A Debian base is made by its packages' scripts; sources are built, and packages compiled, in
    the base. What the store has of ``lock`` is made already. Raises MissingToolError.
    """
    if can_run(spec.platform):
        return
    if spec.base.image is None and (lock is None or not has_base(context, lock)):
        raise no_emulator(spec.platform, f"{spec.name}: making its Debian base")
    if spec.builds and engine == "embedded" and (lock is None or not _built(context, lock)):
        raise no_emulator(spec.platform, f"{spec.name}: building its sources")
    if spec.bytecode and engine == "embedded" and (lock is None or _uncompiled(context, lock)):
        raise no_emulator(spec.platform, f"{spec.name}: compiling its packages")


def _built(context: Context, lock: Lock) -> bool:
    wheels = [source.wheel for source in lock.built]
    return all(wheel is not None and has_wheel(context.store, wheel.sha256) for wheel in wheels)


def _uncompiled(context: Context, lock: Lock) -> bool:
    return bool(uncompiled(context.store, lock, plan(lock).bytecode))


def not_smoked(lock: Lock, runtime: Runtime) -> Report | None:
    """Return the report on an image that ``runtime`` cannot run on this machine; None if it can.

    What runs elsewhere, in an engine's own layers, is that engine's to say.
    """
    if not runtime.overlays or can_run(lock.spec.platform):
        return None
    why = f"this machine runs no programs for {lock.spec.platform}: {INSTALL} brings an emulator"
    status = CheckStatus.UNPROVEN
    return Report(
        subject=lock.spec.name,
        verdict=status,
        summary=f"unproven: not smoked: {why}",
        checks=(Check(name="platform", status=status, explanation=f"not smoked: {why}"),),
    )
