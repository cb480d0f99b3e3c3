"""What is newer than what is locked: releases, commits, tags, base images, .deb files."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from packaging.version import Version

from envbuilder.model.errors import ResolutionError
from envbuilder.model.lock import ArchiveSource, DebianBase, GitSource, ImageBase, Lock, Wheel
from envbuilder.model.lock_diff import Kind, compare
from envbuilder.model.progress import Progress
from envbuilder.model.spec import name_of
from envbuilder.resolve.git.mirror import Refs
from envbuilder.resolve.python.releases import Release

from .pins import SYSTEM
from .stages import Stages

_AT_ONCE = 8
_NUMBER = re.compile(r"\d+")


class What(enum.StrEnum):
    """What kind of thing is newer."""

    RELEASE = "release"
    COMMIT = "commit"
    TAG = "tag"
    MOVED = "moved tag"
    REWRITTEN = "rewritten branch"
    """The branch no longer holds the locked commit; ``newest`` is its tip."""
    GONE = "gone"
    """The tag, branch or repository that was locked is not there any more; ``newest`` is empty."""
    BASE = "base"
    DEB = "deb"
    YANKED = "yanked"
    """The locked release was withdrawn; ``newest`` is what to take instead."""
    UNKNOWN = "in no index"
    """No index has the package any more, so ``newest`` and ``pin`` are empty."""


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
    """List what is newer than ``lock``; releases and commits made after ``youngest`` do not count.

    What the spec's ``index.exclude_newer`` hides does not count either. Raises NetworkError and
    ResolutionError if an index, git server or registry does not answer.
    """
    with progress.step("look", "packages", unit="items"), ThreadPoolExecutor(_AT_ONCE) as pool:
        placed = {*lock.spec.direct, *lock.spec.archives}  # newer ones have other addresses
        direct = {name_of(key) for key in placed}
        locked: list[Wheel | ArchiveSource] = [*lock.wheels, *lock.archives]
        asked = [each for each in locked if each.name not in direct]
        packages = pool.map(lambda each: _release(each, lock, stages, youngest), asked)
        found = [newer for newer in packages if newer is not None]
    for source in lock.sources:
        found += _git(source, lock, stages, youngest)
    with progress.step("look", "base and system", unit="items"):
        found += _base(lock, stages)
    return tuple(found)


def _release(
    wheel: Wheel | ArchiveSource, lock: Lock, stages: Stages, youngest: datetime | None
) -> Newer | None:
    named = wheel.name in lock.spec.requested
    try:
        offered = stages.releases(wheel.name, lock)
    except ResolutionError:  # told in its own line: the others are to be looked at all the same
        return Newer(
            what=What.UNKNOWN, name=wheel.name, current=wheel.version, newest="", named=named
        )
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
        named=named,
        pin=f"{wheel.name}=={newest.version}",
    )


def _counts(release: Release, current: Version, youngest: datetime | None) -> bool:
    """Leave out what was yanked, is too young, or is a preview if none is used."""
    if release.yanked or (Version(release.version).is_prerelease and not current.is_prerelease):
        return False
    return _is_ripe(release.uploaded, youngest)


def _is_ripe(moment: str, youngest: datetime | None) -> bool:
    """Return whether something is old enough; what has no date is so only where any age will do."""
    return youngest is None or (bool(moment) and datetime.fromisoformat(moment) <= youngest)


def _git(
    source: GitSource, lock: Lock, stages: Stages, youngest: datetime | None
) -> Iterator[Newer]:
    pin = lock.spec.sources[source.name]
    try:
        refs = stages.refs(pin)
    except ResolutionError:  # told in its own line: the others are to be looked at all the same
        yield _gone(source, source.repository)
        return

    def ripe(what: What, commits: Sequence[tuple[str, str]]) -> Iterator[Newer]:
        """Take the first of (name, commit) that is old enough."""
        for name, commit in commits:
            date = stages.moment(replace(source, commit=commit))
            if _is_ripe(date, youngest):
                yield Newer(
                    what=what, name=source.name, current=pin.tag or source.commit, newest=name,
                    date=date, named=True, pin=f"{source.name}@{name}",
                )  # fmt: skip
                return

    if pin.tag is not None and pin.tag not in refs.tags:
        yield _gone(source, pin.tag)
    elif pin.tag is not None:
        yield from _moved(source, pin.tag, refs, stages)
        yield from ripe(What.TAG, _later_tags(pin.tag, refs))
    if pin.branch is not None and pin.branch not in refs.heads:
        yield _gone(source, pin.branch)
    elif pin.branch is not None and (tip := refs.heads[pin.branch]) != source.commit:
        between = stages.commits(source, replace(source, commit=tip))
        if between:
            yield from ripe(What.COMMIT, [(commit, commit) for commit in reversed(between)])
        else:
            yield Newer(
                what=What.REWRITTEN, name=source.name, current=source.commit, newest=tip,
                date=stages.moment(replace(source, commit=tip)), named=True,
                pin=f"{source.name}@{tip}",
            )  # fmt: skip


def _gone(source: GitSource, what: str) -> Newer:
    return Newer(what=What.GONE, name=source.name, current=what, newest="", named=True)


def _moved(source: GitSource, tag: str, refs: Refs, stages: Stages) -> Iterator[Newer]:
    """Tell of a tag that names another commit now, however young that is."""
    now = refs.tags.get(tag, source.commit)
    if now != source.commit:
        yield Newer(
            what=What.MOVED, name=source.name, current=source.commit, newest=now, named=True,
            date=stages.moment(replace(source, commit=now)), pin=f"{source.name}@{tag}",
        )  # fmt: skip


def _later_tags(tag: str, refs: Refs) -> list[tuple[str, str]]:
    """List the tags that are newer than ``tag``, with commits, newest first.

    Those are releases. For a tag that is no version (``v4.51.3-Qwen2.5-Omni-preview``) those that
    differ from it in numbers only count as well.
    """
    later: dict[str, Any]
    if (current := _version(tag)) is not None:
        later = {name: at for name in refs.tags if (at := _release_of(name)) and at > current}
    else:
        akin = {name: _numbers(name) for name in refs.tags if _is_akin(name, tag)}
        later = {name: numbers for name, numbers in akin.items() if numbers > _numbers(tag)}
    newest_first = sorted(later, key=later.__getitem__, reverse=True)
    return [(name, refs.tags[name]) for name in newest_first]


def _is_akin(name: str, tag: str) -> bool:
    """Return whether a tag is a release that begins as ``tag`` does, or has its very words."""
    if _release_of(name) is not None:
        return _NUMBER.split(name)[0] == _NUMBER.split(tag)[0]
    return _NUMBER.split(name) == _NUMBER.split(tag)


def _numbers(tag: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(tag)]


def _version(tag: str) -> Version | None:
    try:
        return Version(tag)
    except ValueError:  # a tag that is no release
        return None


def _release_of(tag: str) -> Version | None:
    version = _version(tag)
    return None if version is None or version.is_prerelease else version


def _base(lock: Lock, stages: Stages) -> Iterator[Newer]:
    fresh = stages.refresh(lock)
    images = {"base": fresh.base, "builder": fresh.builder}
    for change in compare(lock, fresh):
        if change.new is None or change.kind not in {Kind.BASE, Kind.DEB}:
            continue
        date, size = "", 0
        if change.kind is Kind.DEB:
            size = _deb_size(fresh, change.name)
        elif isinstance(image := images[change.name], ImageBase):
            date, size = stages.created(fresh, image), sum(layer.size for layer in image.layers)
        yield Newer(
            what=What(str(change.kind)), name=change.name, current=change.old or "-",
            newest=change.new, date=date, size=size, pin=SYSTEM,
        )  # fmt: skip


def _deb_size(lock: Lock, name: str) -> int:
    if not isinstance(lock.base, DebianBase):
        return 0  # the image's own package manager tells versions only
    return next(deb.size for deb in lock.base.packages if deb.name == name)
