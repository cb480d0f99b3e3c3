"""What moved between two locks, and why: asked for, forced by another package, or drifted.

Pure. Why a package moved can only be told with the packages' own requirements (``needs.py`` reads
them); without them ``why`` stays None.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .image import Layer
from .lock import (
    ArchiveSource,
    DebianBase,
    GitSource,
    ImageBase,
    Lock,
    Source,
    Wheel,
)
from .seal import Seal
from .spec import to_builtins

Needs = Mapping[str, tuple[Requirement, ...]]
"""For each package of a lock (canonical name) the requirements of its that apply there."""

_REFRESH = {"base", "system"}  # names by which a user asks for a fresh base
_ELSEWHERE = {"packages", "python", "base"}  # parts of a spec that show as other kinds


class Kind(enum.StrEnum):
    """What a change is a change of."""

    PYTHON = "python"
    BASE = "base"
    DEB = "deb"
    PACKAGE = "package"
    PIN = "pin"
    """What the spec says of a package that did not move for it."""
    SETTING = "setting"
    LAYER = "layer"
    FILE = "file"


class Why(enum.StrEnum):
    """Why something moved."""

    ASKED = "asked"
    """The spec says something else about it, or the user named it."""
    FORCED = "forced"
    """What it was does not fit together with another change."""
    DRIFTED = "drifted"
    """Nothing asked for it: its old version is gone, or was not held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that moved; ``old`` or ``new`` is None if it came or went.

    ``by`` names the packages that forced it.
    """

    kind: Kind
    name: str
    old: str | None
    new: str | None
    why: Why | None = None
    by: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.old or '(none)'} -> {self.new or '(gone)'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What tells why something moved: the needs on both sides, and what the user named."""

    old: Needs
    new: Needs
    asked: Collection[str] = field(default_factory=frozenset)


def compare(old: Lock, new: Lock, known: Known | None = None) -> tuple[Change, ...]:
    """List what moved from ``old`` to ``new``: Python, base, packages, settings, own files."""
    return (
        *_python(old, new),
        *_base(old, new, known),
        *_builder(old, new),
        *_debs(old, new, known),
        *_packages(old, new, known),
        *_settings(old, new),
        *_files(old, new),
    )


def new_layers(old: Seal | None, new: Seal) -> tuple[Layer, ...]:
    """List the layers of ``new`` that ``old`` does not have: what a registry or runtime lacks."""
    known = {layer.diff_id for layer in old.layers} if old is not None else set()
    return tuple(layer for layer in new.layers if layer.diff_id not in known)


def package_versions(lock: Lock) -> dict[str, str]:
    """Return each Python package's version by name; those from git with the commit's start."""
    return {name: _shown(artifact) for name, artifact in artifacts(lock).items()}


def artifacts(lock: Lock) -> dict[str, Wheel | Source]:
    """Return each Python package's wheel or source by canonical name."""
    found: dict[str, Wheel | Source] = {wheel.name: wheel for wheel in lock.wheels}
    return found | {source.name: source for source in lock.built}


def _python(old: Lock, new: Lock) -> Iterator[Change]:
    before, after = old.spec.python, new.spec.python
    if before != after:
        yield Change(kind=Kind.PYTHON, name="python", old=before, new=after, why=Why.ASKED)


def _base(old: Lock, new: Lock, known: Known | None) -> Iterator[Change]:
    before, after = _base_text(old.base), _base_text(new.base)
    if before != after:
        asked = old.spec.base != new.spec.base or _asked(known) & _REFRESH
        why = Why.ASKED if asked else Why.DRIFTED
        yield Change(kind=Kind.BASE, name="base", old=before, new=after, why=why)
    elif old.spec.base != new.spec.base:
        texts = [_json(to_builtins(lock.spec)["base"]) for lock in (old, new)]
        yield Change(kind=Kind.BASE, name="base", old=texts[0], new=texts[1], why=Why.ASKED)


def _builder(old: Lock, new: Lock) -> Iterator[Change]:
    before, after = (
        None if lock.builder is None else _base_text(lock.builder) for lock in (old, new)
    )
    if before != after:
        asked = old.spec.build.image != new.spec.build.image
        why = Why.ASKED if asked else Why.DRIFTED
        yield Change(kind=Kind.BASE, name="builder", old=before, new=after, why=why)


def _base_text(base: DebianBase | ImageBase) -> str:
    if isinstance(base, DebianBase):
        return f"{base.distribution}:{base.suite}"
    return f"{base.reference} ({base.digest.hex[:12]})"


def _debs(old: Lock, new: Lock, known: Known | None) -> Iterator[Change]:
    before, after = _deb_versions(old.base), _deb_versions(new.base)
    pinned = {name.partition("=")[0] for name in _toggled(old, new)}
    asked = pinned | _asked(known)
    spec_moved = (old.spec.base, old.spec.system) != (new.spec.base, new.spec.system)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            why = Why.FORCED if spec_moved else Why.DRIFTED
            why = Why.ASKED if asked & {name, *_REFRESH} else why
            yield Change(
                kind=Kind.DEB, name=name, old=before.get(name), new=after.get(name), why=why,
                by=("base and system",) if why is Why.FORCED else (),
            )  # fmt: skip


def _asked(known: Known | None) -> set[str]:
    return set(known.asked) if known is not None else set()


def _toggled(old: Lock, new: Lock) -> set[str]:
    return set(old.spec.system.packages) ^ set(new.spec.system.packages)


def _deb_versions(base: DebianBase | ImageBase) -> dict[str, str]:
    if isinstance(base, DebianBase):
        return {package.name: package.version for package in base.packages}
    pairs = (text.partition("=") for text in base.packages or ())
    return {name: version for name, _, version in pairs}


def _packages(old: Lock, new: Lock, known: Known | None) -> Iterator[Change]:
    before, after = artifacts(old), artifacts(new)
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if _identity(was) == _identity(now):
            yield from _pin_alone(name, old, new)
            continue
        texts = [_shown(each) if each is not None else None for each in (was, now)]
        if not isinstance(was, Wheel | None) and not isinstance(now, Wheel | None):
            texts = [_with_tools(was, now), _with_tools(now, was)]
        elif isinstance(was, Wheel) and isinstance(now, Wheel) and was.version == now.version:
            texts = [f"{each.filename} ({each.sha256.hex[:12]})" for each in (was, now)]
        change = Change(kind=Kind.PACKAGE, name=name, old=texts[0], new=texts[1])
        yield _explained(change, old, new, known)


def _pin_alone(name: str, old: Lock, new: Lock) -> Iterator[Change]:
    """Tell of a pin in the spec that changed and moved nothing."""
    was, now = _pin(old, name), _pin(new, name)
    if was != now:
        yield Change(kind=Kind.PIN, name=name, old=was, new=now, why=Why.ASKED)


def _identity(artifact: Wheel | Source | None) -> object:
    if isinstance(artifact, GitSource):  # its wheel may be built or not yet
        return artifact.commit, artifact.subdirectory, artifact.requires, artifact.tools
    if isinstance(artifact, ArchiveSource):
        return artifact.sha256, artifact.requires, artifact.tools
    return None if artifact is None else artifact.sha256


def _shown(artifact: Wheel | Source) -> str:
    if isinstance(artifact, GitSource):
        return f"{artifact.version}@{artifact.commit[:12]}"
    if isinstance(artifact, ArchiveSource) and artifact.files:
        return f"{artifact.version} ({artifact.identity[:12]})"
    return artifact.version


def _with_tools(source: Source, other: Source) -> str:
    """Show a source, and what it is built with that the other is not."""
    own = _tools(source) - _tools(other)
    tools = ", ".join(f"{each.name} {each.version}" for each in sorted(own, key=lambda e: e.name))
    return f"{_shown(source)} (built with {tools})" if tools else _shown(source)


def _tools(source: Source) -> set[Wheel | ArchiveSource]:
    return {*source.requires, *source.tools}


def _explained(change: Change, old: Lock, new: Lock, known: Known | None) -> Change:
    """Say why a package moved."""

    def because(why: Why, by: Collection[str] = ()) -> Change:
        return Change(
            kind=change.kind, name=change.name, old=change.old, new=change.new,
            why=why, by=tuple(sorted(by)),
        )  # fmt: skip

    if _pin(old, change.name) != _pin(new, change.name):
        return because(Why.ASKED)
    if known is None:
        return change
    if change.name in known.asked:
        return because(Why.ASKED)
    if forcing := _forcing(change.name, old, new, known):
        return because(Why.FORCED, forcing)
    return because(Why.DRIFTED)


def _pin(lock: Lock, name: str) -> str | None:
    """Return what the spec says about a package, in one line; its key may carry extras."""
    key = lock.spec.key_of(name)
    if key is None:
        return None
    pin = to_builtins(lock.spec)["packages"][key]
    return f"{key}: {pin if isinstance(pin, str) else _json(pin)}"


def _forcing(name: str, old: Lock, new: Lock, known: Known) -> set[str]:
    """Name whoever the package's old state does not fit together with any more."""
    before, after = artifacts(old), artifacts(new)
    if name not in after:  # nobody needs it now: blame those who did
        return _needing(name, known.old)
    if name not in before:
        return _needing(name, known.new)
    was = before[name].version
    forcing = {user for user in _needing(name, known.new) if _refuses(known.new[user], name, was)}
    for requirement in known.old.get(name, ()):
        other = canonicalize_name(requirement.name)
        if other in after and not requirement.specifier.contains(
            after[other].version, prereleases=True
        ):
            forcing.add(other)
    if old.spec.python != new.spec.python:
        forcing.add("python")
    return forcing - {name}


def _needing(name: str, needs: Needs) -> set[str]:
    return {
        user
        for user, requirements in needs.items()
        if any(canonicalize_name(each.name) == name for each in requirements)
    }


def _refuses(requirements: tuple[Requirement, ...], name: str, version: str) -> bool:
    return any(
        canonicalize_name(each.name) == name
        and not each.specifier.contains(version, prereleases=True)
        for each in requirements
    )


def _settings(old: Lock, new: Lock) -> Iterator[Change]:
    before, after = to_builtins(old.spec), to_builtins(new.spec)
    for name in sorted((before.keys() | after.keys()) - _ELSEWHERE):
        if before.get(name) != after.get(name):
            yield Change(
                kind=Kind.SETTING, name=name, why=Why.ASKED,
                old=_json(before.get(name)), new=_json(after.get(name)),
            )  # fmt: skip


def _files(old: Lock, new: Lock) -> Iterator[Change]:
    """Compare the spec's own files by what they hold."""
    before, after = own_files(old), own_files(new)
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path), after.get(path)
        if was != now:
            yield Change(kind=Kind.FILE, name=path, old=was, new=now, why=Why.ASKED)


def own_files(lock: Lock) -> dict[str, str]:
    """Return what the spec's own files hold, in short, by their places in the image."""
    return {
        f"{tree.into.rstrip('/')}/{file.path}": f"{file.size} bytes {file.sha256.hex[:12]}"
        if file.link is None
        else f"link to {file.link}"
        for tree in lock.files
        for file in tree.files
    }


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)
