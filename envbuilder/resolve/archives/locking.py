"""An sdist or a folder -> a locked source: taken in by hash, then examined as every source is."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from envbuilder.model.errors import EnvbuilderError, ResolutionError
from envbuilder.model.lock import ArchiveSource, FolderFile, Lock, SourceTree
from envbuilder.model.package_spec import ArchivePackage, Package
from envbuilder.model.spec import Spec, name_of
from envbuilder.resolve.context import Context
from envbuilder.resolve.git.build_sources import lock_trees
from envbuilder.resolve.git.checkout import Checkout
from envbuilder.resolve.git.locking import Locking, asked_of, same_environment
from envbuilder.resolve.python.direct import copy_file, fetch_again, fetch_file, take_all
from envbuilder.resolve.python.sdists import IndexSdist

from .archive import Archive
from .members import is_archive
from .supply import archive_in, pack_folder

_NO_MODULE = re.compile(r"No module named '([\w.]+)'")
_HOLDER = {"pkg_resources": "setuptools<82", "yaml": "pyyaml", "Cython": "cython"}
"""Packages whose modules have other names; setuptools 82 let go of ``pkg_resources``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An archive that the store holds: of the package ``name``, of a folder if it has ``files``."""

    name: str
    archive: Archive
    size: int
    files: tuple[FolderFile, ...] = ()


def take_archives(
    context: Context,
    spec: Spec,
    *,
    folder: Path,
    previous: Lock | None,
    release: Collection[str],
) -> tuple[Taken, ...]:
    """Take in the sdists and folders that ``spec`` names; paths count from ``folder``.

    An address that ``previous`` locked stays what it was unless ``release`` names the package.
    Raises ResolutionError that lists all that cannot be used, each with what to do.
    """

    def take(key: str, pin: Package) -> Taken:
        held = None if name_of(key) in release else _held(key, pin, previous)
        return _taken(context, key, pin, folder, held)

    return take_all(spec.archives.items(), take)


def take_sdist(context: Context, sdist: IndexSdist) -> Taken:
    """Take in an sdist of an index. Raises NetworkError."""
    store = context.store
    size = sdist.size or context.indexes.size_of(sdist.url)
    if not store.has(sdist.sha256):
        file = ArchiveSource(
            name=sdist.name,
            version=sdist.version,
            filename=sdist.filename,
            size=size,
            sha256=sdist.sha256,
        )
        fetch_again(context, sdist.url, file)
    return _dated(sdist.name, archive_in(store, sdist.filename, sdist.sha256), size)


def lock_archive(
    work: Locking, taken: Taken, *, before: ArchiveSource | None, version: str = ""
) -> ArchiveSource:
    """Lock what was ``taken``, of which ``before`` was locked; an index says it is ``version``.

    What was locked of the same files stays while the spec builds them the same way. Raises what
    locking a source from git does.
    """
    name, build = taken.name, work.spec.build_of(taken.name)
    locked = work.kept(before)
    trees = lock_trees(
        name,
        build.sources,
        before=work.pinned(before),
        open_mirror=work.context.mirror,
        store=work.context.store,
    )
    if locked is not None and _holds(work, taken, locked, trees):
        return locked
    checkout = Checkout(tree=taken.archive, pin=ArchivePackage(build=build), sources=trees)
    try:
        examined = work.examine(name, checkout, before)
    except EnvbuilderError as error:
        raise type(error)(error.message, hint=hint_for(name, error)) from error
    if version and Version(examined.version) not in {Version(version), _public(version)}:
        raise ResolutionError(
            f"{taken.archive.filename} holds version {examined.version}: its name or its metadata "
            "lies",
            hint=f"name another version of {name}",
        )
    return ArchiveSource(
        name=name,
        version=examined.version,
        filename=taken.archive.filename,
        size=taken.size,
        sha256=taken.archive.sha256,
        time=taken.archive.time,
        requires=examined.requires,
        requires_dist=work.requirements(name, examined),
        sources=trees,
        files=taken.files,
        tools=examined.tools,
    )


def _public(version: str) -> Version:
    return Version(Version(version).public)


def hint_for(name: str, error: EnvbuilderError) -> str:
    """Say what most often ails an archive that cannot be asked, before what the error says."""
    hint = ""
    if "unable to detect version" in error.message:
        hint = (
            "its version comes from git, and the history is no part of the files: say it, "
            'build: {env: {SETUPTOOLS_SCM_PRETEND_VERSION: "1.0"}}, or name the repository, git: …'
        )
    elif missing := _NO_MODULE.findall(error.message):
        package = _HOLDER.get(missing[-1], missing[-1].partition(".")[0])
        hint = (
            f"its build needs a module that it does not ask for: {name}: "
            f'{{…, build: {{requires: ["{package}"]}}}}'
        )
    return "; ".join(filter(None, (hint, error.hint)))


def _holds(
    work: Locking, taken: Taken, before: ArchiveSource, trees: tuple[SourceTree, ...]
) -> bool:
    """Return whether what was locked still answers the same question."""
    assert work.previous is not None  # noqa: S101 - before came from it
    old, new, name = work.previous.spec, work.spec, taken.name
    build = new.build_of(name)
    return (
        (before.sha256, before.filename) == (taken.archive.sha256, taken.archive.filename)
        and before.sources == trees
        and (old.minor, old.platform) == (new.minor, new.platform)
        and old.build_of(name) == build
        and same_environment(old, new, before)
        and asked_of(old, before) == asked_of(new, before)
        and (work.environment is None or work.environment.serves(work.previous))
    )


def _held(key: str, pin: Package, previous: Lock | None) -> ArchiveSource | None:
    """Find what an address gave when it was locked."""
    if previous is None or pin.url is None:
        return None
    was = previous.spec.packages.get(key)
    if not isinstance(was, Package) or was.url != pin.url:
        return None
    return next((each for each in previous.archives if each.name == name_of(key)), None)


def _taken(
    context: Context, key: str, pin: Package, folder: Path, held: ArchiveSource | None
) -> Taken:
    name = name_of(key)
    if pin.path is not None and not (folder / pin.path).is_file():
        archive, files = pack_folder(context, folder / pin.path, name, pin)
        return Taken(name=name, archive=archive, size=archive.path.stat().st_size, files=files)
    if pin.path is not None:
        sha256, size = copy_file(context, folder / pin.path)
    elif held is not None:
        if not context.store.has(held.sha256):
            fetch_again(context, pin.url or "", held)
        sha256, size = held.sha256, held.size
    else:
        sha256, size = fetch_file(context, pin.url or "", pin.filename, is_sound=is_archive)
    return _dated(name, archive_in(context.store, pin.filename, sha256), size)


def _dated(name: str, archive: Archive, size: int) -> Taken:
    """Read all of the archive once: what is hostile in it is refused here."""
    return Taken(name=name, archive=replace(archive, time=archive.youngest()), size=size)
