"""Statements -> the keys of a spec: each fact is kept if the spec can hold it, else left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envbuilder.model.errors import SpecError
from envbuilder.model.spec import from_builtins
from envbuilder.model.spec_file import parse, problems
from envbuilder.model.spec_words import Platform
from envbuilder.model.yaml_document import KeyPath, parse_document

from .bases import default_base, has_own_python
from .interpreter import choose_python
from .own_files import relative_files
from .packages import Chosen, choose_packages, name_indexes
from .statements import At, Setting, Statement, Wanted, left

_APPENDED = {
    ("system", "packages"), ("expose",), ("volumes",), ("index", "extra_urls"), ("build", "sdists"),
    ("files",),
}  # fmt: skip
_NEEDED = ("ca-certificates", "libstdc++6", "python3")
_PROBE: dict[str, Any] = {
    "version": 1,
    "name": "x",
    "python": "3.12",
    "base": {"debian": "trixie"},
    "packages": {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a spec is written for: its ``folder``, its platform, and Python if somebody said it."""

    folder: Path
    platform: Platform = "linux/amd64"
    python: str | None = None
    pin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The keys of the spec, where each came from, and every statement with what became of it."""

    spec: Mapping[str, Any]
    origins: Mapping[KeyPath, str]
    statements: tuple[Statement, ...]
    unpinned: tuple[str, ...]

    @property
    def left(self) -> tuple[Statement, ...]:
        """The statements that did not come in, or not wholly."""
        return tuple(each for each in self.statements if each.left)


@dataclass(slots=True)
class _Draft:
    """The spec as it grows; the later of two values counts, lists grow."""

    spec: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def put(self, path: KeyPath, value: object, origin: str) -> None:
        if path in _APPENDED and isinstance(value, list):
            for item in value:
                self._append(path, item, origin)
            return
        _parent(self.spec, path)[path[-1]] = value
        self.origins[path] = origin

    def _append(self, path: KeyPath, item: object, origin: str) -> None:
        found = _parent(self.spec, path).setdefault(path[-1], [])
        if item not in found:
            found.append(item)
            self.origins[*path, len(found) - 1] = origin


def fold(statements: Iterable[Statement], target: Target) -> Findings:
    """Join what readers said into one spec; what the spec refuses is left, with its own words."""
    draft = _Draft(spec={"platform": target.platform})
    checked = tuple(_checked(relative_files(statements, target.folder)))
    for at, fact in _facts(checked):
        if isinstance(fact, Setting) and fact.path != ("python",):
            _put_setting(draft, fact, at)
    python, origin, remark = choose_python(checked, target.python)
    draft.put(("python",), python, origin)
    _complete_base(draft, python)
    wanted = [(at, fact) for at, fact in _facts(checked) if isinstance(fact, Wanted)]
    chosen = choose_packages(wanted, python=python, platform=target.platform, pin=target.pin)
    _put_packages(draft, chosen, target.folder)
    extra = [left(At(place=origin, text=f"Python {python}"), remark)] if remark else []
    return Findings(
        spec=draft.spec,
        origins=draft.origins,
        statements=(*_remarked(checked, chosen), *extra),
        unpinned=chosen.unpinned,
    )


def _facts(statements: Iterable[Statement]) -> Iterator[tuple[At, Setting | Wanted]]:
    for each in statements:
        for fact in each.facts:
            yield _origin(each), fact


def _origin(each: Statement) -> At:
    """Return the place of a statement, with what one should know of it."""
    return replace(each.at, place=f"{each.at.place}; {each.note}") if each.note else each.at


def _put_setting(draft: _Draft, fact: Setting, at: At) -> None:
    if fact.path[0] == "base":  # of two bases, the later has the place of the earlier
        other = {"debian": "image", "image": "debian"}.get(str(fact.path[1]), "")
        base = draft.spec.setdefault("base", {})
        if fact.path[1] in {"debian", "image"}:
            base.clear()
        base.pop(other, None)
    draft.put(fact.path, fact.value, at.place)


def _complete_base(draft: _Draft, python: str) -> None:
    """Name what the source leaves to whoever runs it: a system, and an interpreter in it."""
    if not draft.spec.get("base"):
        for setting in default_base(python):
            if setting.path != ("python",):
                draft.put(setting.path, setting.value, _how(setting, python))
    base = draft.spec["base"]
    packages = draft.spec.get("system", {}).get("packages", [])
    names = {re.sub(r"^python3\.\d+$", "python3", each.partition("=")[0]) for each in packages}
    more = [each for each in _needed(base, python) if each not in names]
    if more:
        draft.put(("system", "packages"), more, "every environment needs it")


def _needed(base: Mapping[str, Any], python: str) -> tuple[str, ...]:
    """Name the system packages without which nothing runs there."""
    if "debian" not in base:
        return ("python3",) if _lacks_python(base) else ()
    own = has_own_python(base, python)
    return tuple(each for each in _NEEDED if own or each != "python3")


def _how(setting: Setting, python: str) -> str:
    """Say how a base that was chosen here comes by its Python."""
    if has_own_python({str(setting.path[-1]): setting.value}, python):
        return f"has Python {python}"
    return f"Python {python} comes as a standalone build"


def _lacks_python(base: Mapping[str, Any]) -> bool:
    """Return whether a well-known image is a system without Python."""
    reference = str(base.get("image", "")).removeprefix("docker.io/").removeprefix("library/")
    return "python" not in base and reference.startswith(("ubuntu:", "debian:", "nvidia/cuda:"))


def _put_packages(draft: _Draft, chosen: Chosen, folder: Path) -> None:
    for name, url in name_indexes(chosen.index_urls).items():
        draft.put(("index", "named", name), url, "")
    for role in ("packages", "constraints", "overrides"):
        for key, (value, origin) in chosen.entries(role, folder).items():
            draft.put((role, key), value, origin)
    draft.spec.setdefault("packages", {})


def _checked(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Turn each fact that a spec would refuse into a reason."""
    for each in statements:
        judged = [(fact, _refusal(fact)) for fact in each.facts]
        reasons = [why for _, why in judged if why]
        kept = tuple(fact for fact, why in judged if not why)
        yield replace(each, facts=kept, left=each.left or "; ".join(reasons)) if reasons else each


def _refusal(fact: Setting | Wanted) -> str:
    """Say why no spec can hold ``fact``; nothing if one can."""
    if isinstance(fact, Setting) and fact.path == ("python",):
        return ""
    value = _as_spec(fact)
    try:
        found = next(problems(from_builtins(value)), None)
    except SpecError:
        return _in_words(value)
    return "" if found is None else f"{found[1]} ({found[2]})"


def _as_spec(fact: Setting | Wanted) -> dict[str, Any]:
    value: dict[str, Any] = {key: _PROBE[key] for key in _PROBE}
    if isinstance(fact, Wanted):
        chosen = choose_packages([(At(place="", text=""), fact)], python=None)
        entries = chosen.entries(fact.role, Path("/"))
        named = name_indexes(chosen.index_urls)
        return value | {
            "index": {"named": named},
            fact.role: {k: v for k, (v, _) in entries.items()},
        }
    value["base"] = {} if fact.path[0] == "base" and fact.path[1] != "python" else _PROBE["base"]
    value = {key: dict(each) if isinstance(each, dict) else each for key, each in value.items()}
    _parent(value, fact.path)[fact.path[-1]] = fact.value
    return value


def _in_words(value: dict[str, Any]) -> str:
    try:
        parse(parse_document(Path("x.yaml"), json.dumps(value)))
    except SpecError as error:
        return error.message.partition(": ")[2]
    return "a spec cannot hold it"


def _parent(value: dict[Any, Any], path: KeyPath) -> dict[Any, Any]:
    for part in path[:-1]:
        value = value.setdefault(part, {})
    return value


def _remarked(statements: Iterable[Statement], chosen: Chosen) -> Iterator[Statement]:
    """Add to each statement what became of its packages when all were put together."""
    for each in statements:
        remark = chosen.remarks.get(_origin(each))
        yield each if remark is None or each.left else replace(each, note=remark)
