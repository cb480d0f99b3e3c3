"""Ask a source, contained, for its metadata and for what it needs to be built (PEP 517)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.metadata import RawMetadata, parse_email
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.errors import BuildError, DiskFullError, ResolutionError, without_login
from envbuilder.model.lock import Wheel
from envbuilder.resolve.python.requirements import PythonTarget

from .context import GitContext
from .direct_references import read_requirement
from .hooks import Hook, is_plain_file, looked_at, read_output, run_hook
from .question import Examined, Question
from .sandbox import Sandbox
from .tools import Equipment, Toolbox, Workbench

_ROUNDS = 4  # of asking for further requirements; two is what honest builds take


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a source said, or how it failed; ``looked`` is what it looked at beyond itself.

    Programs are named, the rest are paths. Nothing is looked at in vain, or for nothing: an answer
    may depend on it.
    """

    result: Examined | BuildError
    looked: tuple[str, ...]


def ask(question: Question, sandbox: Sandbox, context: GitContext, toolbox: Toolbox) -> Told:
    """Run the source's hooks in ``sandbox``, again if they ask for further requirements.

    Raises ResolutionError if its requirements cannot be met or it is not for the target's Python,
    and what Mirror and the runtime raise.
    """
    asking = _Asking(question=question, sandbox=sandbox, context=context, toolbox=toolbox)
    result: Examined | BuildError
    try:
        result = asking.examined()
    except DiskFullError:
        raise
    except BuildError as error:
        result = error
    return Told(result=result, looked=tuple(sorted(asking.looked)))


def metadata_in(wheel: WheelFile) -> RawMetadata:
    """Read the core metadata of a wheel; raise BuildError if there is none to speak of."""
    infos = [name for name in wheel.members if name.endswith(".dist-info/METADATA")]
    return _parse(wheel.read(infos[0]) if infos else None, wheel.filename)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    question: Question
    sandbox: Sandbox
    context: GitContext
    toolbox: Toolbox
    looked: set[str] = field(default_factory=set)

    def examined(self) -> Examined:
        question, requires = self.question, self.question.requires
        for _ in range(_ROUNDS):
            asked, metadata = self._once(requires)
            if metadata is not None:
                break
            requires += asked  # it wants more than pyproject.toml says: once more, with that
        else:
            raise BuildError(f"its build asks for other requirements each time: {', '.join(asked)}")
        _check_python(metadata, question.target)
        equipment = self._choose(requires, question.target)
        return Examined(
            name=metadata["name"],
            version=str(Version(metadata["version"])),
            requires_dist=tuple(metadata.get("requires_dist", ())),
            requires=equipment.wheels,
            tools=equipment.tools,
        )

    def _choose(self, requires: list[str], target: PythonTarget) -> Equipment:
        hint = "give a version from an index in the spec's `build: {requires: […]}`"
        for line in requires:
            _check_requirement(line, what="its build requirement", hint=hint)
        if not requires:
            return Equipment()
        try:
            return self.toolbox.choose(requires, self.question, target)
        except BuildError:
            # A tool's own code failed, for reasons that another place need not have.
            self.looked.add("what its tools ask for")
            raise

    def _once(self, requires: list[str]) -> tuple[list[str], RawMetadata | None]:
        """Run the hooks; return what they ask for beside ``requires``, or else the metadata."""
        question, context, sandbox = self.question, self.context, self.sandbox
        checkout = question.checkout
        bench = Workbench(
            question=question,
            toolbox=self.toolbox,
            sandbox=sandbox,
            context=context,
            saw=self.looked.update,
        )
        wheels = bench.equip(self._choose(requires, sandbox.target))
        with context.store.scratch() as scratch:
            checkout.write(scratch / "source", context)
            output = scratch / "output"
            output.mkdir()
            hook = Hook(
                name="examine",
                project=checkout.project,
                source=scratch / "source",
                subdirectory=checkout.pin.subdirectory,
                env=checkout.variables(wheel.name for wheel in wheels),
                mounts=checkout.mount_sources(scratch / "sources", context),
                known=tuple(requires),
                requested=question.requested,
                watch=True,
                timeout=self.question.timeout,
            )
            answer = self._run(hook, wheels, output)
            metadata = _metadata(output, str(answer["made"])) if "made" in answer else None
        return [str(each) for each in answer.get("requires", ())], metadata

    def _run(self, hook: Hook, wheels: tuple[Wheel, ...], output: Path) -> Mapping[str, Any]:
        context, identity = self.context, self.question.checkout.tree.identity
        log = context.store.root / "logs" / f"{identity}-metadata.log"
        try:
            return run_hook(
                self.sandbox, hook, requires=wheels, output=output, log=log, context=context
            )
        finally:
            self.looked.update(looked_at(output))


def _check_requirement(line: str, *, what: str, hint: str) -> None:
    """Refuse what no index can be asked for."""
    if read_requirement(line, what=what).url is not None:
        raise ResolutionError(f"{what} {without_login(line)!r} names an address", hint=hint)


def _check_python(metadata: RawMetadata, target: PythonTarget) -> None:
    """Refuse a source that no patch level of the target's Python may run."""
    wanted = metadata.get("requires_python", "")
    try:
        allowed = SpecifierSet(wanted)
    except InvalidSpecifier as error:
        raise BuildError(f"its metadata asks for Python {wanted!r}: {error}") from error
    patches = (0, 99) if target.patch is None else (target.patch,)
    if not any(allowed.contains(f"{target.python}.{patch}") for patch in patches):
        raise ResolutionError(
            f"it asks for Python {wanted}, the spec says {target.full}",
            hint="pin a commit that supports it, or change `python` in the spec",
        )


def _metadata(output: Path, made: str) -> RawMetadata:
    """Read the metadata that a hook made: a dist-info folder, or a whole wheel."""
    if not made.endswith(".whl"):
        return _parse(read_output(output, f"{made}/METADATA"), made)
    if not is_plain_file(output, made):
        return _parse(None, made)
    with WheelFile.open(output / made, made) as wheel:
        return metadata_in(wheel)


def _parse(content: bytes | None, made: str) -> RawMetadata:
    raw: RawMetadata = {} if content is None else parse_email(content)[0]
    if not raw.get("name") or not raw.get("version"):
        raise BuildError(f"its build made {made!r} without a name or a version")
    try:
        Version(raw["version"])
    except ValueError as error:
        raise BuildError(f"its build made {made!r} with invalid metadata: {error}") from error
    for line in raw.get("requires_dist", ()):
        read_requirement(line, what="its requirement")
    return raw
