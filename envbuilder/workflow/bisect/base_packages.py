"""Inside a guilty Debian base: which of its .deb packages.

Packages that were built from one source insist on each other's exact versions, so they move
together; the folders of the pool tell the sources. What apt still refuses is a skipped step.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from envbuilder.model.lock import DebianBase, DebPackage, Lock


def deb_groups(good: Lock, bad: Lock) -> tuple[tuple[str, ...], ...]:
    """Group the .deb packages that differ by their source; none if the base is another one.

    Only what drifted can be told apart: a suite or ``system`` that changed is guilty as a whole.
    """
    if (good.spec.base, good.spec.system) != (bad.spec.base, bad.spec.system):
        return ()
    old, new = _packages(good), _packages(bad)
    groups: dict[str, set[str]] = {}
    for name in old.keys() | new.keys():
        if old.get(name) != new.get(name):
            source = (new.get(name) or old[name]).filename.rpartition("/")[0]
            groups.setdefault(source, set()).add(name)
    return tuple(sorted(tuple(sorted(names)) for names in groups.values()))


def with_debs(good: Lock, bad: Lock, names: Collection[str]) -> Lock:
    """Make the lock of ``good`` with these .deb packages as in ``bad``."""
    old, new = _packages(good), _packages(bad)
    chosen = [(new if name in names else old).get(name) for name in sorted(old.keys() | new.keys())]
    assert isinstance(good.base, DebianBase)  # noqa: S101 - it has .deb packages
    packages = tuple(deb for deb in chosen if deb is not None)
    return replace(good, base=replace(good.base, packages=packages))


def deb_text(good: Lock, bad: Lock, name: str) -> str:
    """Say how the version of a package moved."""
    old, new = (packages.get(name) for packages in (_packages(good), _packages(bad)))
    return f"{name} {old.version if old else '(none)'} -> {new.version if new else '(gone)'}"


def _packages(lock: Lock) -> dict[str, DebPackage]:
    if not isinstance(lock.base, DebianBase):
        return {}
    return {deb.name: deb for deb in lock.base.packages}
