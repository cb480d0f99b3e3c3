"""A locked source -> its wheel, kept by recipe: nobody compiles the same source twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename

from envbuilder.layers.wheel_reconstruction import has_wheel
from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.errors import BuildError
from envbuilder.model.filenames import parse_wheel_filename
from envbuilder.model.git_url import Address
from envbuilder.model.lock import ArchiveSource, GitSource, Lock, Source, in_build_order
from envbuilder.model.package_spec import ArchivePackage, GitPackage
from envbuilder.resolve.archives.archive import Archive
from envbuilder.resolve.archives.supply import bring_archive
from envbuilder.resolve.target import python_target

from . import lfs
from .ask import metadata_in
from .build_log import following
from .build_sources import fetch_trees
from .checkout import Checkout
from .context import GitContext
from .direct_references import plain_requirements
from .hooks import is_plain_file
from .normal_wheel import differences
from .question import doubt
from .recipe import (
    Built,
    Recipe,
    remember,
    remember_duration,
    remembered,
    take_wheel,
)
from .tree import Commit, bring

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One build: the files of ``checkout`` lie in ``files``, the wheel goes into ``output``.

    The tools of ``source`` have their wheels, which are in the store. Further sources lie in
    ``sources``, which is there if there are any. All folders are the job's own. All that the build
    prints goes to ``log``. ``fresh``: nothing that was compiled before may serve.
    """

    lock: Lock
    source: Source
    checkout: Checkout
    files: Path
    sources: Path
    output: Path
    log: Path
    fresh: bool


S = TypeVar("S", bound=GitSource | ArchiveSource)

Make = Callable[[Job], str]
"""Does a job and gives the wheel's file name; raises BuildError with the end of the log."""


def build_sources(lock: Lock, *, make: Make, context: GitContext) -> Lock:
    """Return ``lock`` with a wheel for every source, each in the store.

    A wheel that the store has under the source's recipe is taken; otherwise ``make`` builds it.
    Raises BuildError if a build fails or gives other bytes than the lock holds. Where the lock
    holds none, a note tells that the bytes are not those of an earlier build.
    """
    made = tuple(_with_wheel(lock, source, make, context) for source in lock.built)
    return lock if made == lock.built else lock.with_built(made)


def check_reproducible(lock: Lock, *, make: Make, context: GitContext) -> None:
    """Build every source of ``lock`` once more and compare.

    Raises BuildError that lists the files that differ from the wheel that is there.
    """
    complete = build_sources(lock, make=make, context=context)
    for source in complete.built:
        _check_again(complete, source, make, context)


def fetch_sources(lock: Lock, context: GitContext) -> None:
    """Bring every source's files and build environment to this machine."""
    target = python_target(lock.spec, lock.base)
    for source in in_build_order(lock.built):
        context.bring(source.requires, target=target, index=lock.spec.indexes)
        tree = _tree(lock, source, context)
        if isinstance(source, GitSource) and isinstance(tree, Commit):
            bring(tree, open_mirror=context.mirror, submodules=source.submodules)
        fetch_trees(source.sources, open_mirror=context.mirror)


def _tree(lock: Lock, source: Source, context: GitContext) -> Commit | Archive:
    """Bring the files of ``source``, but for its submodules', to this machine."""
    if isinstance(source, ArchiveSource):
        return bring_archive(context, lock, source)
    repository = context.mirror(Address.parse(source.repository)).content(source.commit)
    return Commit(repository=repository, commit=source.commit, time=source.time)


def _with_tools(lock: Lock, source: S, make: Make, context: GitContext) -> S:
    """Return ``source`` with a wheel for each of its tools, in the store."""
    tools = tuple(_with_wheel(lock, tool, make, context) for tool in source.tools)
    return replace(source, tools=tools)


def _check_again(lock: Lock, source: Source, make: Make, context: GitContext) -> None:
    """Build ``source``, which has its wheel, once more, its tools before it, and compare."""
    equipped = _with_tools(lock, source, make, context)
    for tool in equipped.tools:
        _check_again(lock, tool, make, context)
    _check_same(source, _build(lock, equipped, make, context, fresh=True), lock, context)


def _with_wheel(lock: Lock, source: S, make: Make, context: GitContext) -> S:
    if source.wheel is not None and has_wheel(context.store, source.wheel.sha256):
        return source
    recipe = Recipe.of(lock, source)
    with context.store.lock(f"build-{source.name}-{source.identity[:12]}"):
        built = remembered(context.store, recipe)
        if built is None or not has_wheel(context.store, built.wheel.sha256):
            started = time.monotonic()
            again = _build(lock, _with_tools(lock, source, make, context), make, context)
            remember_duration(context.store, source, time.monotonic() - started)
            if source.wheel is not None:
                _check_same(source, again, lock, context)
            elif built is not None and built.wheel != again.wheel:
                context.progress.note(_difference(source, built, again))
            remember(context.store, recipe.key, again)
            built = again
    if source.wheel is not None:
        _check_same(source, built, lock, context)
    return replace(source, wheel=built.wheel)


def _check_same(source: Source, again: Built, lock: Lock, context: GitContext) -> None:
    """Compare with the wheel that the lock holds; what was in it, the store may still know."""
    assert source.wheel is not None  # noqa: S101 - callers have it
    if source.wheel.sha256 == again.wheel.sha256:
        return
    known = remembered(context.store, Recipe.of(lock, source))
    if known is None or known.wheel.sha256 != source.wheel.sha256:
        known = Built(wheel=source.wheel, contents={})
    raise BuildError(
        _difference(source, known, again),
        hint=f"envbuilder wheels import DIR brings the locked wheel; envbuilder lock "
        f"{lock.spec.name} --upgrade-package {source.name} accepts a new one",
    )


def _difference(source: Source, before: Built, again: Built) -> str:
    lines = differences(before.contents, again.contents) if before.contents else []
    shown = "\n".join(f"  {line}" for line in lines[:_SHOWN])
    if not before.contents:
        shown = "  (what was in the earlier wheel is not known here)"
    elif not lines:
        shown = "  (equal contents: only the compression differs, by another zlib)"
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return (
        f"{source.name}: building {source.identity[:12]} again gave another wheel "
        f"({again.wheel.sha256}, not {before.wheel.sha256}); these files differ:\n{shown}{more}"
    )


def _build(
    lock: Lock, source: Source, make: Make, context: GitContext, *, fresh: bool = False
) -> Built:
    checkout = _checkout(lock, source, context)
    title = f"{source.name} {source.version} from {source.identity[:12]}"
    with (
        context.store.scratch() as scratch,
        context.progress.step("build", title, unit="items") as step,
    ):
        job = Job(
            lock=lock,
            source=source,
            checkout=checkout,
            files=scratch / "source",
            sources=scratch / "sources",
            output=scratch / "output",
            log=context.store.root / "logs" / f"{source.name}-{source.identity}.log",
            fresh=fresh,
        )
        job.output.mkdir()
        try:
            checkout.write(job.files, context)
            checkout.mount_sources(job.sources, context)
            with following(job.log, step):
                filename = make(job)
            return _take(job, filename, context)
        except BuildError as error:  # a full disk is one, and stays one
            hint = "; ".join(filter(None, (_about_pointers(job), error.hint)))
            raise type(error)(f"{source.name}: {error.message}", hint=hint) from error


def _about_pointers(job: Job) -> str | None:
    """Name the pointers of Git LFS that the build may have taken for files, if there are any."""
    found = [each for folder in (job.files, job.sources) for each in lfs.pointers(folder)]
    return lfs.told(found) if found else None


def _checkout(lock: Lock, source: Source, context: GitContext) -> Checkout:
    pin: GitPackage | ArchivePackage = ArchivePackage(build=lock.spec.build_of(source.name))
    described = None
    if isinstance(source, GitSource):
        pin, described = lock.spec.sources[source.name], source.describe
    tree = _tree(lock, source, context)
    return Checkout(tree=tree, pin=pin, described=described, sources=source.sources)


def _take(job: Job, filename: str, context: GitContext) -> Built:
    """Check the wheel that a build made and put it, in its normal form, into the store."""
    source = job.source
    if not is_plain_file(job.output, filename):
        raise BuildError(f"its build says it made {filename!r}, which is not there")
    _check_name(job.lock, source, filename, context)
    _check_metadata(job.lock, source, job.output / filename, context)
    return take_wheel(source, job.output, filename, context.store)


def _check_name(lock: Lock, source: Source, filename: str, context: GitContext) -> None:
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise BuildError(f"its build made no wheel: {error}") from error
    if (name, str(version)) != (source.name, source.version):
        doubt(context.store, source)
        raise BuildError(
            f"its build made {filename}, but {source.name} {source.version} is locked",
            hint=_ask_anew(lock, source),
        )
    target = python_target(lock.spec, lock.base)
    if tags.isdisjoint(target.tags()):
        raise BuildError(
            f"its build made {filename}, which does not fit Python {target.python} on "
            f"{target.platform}"
        )


def _ask_anew(lock: Lock, source: Source) -> str:
    return (
        f"envbuilder lock {lock.spec.name} --upgrade-package {source.name} asks it anew, in what "
        "it is built in"
    )


def _check_metadata(lock: Lock, source: Source, wheel: Path, context: GitContext) -> None:
    """Refuse a wheel that needs other packages than those that the lock resolved for it."""
    with WheelFile.open(wheel, wheel.name) as opened:
        lfs.check_wheel(opened)
        said = metadata_in(opened).get("requires_dist", ())
    target = python_target(lock.spec, lock.base)
    needs = _normal(plain_requirements(said, source.name, lock.spec, target))
    locked = _normal(source.requires_dist)
    if needs == locked:
        return
    changes = [*(f"- {each}" for each in sorted(locked - needs))]
    changes += [f"+ {each}" for each in sorted(needs - locked)]
    shown = "\n".join(f"  {line}" for line in changes[:_SHOWN])
    doubt(context.store, source)
    raise BuildError(
        f"built, it needs other packages than it said when it was locked (- locked, + built):"
        f"\n{shown}",
        hint=_ask_anew(lock, source),
    )


def _normal(lines: Iterable[str]) -> set[str]:
    return {str(Requirement(line)) for line in lines}
