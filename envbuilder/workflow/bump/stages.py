"""What a bump or a bisection needs done, as functions from value to value.

They write nothing beside the spec. Tests put a pure oracle in their place; :func:`real_stages`
makes them of the pipeline.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from envbuilder.engines.embedded import seal
from envbuilder.engines.foundation import base_config, fetch_base
from envbuilder.engines.system_pins import pin_packages
from envbuilder.model.errors import MissingToolError
from envbuilder.model.git_url import Address
from envbuilder.model.lock import GitSource, ImageBase, Lock
from envbuilder.model.lock_diff import Needs
from envbuilder.model.spec import Spec
from envbuilder.resolve.base import resolve_base, resolve_builder
from envbuilder.resolve.context import Context
from envbuilder.resolve.git.commits import commits_between, moment_of
from envbuilder.resolve.git.context import GitContext
from envbuilder.resolve.git.repository import GitRepository
from envbuilder.resolve.python.dependencies import read_needs
from envbuilder.resolve.python.releases import Release, releases
from envbuilder.resolve.target import python_target
from envbuilder.runtime import Command, Completed, Runtime, choose
from envbuilder.storage.ledger import LedgerEntry
from envbuilder.workflow.build import BuildResult, ledger_entry
from envbuilder.workflow.foreign import check_runs
from envbuilder.workflow.lock import resolve_spec
from envbuilder.workflow.make import make_all
from envbuilder.workflow.smoke import check_at_hand, smoke_image

from .git_pins import AskRefs


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """``resolve(spec, previous, release)``, ``build(lock)`` with its smoke test, and look-ups.

    ``refresh(lock)`` gives the lock as it would be on what its base, system packages and builder
    are now;
    ``run(lock, args)`` builds as well, and runs a command in the image instead of the smoke test;
    ``releases(name, lock)`` lists what the indexes have of a package for the lock's platform;
    ``commits(old, new)`` the commits after the one source's up to the other's, oldest first, or
    nothing if that does not descend from it. ``moment(source)`` says when its commit was made,
    ``created(lock, image)`` when an image that it names was; both RFC 3339, or empty.
    """

    resolve: Callable[[Spec, Lock, frozenset[str]], Lock]
    refresh: Callable[[Lock], Lock]
    build: Callable[[Lock], BuildResult]
    run: Callable[[Lock, tuple[str, ...]], Completed]
    entry: Callable[[BuildResult], LedgerEntry]
    needs: Callable[[Lock], Needs]
    releases: Callable[[str, Lock], tuple[Release, ...]]
    refs: AskRefs
    commits: Callable[[GitSource, GitSource], tuple[str, ...]]
    moment: Callable[[GitSource], str]
    created: Callable[[Lock, ImageBase], str]


def real_stages(
    context: Context, *, folder: Path, engine: str = "embedded", runtime: Runtime | None = None
) -> Stages:
    """Make the stages of the pipeline's parts, for a spec that lies in ``folder``.

    Without ``runtime`` one is chosen when it is needed.
    """

    @cache
    def ready() -> Runtime:
        return runtime or choose("auto", context.store)

    def build(lock: Lock) -> BuildResult:
        check_at_hand(lock, runtime=ready(), folder=folder)
        check_runs(context, lock.spec, lock, engine=engine)
        lock, image = make_all(context, lock, engine=engine)
        report = smoke_image(context, lock, image, runtime=ready(), folder=folder)
        return BuildResult(lock=seal(lock, image, engine=engine), image=image, report=report)

    mirrors = GitContext.of(context)  # so that a server is asked for its branches and tags once

    def history(source: GitSource) -> GitRepository:
        return mirrors.mirror(Address.parse(source.repository)).history

    return Stages(
        resolve=lambda spec, previous, release: resolve_spec(
            context, spec, folder=folder, previous=previous, release=release
        ),
        refresh=lambda lock: _refreshed(context, lock),
        build=build,
        run=lambda lock, args: _run(context, lock, args, engine=engine, runtime=ready()),
        entry=lambda outcome: ledger_entry(outcome, runtime=ready().name),
        needs=lambda lock: read_needs(context, lock),
        releases=lambda name, lock: releases(
            context.indexes,
            name,
            target=python_target(lock.spec, lock.base),
            index=lock.spec.indexes,
            built=name in {archive.name for archive in lock.archives},
        ),
        refs=lambda package: mirrors.mirror(Address.parse(package.git)).refs,
        commits=lambda old, new: commits_between(history(new), old.commit, new.commit),
        moment=lambda source: moment_of(history(source), source.commit),
        created=lambda lock, image: _created(context, lock, image),
    )


def _run(
    context: Context, lock: Lock, args: tuple[str, ...], *, engine: str, runtime: Runtime
) -> Completed:
    lock, image = make_all(context, lock, engine=engine)
    if isinstance(lock.base, ImageBase):  # its layers come through only now, to be run
        fetch_base(context, lock)
    smoke = lock.spec.smoke
    with runtime.prepared(image, progress=context.progress) as prepared:
        return prepared.run(Command(args=args, timeout=smoke.timeout, memory=smoke.memory << 20))


def _refreshed(context: Context, lock: Lock) -> Lock:
    base = resolve_base(context, lock.spec, None)
    builder = resolve_builder(context, lock.spec, None)
    fresh = replace(lock.unsealed(), base=base, builder=builder)
    try:
        return pin_packages(context, fresh)
    except MissingToolError as error:
        context.progress.note(f"warning: cannot ask the base for newer packages: {error.message}")
        return fresh


def _created(context: Context, lock: Lock, image: ImageBase) -> str:
    return str(json.loads(base_config(context, lock, image)).get("created") or "")
