"""Further sources of a build: locked commits that it reads, instead of fetching at configure time.

Builds have no network. What CMake's FetchContent or a ``setup.py`` would clone is named in the spec
(``build.sources``), locked like every source, and lies read-only in :data:`PLACE` while the build
runs. Variables name the folders (``{sources.NAME}``); a source with ``fetchcontent`` is found by
CMake itself, by a toolchain file that sets ``FETCHCONTENT_SOURCE_DIR_<NAME>`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from envbuilder.model.git_url import Address
from envbuilder.model.lock import Source, SourceTree
from envbuilder.model.package_spec import SOURCE_PLACE, BuildSource, SourceBuild
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated

from .mirror import Mirror
from .pin_cache import commit_of, find_revision
from .refs import Revision
from .tree import Commit, OpenMirror, bring, export

PLACE = "/build/sources"
"""The folder of all further sources, each below its name, while a build runs."""
TOOLCHAIN = "fetchcontent.cmake"
_VARIABLE = "CMAKE_TOOLCHAIN_FILE"


def lock_trees(
    package: str,
    pins: Mapping[str, BuildSource],
    *,
    before: Source | None,
    open_mirror: OpenMirror,
    store: Store,
) -> tuple[SourceTree, ...]:
    """Lock the further sources of ``package``, sorted by name, and bring them to this machine.

    What ``before`` holds of one stays while its pin allows it. Raises what locking a package from
    git does.
    """
    held = {} if before is None else {tree.name: tree for tree in before.sources}
    trees = []
    for name, (what, pin, locked) in zip(
        sorted(pins), further_pins(package, pins, held), strict=True
    ):
        mirror = open_mirror(Address.parse(pin.git))
        revision = find_revision(what, pin, mirror=mirror, locked=locked, store=store)
        bring(commit_of(revision, mirror), open_mirror=open_mirror, submodules=pin.submodules)
        trees.append(_tree(name, pin, revision, mirror))
    return tuple(trees)


def further_pins(
    package: str, pins: Mapping[str, BuildSource], held: Mapping[str, SourceTree]
) -> list[tuple[str, BuildSource, SourceTree | None]]:
    """List the pins of further sources by name: what to call each in messages, and what is held."""
    return [
        (f"{package}: build.sources: {name}", pin, held.get(name))
        for name, pin in sorted(pins.items())
    ]


def _tree(name: str, pin: BuildSource, revision: Revision, mirror: Mirror) -> SourceTree:
    return SourceTree(
        name=name,
        repository=mirror.address.text,
        requested=revision.requested,
        commit=revision.commit,
        tree=revision.tree,
        submodules=pin.submodules,
        time=revision.time,
    )


def fetch_trees(trees: Iterable[SourceTree], *, open_mirror: OpenMirror) -> None:
    """Bring the files of ``trees`` to this machine, those of submodules too."""
    for tree in trees:
        bring(_commit(tree, open_mirror), open_mirror=open_mirror, submodules=tree.submodules)


def write_trees(
    trees: Iterable[SourceTree], build: SourceBuild, folder: Path, *, open_mirror: OpenMirror
) -> None:
    """Make ``folder`` and write what lies in :data:`PLACE` while the build runs."""
    with translated(folder):
        folder.mkdir(parents=True)
    for tree in trees:
        place = folder / tree.name
        commit = _commit(tree, open_mirror)
        export(commit, place, open_mirror=open_mirror, submodules=tree.submodules)
    if text := toolchain(build):
        with translated(folder):
            (folder / TOOLCHAIN).write_text(text, encoding="utf-8")


def variables(build: SourceBuild) -> dict[str, str]:
    """Return the variables that ``build`` sets, the folders of further sources put in.

    A toolchain file of the spec's own is not replaced: CMake takes one.
    """
    set_by_spec = {
        name: SOURCE_PLACE.sub(lambda found: f"{PLACE}/{found[1]}", value)
        for name, value in build.env.items()
    }
    found_by_cmake = {_VARIABLE: f"{PLACE}/{TOOLCHAIN}"} if toolchain(build) else {}
    return found_by_cmake | set_by_spec


def toolchain(build: SourceBuild) -> str:
    """Return the CMake file that tells FetchContent where the sources lie; empty if none is named.

    CMake reads a toolchain file before the project; only a CMAKE_SYSTEM_NAME in it would make a
    cross build of it (cmake-toolchains(7), FetchContent's FETCHCONTENT_SOURCE_DIR_<NAME>).
    """
    named = sorted(
        (source.fetchcontent, name)
        for name, source in build.sources.items()
        if source.fetchcontent is not None
    )
    return "".join(
        f'set(FETCHCONTENT_SOURCE_DIR_{content.upper()} "{PLACE}/{name}" CACHE PATH "")\n'
        for content, name in named
    )


def identity(trees: Iterable[SourceTree]) -> list[list[object]]:
    """Return what a build depends on of ``trees``, as plain values."""
    return [[tree.name, tree.repository, tree.commit, tree.submodules] for tree in trees]


def _commit(tree: SourceTree, open_mirror: OpenMirror) -> Commit:
    repository = open_mirror(Address.parse(tree.repository)).content(tree.commit)
    return Commit(repository=repository, commit=tree.commit, time=tree.time)
