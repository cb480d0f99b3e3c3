"""What every step of a source's way works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.model.errors import NetworkError
from envbuilder.model.git_url import Address
from envbuilder.model.lock import Wheel
from envbuilder.model.package_spec import Index
from envbuilder.resolve.context import Context
from envbuilder.resolve.python.requirements import PythonTarget, locate_wheels
from envbuilder.resolve.python.wheels import WheelSupply
from envbuilder.runtime import Runtime, choose

from .mirror import Mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class GitContext(Context):
    """A context with the mirrors that are open, and the runtime that contains builds.

    ``runtime`` is asked for when there is something to run: most often there is not. ``ahead``:
    what servers said last counts, until it is :meth:`confirmed`.
    """

    runtime: Callable[[], Runtime]
    ahead: bool = False
    opened: dict[str, Mirror] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Context, *, ahead: bool = False) -> GitContext:
        """Return ``context`` with no mirror open yet, and whatever runtime this machine has."""
        shared = {each.name: getattr(context, each.name) for each in fields(Context)}
        return cls(**shared, runtime=lambda: choose("auto", context.store), ahead=ahead)

    def mirror(self, address: Address) -> Mirror:
        """Open our copy of the repository at ``address``; a server is asked once."""
        if address.text not in self.opened:
            self.opened[address.text] = Mirror(
                address,
                store=self.store,
                progress=self.progress,
                offline=self.offline,
                ahead=self.ahead,
            )
        return self.opened[address.text]

    def confirmed(self) -> bool:
        """Wait for the servers; tell whether all of them still say what they said."""
        return all(mirror.confirmed() for mirror in list(self.opened.values()))

    def bring(self, wheels: Iterable[Wheel], *, target: PythonTarget, index: Index) -> None:
        """Put ``wheels`` into the store; raise NetworkError if that needs a network."""
        missing = [wheel for wheel in wheels if not has_wheel(self.store, wheel.sha256)]
        if not missing:
            return
        if self.offline:
            names = ", ".join(wheel.filename for wheel in missing[:5])
            raise NetworkError(f"--offline, and the store lacks {names}", hint="fetch them first")
        urls = locate_wheels(missing, indexes=self.indexes, target=target, index=index)
        WheelSupply(context=self, urls=urls).bring_all(missing)
