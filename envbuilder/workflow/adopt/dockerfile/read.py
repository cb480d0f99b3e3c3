"""A Dockerfile -> statements: of its last stage, and of whatever that takes from others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.errors import UsageError
from envbuilder.workflow.adopt.bases import base_statement, base_variables
from envbuilder.workflow.adopt.statements import Setting, Statement, Wanted, left
from envbuilder.workflow.adopt.texts import read_text

from .evaluate import Knowledge
from .instructions import read_instruction
from .stage import Stage
from .syntax import Instruction, parse_dockerfile

_FROM = re.compile(r"(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?", re.IGNORECASE)
_MOST = 2000  # instructions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One stage as it is written: its FROM, its name, the instructions below."""

    first: Instruction
    base: str
    name: str
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A whole Dockerfile: ``globals`` are the arguments before the first FROM."""

    path: Path
    contexts: tuple[Path, ...]
    globals: Mapping[str, str | None]
    arguments: Mapping[str, str]
    parts: tuple[_Part, ...]

    def find(self, name: str) -> _Part | None:
        """Find a stage by its name or number."""
        if name.isdigit() and int(name) < len(self.parts):
            return self.parts[int(name)]
        return next((each for each in self.parts if each.name.lower() == name.lower()), None)


def read_dockerfile(
    path: Path, *, arguments: Mapping[str, str], stage: str | None = None
) -> Iterator[Statement]:
    """Read the Dockerfile at ``path`` up to ``stage``, its last one if None.

    Raises UsageError if it cannot be read, is none, or has no such stage.
    """
    file = _file(path, arguments)
    part = file.parts[-1] if stage is None else file.find(stage)
    if part is None:
        names = ", ".join(each.name for each in file.parts if each.name) or "none has a name"
        raise UsageError(f"{path} has no stage {stage!r}", hint=f"its stages: {names}")
    built, statements = _lineage(file, part, ())
    yield from statements
    yield from built.end()


def _file(path: Path, arguments: Mapping[str, str]) -> _File:
    instructions = list(parse_dockerfile(read_text(path), name=path.name))
    starts = [number for number, each in enumerate(instructions) if each.name == "FROM"]
    if not starts:
        raise UsageError(f"{path} is no Dockerfile: it has no FROM", hint="name another source")
    if len(instructions) > _MOST:
        raise UsageError(f"{path} has more than {_MOST:,} instructions, which no build needs")
    stage = Stage(
        name=path.name, contexts=_contexts(path), arguments=arguments,
        knowledge=Knowledge({}, complete=True),
    )  # fmt: skip
    for each in instructions[: starts[0]]:
        list(read_instruction(stage, each))
    ends = [*starts[1:], len(instructions)]
    return _File(
        path=path,
        contexts=stage.contexts,
        globals=dict(stage.knowledge.variables),
        arguments=arguments,
        parts=tuple(
            _part(instructions[start:end]) for start, end in zip(starts, ends, strict=True)
        ),
    )


def _part(instructions: list[Instruction]) -> _Part:
    match = _FROM.fullmatch(instructions[0].rest)
    return _Part(
        first=instructions[0],
        base=match["base"] if match else instructions[0].rest,
        name=(match["name"] or "") if match else "",
        instructions=tuple(instructions[1:]),
    )


def _contexts(path: Path) -> tuple[Path, ...]:
    """Return what COPY may mean: the file's own folder, and those above in its repository."""
    folder = path.resolve().parent
    repository = next(
        (each for each in (folder, *folder.parents) if (each / ".git").exists()), None
    )
    above = [each for each in folder.parents if repository and each.is_relative_to(repository)]
    return (folder, *above)


def _lineage(file: _File, part: _Part, seen: tuple[_Part, ...]) -> tuple[Stage, list[Statement]]:
    """Read a stage after the one that it stands on; say what is known at its end."""
    if part in seen:
        raise UsageError(f"{file.path}:{part.first.line}: the stage {part.name} stands on itself")
    stage = _new_stage(file)
    base, unknown = stage.expanded(part.base)
    earlier = file.parts[: file.parts.index(part)]
    below = next(
        (each for each in earlier if each.name and each.name.lower() == base.lower()), None
    )
    if below is not None:
        stage, statements = _lineage(file, below, (*seen, part))
    else:
        statements = [_base(stage, part, base, unknown)]
        stage.knowledge = Knowledge(base_variables(base))
        stage.declared.clear()
    stage.global_arguments = file.globals
    for each in part.instructions:
        statements += _copied_environment(file, stage, each, (*seen, part))
        statements += read_instruction(stage, each)
    return stage, statements


def _new_stage(file: _File) -> Stage:
    return Stage(
        name=file.path.name,
        contexts=file.contexts,
        arguments=file.arguments,
        knowledge=Knowledge(file.globals, complete=True),
        declared=set(file.globals),
    )


def _base(stage: Stage, part: _Part, base: str, unknown: set[str]) -> Statement:
    at = stage.at(part.first.line, f"FROM {part.first.rest}")
    if unknown:
        return left(at, stage.missing(unknown))
    return base_statement(at, base)


def _copied_environment(
    file: _File, stage: Stage, each: Instruction, seen: tuple[_Part, ...]
) -> Iterator[Statement]:
    """Read the packages of another stage whose environment ``each`` copies."""
    other = file.find(each.flag("from")) if each.name == "COPY" and each.flag("from") else None
    if other is None or other in seen:
        return
    built, statements = _lineage(file, other, seen)
    sources = each.items or tuple(each.rest.split())
    paths = [stage.expanded(source)[0] for source in sources[:-1]]
    if not any(built.holds_environment(path) for path in paths):
        return
    stage.environments_copied.add(each.line)
    for statement in statements:
        facts = tuple(fact for fact in statement.facts if _of_environment(fact))
        if facts:
            yield Statement(at=statement.at, facts=facts, left=statement.left, note=statement.note)


def _of_environment(fact: Setting | Wanted) -> bool:
    return isinstance(fact, Wanted) or fact.path[0] in {"index", "python"}
