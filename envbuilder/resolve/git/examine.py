"""Ask a source, contained, what it needs to be built, and what it will be once it is.

The answer is remembered in the store: one commit with one way to build it is asked once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec
from packaging.metadata import RawMetadata, parse_email
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.errors import BuildError, ResolutionError, without_login
from envbuilder.model.image import canonical_json
from envbuilder.model.lock import Wheel
from envbuilder.model.spec import Index
from envbuilder.resolve.context import Context
from envbuilder.resolve.python.requirements import PythonTarget, resolve_python

from .build_sources import identity
from .checkout import Checkout
from .context import GitContext
from .direct_references import read_requirement
from .hooks import Hook, is_plain_file, read_output, run_hook
from .sandbox import Sandbox, host_sandbox

_KIND = "source"
_FORMAT = 3
_ROUNDS = 4  # of asking for further requirements; two is what honest builds take


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an answer depends on: a commit, how the spec wants it built, and for what.

    ``held`` maps names to the versions that the build environment keeps unless something forces
    others.
    """

    checkout: Checkout
    index: Index
    constraints: tuple[str, ...]
    target: PythonTarget
    held: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name the question: equal keys have equal answers."""
        checkout, pin = self.checkout, self.checkout.pin
        facts = {
            "format": _FORMAT,
            **checkout.tree.facts,
            "described": checkout.described,
            "subdirectory": pin.subdirectory,
            "submodules": pin.submodules,
            "requires": pin.build.requires,
            "env": pin.build.env,
            "index": msgspec.to_builtins(self.index),
            **({"sources": identity(checkout.sources)} if checkout.sources else {}),
            "constraints": self.constraints,
            "held": dict(self.held),
            "target": asdict(self.target),
        }
        return canonical_json(facts).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A source's core metadata, and the wheels that build it on the target.

    ``requires_dist`` is what the source says, addresses included: never hand it to a resolver.
    """

    name: str
    version: str
    requires_dist: tuple[str, ...]
    requires: tuple[Wheel, ...]


def examine(question: Question, context: GitContext, *, fresh: bool = False) -> Examined:
    """Answer ``question``, from the store where it was asked before and not ``fresh``.

    Raises BuildError if the source's own code fails, ResolutionError if its requirements
    cannot be met or it is not for the target's Python, and what Mirror and the runtime raise.
    """
    found = None if fresh else context.store.record(_KIND, question.key, Examined)
    if found is not None:
        return found
    made = _examine(question, context)
    context.store.put_record(_KIND, question.key, made)
    return made


def metadata_in(wheel: WheelFile) -> RawMetadata:
    """Read the core metadata of a wheel; raise BuildError if there is none to speak of."""
    infos = [name for name in wheel.members if name.endswith(".dist-info/METADATA")]
    return _parse(wheel.read(infos[0]) if infos else None, wheel.filename)


def _examine(question: Question, context: GitContext) -> Examined:
    checkout = question.checkout
    requires = [*map(str, checkout.project.requires), *checkout.pin.build.requires]
    sandbox = host_sandbox(question.target.python, store=context.store)
    for _ in range(_ROUNDS):
        asked, metadata = _ask(question, requires, sandbox, context)
        if metadata is not None:
            break
        requires += asked  # it wants more than pyproject.toml says: once more, with that
    else:
        raise BuildError(f"its build asks for other requirements each time: {', '.join(asked)}")
    _check_python(metadata, question.target)
    return Examined(
        name=metadata["name"],
        version=str(Version(metadata["version"])),
        requires_dist=tuple(metadata.get("requires_dist", ())),
        requires=_resolve(context, requires, question, question.target),
    )


def _ask(
    question: Question, requires: list[str], sandbox: Sandbox, context: GitContext
) -> tuple[list[str], RawMetadata | None]:
    """Run the source's hooks once; what it asks for beside ``requires``, or else its metadata."""
    checkout = question.checkout
    wheels = _resolve(context, requires, question, sandbox.target)
    context.bring(wheels, target=sandbox.target, index=question.index)
    with context.store.scratch() as scratch:
        checkout.write(scratch / "source", context)
        output = scratch / "output"
        output.mkdir()
        mounts = checkout.mount_sources(scratch / "sources", context)
        hook = Hook(
            name="examine",
            project=checkout.project,
            source=scratch / "source",
            subdirectory=checkout.pin.subdirectory,
            env=checkout.variables(wheel.name for wheel in wheels),
            mounts=mounts,
            known=tuple(requires),
        )
        log = context.store.root / "logs" / f"{checkout.tree.identity}-metadata.log"
        answer = run_hook(sandbox, hook, requires=wheels, output=output, log=log, context=context)
        metadata = _metadata(output, str(answer["made"])) if "made" in answer else None
    return [str(each) for each in answer.get("requires", ())], metadata


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


def _resolve(
    context: Context, requires: list[str], question: Question, target: PythonTarget
) -> tuple[Wheel, ...]:
    hint = "give a version from an index in the spec's `build: {requires: […]}`"
    for line in requires:
        _check_requirement(line, what="its build requirement", hint=hint)
    if not requires:
        return ()
    return resolve_python(
        requires,
        indexes=context.indexes,
        target=target,
        index=question.index,
        held=question.held,
        constraints=question.constraints,
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
    except InvalidVersion as error:
        raise BuildError(f"its build made {made!r} with invalid metadata: {error}") from error
    for line in raw.get("requires_dist", ()):
        read_requirement(line, what="its requirement")
    return raw
