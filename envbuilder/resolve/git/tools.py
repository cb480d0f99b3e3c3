"""Tools: build requirements that come as sdists alone, and so are built before what needs them.

While there is only a lock to be made, a tool is built where its user is asked, so that the user's
own code can be asked at all. That wheel serves the question and nothing else: the one that counts
is built later, where all wheels are built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from envbuilder.model.errors import BuildError
from envbuilder.model.lock import ArchiveSource, Wheel, build_environment

from .checkout import Checkout
from .context import GitContext
from .hooks import Hook, is_plain_file, looked_at, run_hook
from .recipe import take_wheel
from .sandbox import Sandbox

if TYPE_CHECKING:
    from envbuilder.resolve.python.requirements import PythonTarget

    from .question import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What a source is built with: wheels of indexes, and ``tools`` that are built first."""

    wheels: tuple[Wheel, ...] = ()
    tools: tuple[ArchiveSource, ...] = ()


class Toolbox(Protocol):
    """Chooses what sources are built with, as one spec allows it."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What its choice depends on beside the question; empty if no sdist is allowed."""

    def choose(
        self, requires: Sequence[str], question: Question, target: PythonTarget
    ) -> Equipment:
        """Resolve the requirement lines ``requires`` of a source for ``target``.

        Raises ResolutionError for what cannot be had, or be built, or needs itself to be built.
        """

    def checkout(self, tool: ArchiveSource) -> Checkout:
        """Return the files of a ``tool`` that it chose, as the spec wants it built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """Builds tools in ``sandbox`` for the ``question``; tells ``saw`` what their builds look at."""

    question: Question
    toolbox: Toolbox
    sandbox: Sandbox
    context: GitContext
    saw: Callable[[Sequence[str]], object]

    def equip(self, equipment: Equipment) -> tuple[Wheel, ...]:
        """Return all wheels of ``equipment``, in the store: fetched, and built.

        Raises BuildError if the code of a tool fails, and what fetching raises.
        """
        question, target = self.question, self.sandbox.target
        self.context.bring(equipment.wheels, target=target, index=question.index)
        made = (self._build(tool) for tool in equipment.tools)
        return tuple(sorted((*equipment.wheels, *made)))

    def _build(self, tool: ArchiveSource) -> Wheel:
        self.equip(Equipment(wheels=tool.requires))
        equipped = replace(
            tool, tools=tuple(replace(each, wheel=self._build(each)) for each in tool.tools)
        )
        try:
            return self._made(equipped)
        except BuildError as error:
            told = f"{tool.name} {tool.version}, which it is built with: {error.message}"
            raise type(error)(told, hint=error.hint) from error

    def _made(self, tool: ArchiveSource) -> Wheel:
        checkout, requires = self.toolbox.checkout(tool), build_environment(tool)
        log = self.context.store.root / "logs" / f"{tool.name}-{tool.identity}-tool.log"
        with self.context.store.scratch() as scratch:
            checkout.write(scratch / "source", self.context)
            output = scratch / "output"
            output.mkdir()
            hook = Hook(
                name="wheel",
                project=checkout.project,
                source=scratch / "source",
                subdirectory=None,
                env=checkout.variables(wheel.name for wheel in requires),
                mounts=checkout.mount_sources(scratch / "sources", self.context),
                requested=self.question.requested,
                watch=True,
                timeout=self.question.timeout,
            )
            try:
                answer = run_hook(
                    self.sandbox, hook, requires=requires, output=output, log=log,
                    context=self.context,
                )  # fmt: skip
            finally:
                self.saw(looked_at(output))
            filename = str(answer.get("made"))
            if "/" in filename or not filename.endswith(".whl"):
                raise BuildError(f"its build made no wheel, but {filename!r}")
            if not is_plain_file(output, filename):
                raise BuildError(f"its build says it made {filename!r}, which is not there")
            return take_wheel(tool, output, filename, self.context.store).wheel
