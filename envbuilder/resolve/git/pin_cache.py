"""What a git pin comes to, remembered under the server's branches and tags.

Equal branches and tags give equal answers, since history is addressed by content. So git itself is
asked once, and not at all while nobody pushes.
"""

from __future__ import annotations

import posixpath
from dataclasses import asdict
from typing import Any

from packaging.requirements import Requirement

from envbuilder.model.image import canonical_json
from envbuilder.model.lock import LockedCommit
from envbuilder.model.package_spec import GitPackage, GitPin
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from .mirror import Mirror
from .project import read_project
from .refs import Revision, resolve_git
from .scm_version import describe, names_history, needs_history
from .tree import Commit

_REVISION, _DESCRIBE = "git-revision", "git-describe"
_FORMAT = 2


def find_revision(
    name: str, pin: GitPin, *, mirror: Mirror, locked: LockedCommit | None, store: Store
) -> Revision:
    """Find the one commit that ``pin`` names; see ``resolve_git``."""
    before = locked and [locked.repository, locked.requested, locked.commit]
    key = _key(mirror, [pin.tag, pin.branch, pin.commit, before])
    known = store.record(_REVISION, key, Revision)
    if known is None:
        known = resolve_git(name, pin, mirror=mirror, locked=locked)
        store.put_record(_REVISION, key, known)
    return known


def find_describe(
    pin: GitPackage, revision: Revision, *, mirror: Mirror, store: Store
) -> str | None:
    """Return the commit's ``git describe``, where what builds it makes a version of that."""
    key = _key(mirror, [revision.commit, pin.subdirectory, pin.build.requires])
    known = store.record(_DESCRIBE, key, dict[str, str | None])
    if known is None:
        known = {"described": _describe(pin, revision, mirror)}
        store.put_record(_DESCRIBE, key, known)
    return known.get("described")


def commit_of(revision: Revision, mirror: Mirror) -> Commit:
    """Bring all of the commit to this machine."""
    repository = mirror.content(revision.commit)
    return Commit(repository=repository, commit=revision.commit, time=revision.time)


def _describe(pin: GitPackage, revision: Revision, mirror: Mirror) -> str | None:
    commit = commit_of(revision, mirror)
    project = read_project(commit, subdirectory=pin.subdirectory)
    requires = [*project.requires, *map(Requirement, pin.build.requires)]
    places = [posixpath.join(pin.subdirectory or "", name) for name in ("setup.py", "setup.cfg")]
    scripts = (commit.read(place) or b"" for place in places)
    if not needs_history(requires) and not any(map(names_history, scripts)):
        return None
    return describe(mirror.history, revision.commit, project.table)


def _key(mirror: Mirror, asked: list[Any]) -> str:
    refs = Digest.of(canonical_json(asdict(mirror.refs)))
    return canonical_json([_FORMAT, mirror.address.text, str(refs), asked]).decode()
