"""``--cluster``: the stages of work here, or on the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .project import remote_settings

if TYPE_CHECKING:
    from envbuilder import Context
    from envbuilder.workflow.bump.stages import Stages
    from envbuilder.workflow.cluster.jobs import Jobs


@contextmanager
def opened_cluster(
    address: str, context: Context, *, runtime: str, growing: bool
) -> Iterator[Jobs]:
    """Lend the cluster at ``address``, with the place where this project shares its layers."""
    from envbuilder.workflow.cluster.jobs import open_jobs

    shared = remote_settings()
    with open_jobs(address, context, runtime=runtime, remote=shared, growing=growing) as jobs:
        yield jobs


@contextmanager
def opened_stages(
    address: str | None,
    context: Context,
    *,
    folder: Path,
    engine: str,
    runtime: str,
    growing: bool,
) -> Iterator[Stages]:
    """Lend the stages for a spec in ``folder``: of this machine, or of the cluster at ``address``.

    Raises UsageError for what is said of a cluster where none is named.
    """
    from envbuilder.model.errors import UsageError
    from envbuilder.runtime import choose
    from envbuilder.workflow.bump.stages import real_stages
    from envbuilder.workflow.cluster.make import cluster_stages

    if address is None:
        if growing:
            raise UsageError("--wait-for-nodes is about a cluster's machines: add --cluster")
        chosen = choose(runtime, context.store)
        yield real_stages(context, folder=folder, engine=engine, runtime=chosen)
        return
    with opened_cluster(address, context, runtime=runtime, growing=growing) as jobs:
        yield cluster_stages(context, jobs, folder=folder, engine=engine)
