"""Each instruction of a Dockerfile but FROM: what it says, and what it changes for those below."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator

from envbuilder.workflow.adopt.project_uv import strategy_statement
from envbuilder.workflow.adopt.requirements import index_statement, option_statement
from envbuilder.workflow.adopt.settings import (
    environment_statement,
    expose_statement,
    healthcheck_statement,
    label_statement,
)
from envbuilder.workflow.adopt.statements import At, Setting, Statement, left, taken

from .commands import read_command
from .files import copied_files, user_setting
from .run import read_run
from .stage import Copied, Stage
from .syntax import Instruction, json_items
from .words import Expansion, UnreadableError, expand, split_words, unquoted

_PAIR = re.compile(r"([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}
_INDEXES = {
    "PIP_INDEX_URL": "--index-url", "UV_INDEX_URL": "--index-url",
    "UV_DEFAULT_INDEX": "--index-url",
    "PIP_EXTRA_INDEX_URL": "--extra-index-url", "UV_EXTRA_INDEX_URL": "--extra-index-url",
    "UV_INDEX": "--extra-index-url",
}  # fmt: skip
_OPTIONS = re.compile(
    r"(?:PIP|UV)_(FIND_LINKS|PRE|PRERELEASE|NO_DEPS|NO_INDEX|NO_BINARY|NO_BUILD_ISOLATION"
    r"|TORCH_BACKEND|RESOLUTION|EXCLUDE_NEWER|NO_SOURCES|PLATFORM|PYTHON_PLATFORM|TARGET|PREFIX)"
)
"""Variables that stand for options which say what is installed."""
_FILES = re.compile(r"(?:PIP|UV)_(?:REQUIREMENT|CONSTRAINT|BUILD_CONSTRAINT|OVERRIDE)")
_OFF = {"", "0", "no", "off", "false"}


def read_instruction(stage: Stage, each: Instruction) -> Iterator[Statement]:
    """Read one instruction of ``stage``."""
    at = stage.at(each.line, " ".join([each.name, *each.flags, each.rest]))
    reader = _READERS.get(each.name)
    if reader is None:
        yield left(at, f"{each.name[:20]} is no instruction of a Dockerfile")
        return
    try:
        yield from list(reader(stage, at, each))
    except UnreadableError as error:
        yield left(at, f"not read: {error}")


def _arg(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    for word in split_words(each.rest):
        name, equals, default = word.partition("=")
        stage.declared.add(name)
        if name in stage.arguments:
            stage.knowledge.set(name, stage.arguments[name])
        elif equals:
            text, unknown = stage.expanded(default)
            stage.knowledge.set(name, None if unknown else text)
        else:
            stage.knowledge.variables[name] = stage.global_arguments.get(name)
    yield taken(at)


def _env(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    pairs = _pairs(each.rest)
    found = []
    for name, raw in pairs:
        value, unknown = stage.variable(name, raw)
        stage.knowledge.set(name, None if unknown else value)
        if name in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"} and not unknown:
            stage.environments.add(stage.inside(value))
        found.append(_variable(stage, at, name, value, unknown))
    yield _joined(at, found)


def _variable(stage: Stage, at: At, name: str, value: str, unknown: set[str]) -> Statement:
    if name in _INDEXES and value and not unknown:
        return index_statement(at, _INDEXES[name], value)
    unsaid = {each for each in unknown if each in stage.declared or each.startswith("${")}
    if unsaid:
        return left(at, stage.missing(unsaid))
    found = _installer_variable(stage, at, name, value) if value not in _OFF else None
    return found or environment_statement(at, name, stage.inherited[name])


def _installer_variable(stage: Stage, at: At, name: str, value: str) -> Statement | None:
    """Read a variable of pip or uv as the option that it stands for, if that says anything."""
    if name == "UV_INDEX_STRATEGY":
        return strategy_statement(at, value)
    if match := _OPTIONS.fullmatch(name):
        option = f"--{match[1].lower().replace('_', '-')}"
        return option_statement(at, option, value, stage.context)
    if _FILES.fullmatch(name):
        return left(at, "a file that a variable names is not read: one that a command names is")
    return None


def _pairs(rest: str) -> list[tuple[str, str]]:
    """Split ``K=V K2="V 2"``, or the old form ``K V with blanks``."""
    words = split_words(rest)
    if words and not _PAIR.fullmatch(words[0]):
        name, _, value = rest.partition(" ")
        return [(name, value.strip())] if value.strip() else []
    matches = (_PAIR.fullmatch(word) for word in words)
    return [(match[1], match[2]) for match in matches if match]


def _joined(at: At, found: list[Statement]) -> Statement:
    facts = tuple(fact for each in found for fact in each.facts)
    why = "; ".join(dict.fromkeys(each.left for each in found if each.left))
    note = found[0].note if len(found) == 1 else ""
    shown = next((each.at for each in found if each.left and each.at != at), at)
    return Statement(at=shown, facts=facts, left=why, note=note)


def _label(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    quoted = [
        (unquoted(word.partition("=")[0]), word.partition("=")[2])
        for word in split_words(each.rest)
    ]
    yield _joined(at, [label_statement(at, name, stage.expanded(raw)[0]) for name, raw in quoted])


def _run(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    before = len(stage.copied)
    stage.copied += _mounted(stage, each)
    if each.items is not None:
        yield from read_command(stage, at, list(each.items), unknown=set(), own={})
    elif each.heredocs:
        yield from _script(stage, at, each)
    else:
        yield from read_run(stage, each.line, each.script)
    del stage.copied[before:]


def _mounted(stage: Stage, each: Instruction) -> Iterator[Copied]:
    """Yield the files of the build context that a RUN line sees only while it runs."""
    mounts = (flag.removeprefix("--mount=") for flag in each.flags if flag.startswith("--mount="))
    for mount in mounts:
        said = dict(part.partition("=")[::2] for part in stage.expanded(mount)[0].split(","))
        target = said.get("target") or said.get("dst") or said.get("destination") or ""
        if said.get("type", "bind") == "bind" and target and "from" not in said:
            source = said.get("source") or said.get("src") or "."
            yield Copied(sources=(source,), to=stage.inside(target))


def _script(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    """Read a RUN line whose commands stand in a heredoc."""
    first = re.sub(r"\d*<<-?\S+", "", each.rest, count=1).strip()
    content = each.heredocs[0].content
    if first in {"", "bash", "sh", "/bin/bash", "/bin/sh", "bash -e", "sh -e", "bash -ex"} and not (
        content.startswith("#!") and "sh" not in content.partition("\n")[0]
    ):
        yield from read_run(stage, each.line + 1, content)
    else:
        yield left(at, "a script that is no shell's: a step can run it")


def _copy(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    words = each.items or tuple(split_words(each.rest))
    expanded = [stage.expanded(word) for word in words]
    unknown = set[str]().union(*(names for _, names in expanded))
    paths = [text for text, _ in expanded]
    if unknown:
        yield left(at, stage.missing(unknown))
    elif len(paths) < 2:
        yield left(at, "it names no files and no place for them")
    elif each.heredocs:
        yield left(at, "a text that stands in the Dockerfile: lay it down beside the spec")
    elif each.flag("from"):
        yield _from_stage(stage, at, each)
    elif any("://" in path or path.startswith("git@") for path in paths[:-1]):
        yield left(at, "what it fetches has no hash: name a package, or lay the file down yourself")
    else:
        to = posixpath.join(stage.folder, paths[-1])
        stage.copied.append(Copied(sources=tuple(paths[:-1]), to=to))
        yield copied_files(stage, at, paths[:-1], to, each)


def _from_stage(stage: Stage, at: At, each: Instruction) -> Statement:
    if each.line in stage.environments_copied:
        return taken(at, note="the packages of that environment came in")
    if re.search(r"(^|/)uv(:|@|$)", each.flag("from")):
        return taken(at, note="a tool of the build")
    return left(at, f"files that {each.flag('from')} made: build a wheel of them")


def _workdir(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    text, unknown = stage.expanded(each.rest)
    if unknown:
        yield left(at, stage.missing(unknown))
        return
    stage.folder = posixpath.normpath(posixpath.join(stage.folder, text))
    yield taken(at, Setting(path=("workdir",), value=stage.folder))


def _user(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    text, unknown = stage.expanded(each.rest)
    yield left(at, stage.missing(unknown)) if unknown else user_setting(stage, at, text)


def _command(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    key = each.name.lower()
    words = list(each.items) if each.items is not None else [*stage.shell, each.rest]
    yield taken(at, Setting(path=(key,), value=words if each.rest not in {"", "[]"} else []))


def _expose(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    words, unknown = stage.words(each.rest)
    if unknown:
        yield left(at, stage.missing(unknown))
    else:
        yield _joined(at, [expose_statement(at, word) for word in words])


def _volume(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    words = list(each.items) if each.items is not None else stage.words(each.rest)[0]
    places = [posixpath.normpath(posixpath.join("/", word)) for word in words]
    yield _joined(at, [taken(at, Setting(path=("volumes",), value=[place])) for place in places])


def _healthcheck(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    kind, _, rest = each.rest.partition(" ")
    if kind.upper() != "CMD":
        yield left(at, "HEALTHCHECK NONE takes the base's away, which a spec does not say")
        return
    found = json_items(rest.strip())
    words = list(found) if found is not None else [*stage.shell, rest.strip()]
    keys = {"interval": "interval", "timeout": "timeout", "start-period": "start_period"}
    times = {ours: _seconds(each.flag(flag)) for flag, ours in keys.items() if each.flag(flag)}
    if each.flag("retries").isdigit():
        times["retries"] = int(each.flag("retries"))
    yield healthcheck_statement(at, words, times)


def _seconds(text: str) -> int:
    """Return a duration as Docker writes it (``1m30s``) in whole seconds, one at least."""
    return max(1, round(sum(float(n) * _UNITS[unit] for n, unit in _DURATION.findall(text))))


def _plain(key: str) -> _Reader:
    def read(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
        yield taken(at, Setting(path=(key,), value=stage.expanded(each.rest)[0]))

    return read


def _shell(stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    if each.items is None:
        yield left(at, "SHELL takes a list in JSON")
        return
    stage.shell = each.items
    yield taken(at, Setting(path=("shell",), value=list(each.items)))


def _onbuild(_stage: Stage, at: At, _each: Instruction) -> Iterator[Statement]:
    yield left(at, "it is about images that are built on this one")


def _maintainer(_stage: Stage, at: At, each: Instruction) -> Iterator[Statement]:
    value = expand(each.rest, Expansion(variables={}))
    yield taken(at, Setting(path=("labels", "maintainer"), value=value))


_Reader = Callable[[Stage, At, Instruction], Iterator[Statement]]
_READERS: dict[str, _Reader] = {
    "ARG": _arg, "ENV": _env, "LABEL": _label, "RUN": _run, "COPY": _copy, "ADD": _copy,
    "WORKDIR": _workdir, "USER": _user, "ENTRYPOINT": _command, "CMD": _command,
    "EXPOSE": _expose, "VOLUME": _volume, "HEALTHCHECK": _healthcheck, "SHELL": _shell,
    "STOPSIGNAL": _plain("stop_signal"), "ONBUILD": _onbuild, "MAINTAINER": _maintainer,
}  # fmt: skip
