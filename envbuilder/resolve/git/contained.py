"""Build wheels in containers of our own: no network, no home, nothing of this machine but a cache.

The cache is the compilers': where the builder has ccache or sccache, a new commit compiles only
what it touched. Each repository, and each archive, has its own, so that none can slip another one
false objects, and no byte of a wheel depends on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from envbuilder.model.git_url import Address
from envbuilder.model.lock import GitSource, build_environment
from envbuilder.model.owner import give_all, make_folder
from envbuilder.model.reference import Digest
from envbuilder.resolve.target import python_target
from envbuilder.runtime import Mount

from .build_sources import PLACE
from .context import GitContext
from .hooks import Hook, run_hook
from .sandbox import Sandbox
from .wheel_build import Job, Make

COMPILED = "compiled"
"""The folder of the store that holds the compilers' caches: one per repository or archive."""
_CACHE = "/build/cache"
_COMPILERS = {
    "CCACHE_DIR": f"{_CACHE}/ccache",
    "SCCACHE_DIR": f"{_CACHE}/sccache",
    "CCACHE_COMPILERCHECK": "content",  # every file of ours is as old as any other
}


def contained(sandbox: Callable[[], Sandbox], context: GitContext) -> Make:
    """Build in what ``sandbox`` makes, which is asked for only when there is something to do."""

    def make(job: Job) -> str:
        inside, source, spec = sandbox(), job.source, job.lock.spec
        target = python_target(spec, job.lock.base)
        context.bring(source.requires, target=target, index=spec.indexes)
        requires = build_environment(source)
        told = job.checkout.variables(wheel.name for wheel in requires)
        hook = Hook(
            name="wheel",
            project=job.checkout.project,
            source=job.files,
            subdirectory=job.checkout.pin.subdirectory,
            env=_COMPILERS | told,
            mounts=(cache := _cache(job, context), *_sources(job)),
            requested=spec.requested,
            timeout=spec.build.timeout,
        )
        try:
            with context.store.holds.of([name_held(cache.source.name)]):
                answer = run_hook(
                    inside,
                    hook,
                    requires=requires,
                    output=job.output,
                    log=job.log,
                    context=context,
                )
        finally:
            give_all(cache.source)
        return str(answer.get("made"))

    return make


def name_held(cache: str) -> Digest:
    """Name what a build holds that works with the compilers' ``cache``, of that name."""
    return Digest.of(cache.encode())


def _sources(job: Job) -> tuple[Mount, ...]:
    return (Mount(source=job.sources, target=PLACE),) if job.source.sources else ()


def _cache(job: Job, context: GitContext) -> Mount:
    """Lend the source's cache; an empty one to a build that shall find nothing."""
    if isinstance(job.source, GitSource):
        name = context.mirror(Address.parse(job.source.repository)).path.name
    else:
        name = f"archive-{job.source.identity}"
    folder = context.store.root / COMPILED / name
    if job.fresh:
        folder = job.output.with_name("cache")
    make_folder(folder, mode=0o700)  # a build may leave anything in it
    os.utime(folder)  # it counts as used now
    return Mount(source=folder, target=_CACHE, read_only=False)
