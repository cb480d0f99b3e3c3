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
from envbuilder.model.progress import Progress
from envbuilder.model.spec import Spec
from envbuilder.resolve.git.commits import commits_between, moment_of
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.resolve.python.dependencies import read_needs
from envbuilder.resolve.python.releases import Release, releases
from envbuilder.resolve.resolve import python_target, resolve_base, resolve_builder
from envbuilder.runtime import Command, Completed, Runtime, choose
from envbuilder.storage.ledger import LedgerEntry
from envbuilder.storage.store import Store
from envbuilder.workflow.build import BuildResult, Options, ledger_entry, make_all, resolve_spec
from envbuilder.workflow.smoke import smoke_image

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
    *,
    folder: Path,
    store: Store,
    progress: Progress,
    runtime: Runtime | None = None,
    options: Options | None = None,
) -> Stages:
    """Make the stages of the pipeline's parts, for a spec that lies in ``folder``.

    Without ``runtime`` one is chosen when it is needed.
    """
    chosen = options or Options()

    @cache
    def ready() -> Runtime:
        return runtime or choose("auto", store)

    def run(lock: Lock, args: tuple[str, ...]) -> Completed:
        lock, image = make_all(lock, store=store, progress=progress, options=chosen)
        if isinstance(lock.base, ImageBase):  # its layers come through only now, to be run
            fetch_base(lock, store=store, offline=chosen.offline, progress=progress)
        smoke = lock.spec.smoke
        with ready().prepared(image, progress=progress) as prepared:
            command = Command(args=args, timeout=smoke.timeout, memory=smoke.memory << 20)
            return prepared.run(command)

    def build(lock: Lock) -> BuildResult:
        lock, image = make_all(lock, store=store, progress=progress, options=chosen)
        report = smoke_image(
            lock,
            image,
            store=store,
            runtime=ready(),
            progress=progress,
            offline=chosen.offline,
            folder=folder,
        )
        sealed = seal(lock, image, engine=chosen.engine)
        return BuildResult(lock=sealed, image=image, report=report)

    @cache  # so that a server is asked for its branches and tags once
    def mirror(repository: str) -> Mirror:
        return Mirror(Address.parse(repository), store=store, progress=progress)

    return Stages(
        resolve=lambda spec, previous, release: resolve_spec(
            spec, store=store, progress=progress, previous=previous, release=release
        ),
        refresh=lambda lock: _refreshed(lock, store=store, progress=progress),
        build=build,
        run=run,
        entry=lambda outcome: ledger_entry(outcome, runtime=ready().name),
        needs=lambda lock: read_needs(lock, store=store),
        releases=lambda name, lock: releases(
            name, target=python_target(lock.spec, lock.base), index=lock.spec.indexes
        ),
        refs=lambda package: mirror(package.git).refs,
        commits=lambda old, new: commits_between(
            mirror(new.repository).history, old.commit, new.commit
        ),
        moment=lambda source: moment_of(mirror(source.repository).history, source.commit),
        created=lambda lock, image: _created(lock, image, store=store),
    )


def _refreshed(lock: Lock, *, store: Store, progress: Progress) -> Lock:
    base = resolve_base(lock.spec, None, store=store, progress=progress)
    builder = resolve_builder(lock.spec, None, progress=progress)
    fresh = replace(lock.unsealed(), base=base, builder=builder)
    try:
        return pin_packages(fresh, store=store, progress=progress)
    except MissingToolError as error:
        progress.note(f"warning: cannot ask the base for newer packages: {error.message}")
        return fresh


def _created(lock: Lock, image: ImageBase, *, store: Store) -> str:
    config = base_config(lock, image, store=store, offline=False)
    return str(json.loads(config).get("created") or "")
