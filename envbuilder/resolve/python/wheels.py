"""Bring locked wheels into the store, from whatever index offers the locked hash."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event

from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.model.errors import NetworkError
from envbuilder.model.lock import Lock, Wheel
from envbuilder.resolve.context import Context

from .locate import locate_locked

DOWNLOADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSupply:
    """Where the wheels that the store lacks are to be had: wheel -> URL."""

    context: Context
    urls: Mapping[Wheel, str]

    def bring(self, wheel: Wheel, stop: Event) -> None:
        """Put ``wheel`` into the store if it is not there; safe to call from several threads.

        Raises NetworkError if the file is not to be had, is not the locked one, or ``stop`` was
        set meanwhile.
        """
        if has_wheel(self.context.store, wheel.sha256):
            return
        if (url := self.urls.get(wheel)) is None:
            raise NetworkError(
                f"{wheel.filename} was in the store, and is gone: another process pruned it",
                hint="run the same command again",
            )
        with (
            self.context.progress.step("fetch", wheel.filename, total=wheel.size) as step,
            self.context.store.writer() as target,
        ):

            def write(data: bytes) -> None:
                if stop.is_set():
                    raise NetworkError(f"gave up fetching {wheel.filename}: something else failed")
                target.write(data)

            self.context.indexes.download(
                url, write, sha256=wheel.sha256, size=wheel.size, step=step
            )
            target.commit(wheel.sha256)

    def bring_all(self, wheels: Iterable[Wheel]) -> None:
        """Bring ``wheels``, several at a time; the first failure stops the others."""
        stop = self.context.part().stop
        with ThreadPoolExecutor(max_workers=DOWNLOADS) as pool:
            brought = [pool.submit(self.bring, wheel, stop) for wheel in wheels]
            try:
                for each in as_completed(brought):
                    each.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def supply(context: Context, lock: Lock, wheels: Iterable[Wheel]) -> WheelSupply:
    """Find out where those of ``wheels`` lie that the store lacks.

    Raises NetworkError that names them if the context is offline.
    """
    missing = [wheel for wheel in wheels if not has_wheel(context.store, wheel.sha256)]
    if missing and context.offline:
        names = ", ".join(wheel.filename for wheel in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise NetworkError(
            f"--offline, and the store lacks {names}{more}",
            hint=f"run envbuilder fetch {lock.spec.name} while there is a network",
        )
    if not missing:
        return WheelSupply(context=context, urls={})
    with context.progress.step("locate", f"{len(missing)} wheels", unit="items"):
        return WheelSupply(context=context, urls=locate_locked(context, lock, missing))
