"""The locking of a spec's sources, whose build requirements may be sdists of an index."""

from __future__ import annotations

from collections.abc import Collection

from envbuilder.model.lock import GitSource, Lock
from envbuilder.model.spec import Spec

from .archives.sdist_tools import SdistTools
from .git.build_environment import BuildEnvironment
from .git.context import GitContext
from .git.locking import Locking
from .python.requirements import PythonTarget
from .release import EVERYTHING


def locking(
    spec: Spec,
    *,
    target: PythonTarget,
    context: GitContext,
    previous: Lock | None = None,
    release: Collection[str] = (),
    environment: BuildEnvironment | None = None,
) -> Locking:
    """Return what locks the sources of ``spec``, one by one.

    What ``previous`` holds of a source stays while its pin, files and build say the same, wheel
    included, unless ``release`` names it. Its build environment stays even then, as far as the
    source allows, but for the packages in it that ``release`` names as well. With EVERYTHING let go
    nothing stays. What depends on where it is asked is asked in ``environment``.
    """
    return Locking(
        spec=spec,
        previous=None if EVERYTHING in release else previous,
        release=frozenset(release),
        target=target,
        context=context,
        toolbox=SdistTools.of,
        environment=environment,
    )


def lock_sources(work: Locking) -> tuple[GitSource, ...]:
    """Lock every git package of the spec, sorted by name.

    Raises ResolutionError, NetworkError, BuildError (a source's own code fails) and
    MissingToolError.
    """
    previous = () if work.previous is None else work.previous.sources
    before = {source.name: source for source in previous}
    sources = sorted(work.spec.sources.items())
    return tuple(work.lock(name, pin, before.get(name)) for name, pin in sources)
