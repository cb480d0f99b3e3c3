"""What is newer than what is locked: releases, commits, moved tags, base images, .deb files."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from packaging.version import InvalidVersion, Version

from envbuilder.difference import Kind, compare
from envbuilder.errors import ResolutionError
from envbuilder.lock import GitSource, Lock, Wheel
from envbuilder.progress import Progress
from envbuilder.resolve.releases import Release

from .git_pins import Refs
from .pins import SYSTEM
from .stages import Stages

_AT_ONCE = 8


class What(enum.StrEnum):
    """What kind of thing is newer."""

    RELEASE = "release"
    COMMIT = "commit"
    TAG = "tag"
    MOVED = "moved tag"
    BASE = "base"
    DEB = "deb"
    YANKED = "yanked"
    """The locked release was withdrawn; ``newest`` is what to take instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newer:
    """One thing that is not the newest; ``date`` is RFC 3339 or empty, ``size`` bytes or 0.

    ``named`` tells whether the spec itself names it; ``pin`` is what to give to ``bump``.
    """

    what: What
    name: str
    current: str
    newest: str
    date: str = ""
    size: int = 0
    named: bool = False
    pin: str = ""


def outdated(
    lock: Lock, *, stages: Stages, progress: Progress, youngest: datetime | None = None
) -> tuple[Newer, ...]:
    """List what is newer than ``lock``; releases uploaded after ``youngest`` do not count.

    What the spec's ``index.exclude_newer`` hides does not count either. Raises NetworkError and
    ResolutionError where an index, git server or registry does not answer.
    """
    with progress.step("look", "packages", unit="items"), ThreadPoolExecutor(_AT_ONCE) as pool:
        packages = pool.map(lambda wheel: _release(wheel, lock, stages, youngest), lock.wheels)
        found = [newer for newer in packages if newer is not None]
    for source in lock.sources:
        found += _git(source, lock, stages)
    with progress.step("look", "base and system", unit="items"):
        found += _base(lock, stages)
    return tuple(found)


def _release(wheel: Wheel, lock: Lock, stages: Stages, youngest: datetime | None) -> Newer | None:
    offered = stages.releases(wheel.name, lock)
    current = Version(wheel.version)
    ripe = [each for each in offered if _counts(each, current, youngest)]
    newest = max(ripe, key=lambda each: Version(each.version), default=None)
    yanked = any(each.yanked and Version(each.version) == current for each in offered)
    if newest is None or (Version(newest.version) <= current and not yanked):
        return None
    return Newer(
        what=What.YANKED if yanked else What.RELEASE,
        name=wheel.name,
        current=wheel.version,
        newest=newest.version,
        date=newest.uploaded,
        size=newest.size,
        named=wheel.name in lock.spec.requested,
        pin=f"{wheel.name}=={newest.version}",
    )


def _counts(release: Release, current: Version, youngest: datetime | None) -> bool:
    """Leave out what was yanked, is too young, or is a preview where none is used."""
    if release.yanked or (Version(release.version).is_prerelease and not current.is_prerelease):
        return False
    if youngest is None:
        return True
    return bool(release.uploaded) and datetime.fromisoformat(release.uploaded) <= youngest


def _git(source: GitSource, lock: Lock, stages: Stages) -> Iterator[Newer]:
    pin = lock.spec.sources[source.name]
    refs = stages.refs(source.name, pin)

    def newer(what: What, current: str, newest: str) -> Newer:
        pinned = f"{source.name}@{newest}"
        return Newer(what=what, name=source.name, current=current, newest=newest, named=True,
                     pin=pinned)  # fmt: skip

    if pin.tag is not None:
        yield from _tags(source, pin.tag, refs, newer)
    if pin.branch is not None:
        tip = _head(source, pin.branch, refs)
        if tip != source.commit:
            yield newer(What.COMMIT, source.commit, tip)


def _tags(
    source: GitSource, tag: str, refs: Refs, newer: Callable[[What, str, str], Newer]
) -> Iterator[Newer]:
    if refs.tags.get(tag, source.commit) != source.commit:
        yield newer(What.MOVED, source.commit, refs.tags[tag])
    current = _version(tag)
    later = [
        (version, name)
        for name in refs.tags
        if (version := _version(name)) is not None
        and current is not None
        and version > current
        and not version.is_prerelease
    ]
    if later:
        yield newer(What.TAG, tag, max(later)[1])


def _head(source: GitSource, branch: str, refs: Refs) -> str:
    if branch not in refs.heads:
        raise ResolutionError(
            f"{source.name}: {source.repository} no longer has a branch {branch}",
            hint=f"envbuilder bump NAME {source.name}@BRANCH takes another",
        )
    return refs.heads[branch]


def _version(tag: str) -> Version | None:
    try:
        return Version(tag)
    except InvalidVersion:  # a tag that is no release
        return None


def _base(lock: Lock, stages: Stages) -> Iterator[Newer]:
    fresh = stages.refresh(lock)
    kinds = {Kind.BASE: What.BASE, Kind.DEB: What.DEB}
    for change in compare(lock, fresh):
        if change.kind in kinds and change.new is not None:
            yield Newer(
                what=kinds[change.kind], name=change.name, current=change.old or "-",
                newest=change.new, pin=SYSTEM,
            )  # fmt: skip
