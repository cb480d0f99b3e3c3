"""Inside a guilty package: the first bad one of its versions, or of its commits, in between.

The good end may be the newer one: then the line runs back in time, and its last good step is what
mended the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from packaging.version import Version

from envbuilder.model.lock import GitSource, Lock, Wheel
from envbuilder.model.lock_diff import artifacts
from envbuilder.model.spec import Spec, from_builtins, to_builtins
from envbuilder.workflow.bump.stages import Stages

from .search import TrialResult, first_bad


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The steps of one package from good (first) to bad (last).

    ``kind`` is "version" or "commit"; ``backwards`` if good is newer than bad. ``context`` is the
    lock of the first step; ``make(position)`` gives that of another, or raises ResolutionError or
    BuildError.
    """

    package: str
    kind: str
    steps: tuple[str, ...]
    backwards: bool
    context: Lock
    make: Callable[[int], Lock]


Lines = Callable[[str, Lock, Lock], Line | None]
"""Finds the line of a package between two locks that differ in it; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """The last good and the first bad step of a package; the ``skipped`` between say nothing.

    ``mended_by`` is the step that turned bad into good, where good is newer than bad.
    """

    package: str
    kind: str
    last_good: str
    first_bad: str
    skipped: tuple[str, ...]
    mended_by: str | None = None


def narrow(line: Line, *, test: Callable[[int], TrialResult]) -> Narrowed:
    """Search ``line`` for its first bad step; ``test(position)`` tests one."""
    lo, hi = first_bad(len(line.steps) - 1, test)
    return Narrowed(
        package=line.package,
        kind=line.kind,
        last_good=line.steps[lo],
        first_bad=line.steps[hi],
        skipped=line.steps[lo + 1 : hi],
        mended_by=line.steps[lo] if line.backwards and hi == lo + 1 else None,
    )


def between(stages: Stages) -> Lines:
    """Find lines with what the package indexes and git servers offer."""

    def line(package: str, good: Lock, bad: Lock) -> Line | None:
        old, new = artifacts(good)[package], artifacts(bad)[package]
        if isinstance(old, GitSource) and isinstance(new, GitSource):
            return _commits(old, new, good, bad, stages)
        if isinstance(old, Wheel) and isinstance(new, Wheel):
            return _versions(old, new, good, bad, stages)
        return None

    return line


def _versions(old: Wheel, new: Wheel, good: Lock, bad: Lock, stages: Stages) -> Line:
    ends = sorted((Version(old.version), Version(new.version)))
    early = any(end.is_prerelease for end in ends)
    versions = [
        each.version
        for each in stages.releases(old.name, bad)
        if ends[0] < Version(each.version) < ends[1]
        and not each.yanked
        and (early or not Version(each.version).is_prerelease)
    ]
    backwards = Version(old.version) > Version(new.version)
    if backwards:
        versions.reverse()
    steps = (old.version, *versions, new.version)

    def make(position: int) -> Lock:
        spec = _pinned(good.spec, old.name, f"=={steps[position]}")
        return stages.resolve(spec, good, frozenset({old.name}))

    return Line(
        package=old.name, kind="version", steps=steps, backwards=backwards, context=good, make=make
    )


def _commits(old: GitSource, new: GitSource, good: Lock, bad: Lock, stages: Stages) -> Line | None:
    steps = (old.commit, *stages.commits(old, new))
    backwards = steps[-1] != new.commit
    if backwards:
        steps = tuple(reversed((new.commit, *stages.commits(new, old))))
    if (steps[0], steps[-1]) != (old.commit, new.commit) or old.repository != new.repository:
        return None  # neither descends from the other
    newer = good if backwards else bad  # whose branch holds all of them
    pin = to_builtins(newer.spec)["packages"][newer.spec.key_of(old.name)]

    def make(position: int) -> Lock:
        fixed = {key: value for key, value in pin.items() if key != "tag"}
        spec = _pinned(good.spec, old.name, fixed | {"commit": steps[position]})
        return stages.resolve(spec, good, frozenset({old.name}))

    return Line(
        package=old.name, kind="commit", steps=steps, backwards=backwards, context=good, make=make
    )


def _pinned(spec: Spec, name: str, pin: object) -> Spec:
    """Let a spec pin a package, also one that only comes along with others."""
    plain = to_builtins(spec)
    packages = plain["packages"] | {spec.key_of(name) or name: pin}
    return from_builtins(plain | {"packages": packages})
