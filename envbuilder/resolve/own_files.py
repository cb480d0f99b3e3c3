"""A user's own files: read from the spec's folder, taken into the store, locked by their hashes.

Whatever a spec names lies in its project: the git work tree around it, or else its own folder (the
one above, where that is called ``lockfiles``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from envbuilder.model.errors import EnvbuilderError, LockError, ResolutionError
from envbuilder.model.image_spec import OwnFiles
from envbuilder.model.lock import FileTree, Lock, LockedFile
from envbuilder.model.own_files import Patterns
from envbuilder.model.reference import Digest
from envbuilder.model.spec import Spec

from .context import Context
from .python.beside import digest_of

MOST_FILES = 20_000
"""Files of one entry: each is a line of the lock, which people read and commit."""
_SHOWN = 10


def lock_files(context: Context, spec: Spec, *, folder: Path) -> tuple[FileTree, ...]:
    """Take in the files that ``spec``, which lies in ``folder``, names.

    Raises ResolutionError that lists all that cannot be used, each with its entry.
    """
    trees, problems = [], []
    for number, entry in enumerate(spec.files):
        try:
            tree = read_tree(entry, folder=folder)
            with context.progress.step("copy", entry.from_, unit="items") as step:
                for path, file in _sources(entry, tree, folder):
                    if file.link is None:
                        context.store.adopt(path, file.sha256)
                    step.advance(1)
            trees.append(tree)
        except EnvbuilderError as error:
            hint = f" ({error.hint})" if error.hint else ""
            problems.append(f"files[{number}]: {error.message}{hint}")
    if problems:
        raise ResolutionError("\n".join(problems), hint="correct them under files: in the spec")
    return tuple(trees)


def take_files(context: Context, lock: Lock, folder: Path) -> None:
    """See that what lies in ``folder`` is what was locked, and take in what the store lacks.

    What is not there at all need not be: then the store has it, or building says so. Raises
    LockError that names the files which differ.
    """
    check_files(lock, folder)
    for entry, tree in zip(lock.spec.files, lock.files, strict=True):
        if not os.path.lexists(folder / entry.from_):
            continue
        for path, file in _sources(entry, tree, folder):
            if file.link is None and not context.store.has(file.sha256):
                context.store.adopt(path, file.sha256)


def check_files(lock: Lock, folder: Path) -> None:
    """Raise LockError that names the files in ``folder`` which are not what was locked."""
    hint = f"envbuilder lock {lock.spec.name} takes them as they are now"
    if len(lock.files) != len(lock.spec.files):
        raise LockError(f"the lock of {lock.spec.name} lacks the spec's files", hint=hint)
    changes: list[str] = []
    for entry, tree in zip(lock.spec.files, lock.files, strict=True):
        if os.path.lexists(folder / entry.from_):
            changes += _changes(entry, tree, read_tree(entry, folder=folder))
    if changes:
        shown = "\n".join(f"  {line}" for line in changes[:_SHOWN])
        more = f"\n  and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        raise LockError(
            f"the lock of {lock.spec.name} is older than its files:\n{shown}{more}", hint=hint
        )


def read_tree(entry: OwnFiles, *, folder: Path) -> FileTree:
    """Hash what ``entry`` names, from ``folder`` on; nothing is copied.

    Raises ResolutionError for what cannot be an image's: sockets, devices, links that climb out,
    what lies outside of the project.
    """
    source = _source(entry, folder)
    place = entry.to.rstrip("/")
    if source.is_dir():
        files = tuple(sorted(_walk(source, Patterns(entry.exclude))))
        if not files:
            raise ResolutionError(f"{entry.from_} holds no file", hint="or `exclude` leaves none")
        return FileTree(into=place, files=files)
    into, _, name = entry.to.rpartition("/")
    file = _file(source, name or source.name, source)
    return FileTree(into=into or "/", files=(replace(file, path=name or source.name),))


def project_of(folder: Path) -> Path:
    """Return the folder that the files of a spec in ``folder`` may lie in."""
    here = folder.resolve()
    around = (each for each in (here, *here.parents) if (each / ".git").exists())
    return next(around, here.parent if here.name == "lockfiles" else here)


def _source(entry: OwnFiles, folder: Path) -> Path:
    source = folder / entry.from_
    if source.is_symlink():
        raise ResolutionError(f"{entry.from_} is a link", hint="name what it points to")
    if not source.exists():
        hint = "the path counts from the folder of the spec"
        raise ResolutionError(f"{source} is not there", hint=hint)
    project, real = project_of(folder), source.resolve()
    if not real.is_relative_to(project):
        hint = "copy it into the project, so that others can build this too"
        raise ResolutionError(f"{entry.from_} lies outside of the project {project}", hint=hint)
    if real.is_dir() and folder.resolve().is_relative_to(real):
        hint = "name a folder beside the spec: the lock and ledger here change with every build"
        raise ResolutionError(f"{entry.from_} holds the spec itself", hint=hint)
    return source


def walk(folder: Path, *, exclude: Iterable[str] = ()) -> Iterator[LockedFile]:
    """Yield the files of ``folder``; raises ResolutionError for what cannot be an image's."""
    return _walk(folder, Patterns(exclude))


def _walk(source: Path, patterns: Patterns) -> Iterator[LockedFile]:
    count = 0
    for place, folders, names in os.walk(source, onerror=_refuse):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [
            name
            for name in sorted(set(folders) - set(links))
            if not patterns.closes((here / name).relative_to(source).as_posix())
        ]
        for name in sorted([*names, *links]):
            path = (here / name).relative_to(source).as_posix()
            if patterns.excludes(path):
                continue
            count += 1
            if count > MOST_FILES:
                hint = "leave some out with exclude, or pack them"
                raise ResolutionError(f"{source} holds more than {MOST_FILES} files", hint=hint)
            yield _file(here / name, path, source)


def _refuse(error: OSError) -> None:
    raise ResolutionError(f"cannot read {error.filename}: {error.strerror}") from error


def _file(path: Path, name: str, root: Path) -> LockedFile:
    _check_name(name)
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return _link(path, name, root)
        if not stat.S_ISREG(facts.st_mode):
            raise ResolutionError(
                f"{path} is {_kind(facts.st_mode)}, which no image holds",
                hint="leave it out with exclude",
            )
        return LockedFile(
            path=name,
            size=facts.st_size,
            sha256=digest_of(path),
            executable=bool(facts.st_mode & stat.S_IXUSR),
        )
    except OSError as error:
        raise ResolutionError(f"cannot read {path}: {error.strerror}") from error


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ResolutionError(f"{name!r} is a name that is not UTF-8", hint="rename it") from error
    if any(ord(letter) < ord(" ") or letter == "\x7f" for letter in name):
        raise ResolutionError(f"{name!r} holds a control character", hint="rename it")
    if any(part.startswith(".wh.") for part in name.split("/")):
        hint = "such a name deletes files in a layer: rename it"
        raise ResolutionError(f"{name!r} begins with .wh.", hint=hint)


def _link(path: Path, name: str, root: Path) -> LockedFile:
    """Take in a symbolic link that stays below ``root``, whether it leads anywhere or not."""
    target = os.readlink(path)  # noqa: PTH115 - the text as it stands, which a Path would tidy
    _check_name(target)
    if target.startswith("/") or not _stays(path, root):
        raise ResolutionError(
            f"{path} is a link to {target}, out of {root}",
            hint="put what it points to in its place",
        )
    text = target.encode()
    return LockedFile(path=name, size=len(text), sha256=Digest.of(text), link=target)


def _stays(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root.resolve())
    except RuntimeError:  # it leads to itself, and so nowhere
        return True
    except OSError as error:
        if error.errno == errno.ELOOP:
            return True
        raise


def _kind(mode: int) -> str:
    kinds = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _sources(entry: OwnFiles, tree: FileTree, folder: Path) -> Iterator[tuple[Path, LockedFile]]:
    """Yield where each file of ``tree`` lies on this machine."""
    source = folder / entry.from_
    for file in tree.files:
        yield (source / file.path if source.is_dir() else source), file


def _changes(entry: OwnFiles, old: FileTree, new: FileTree) -> Iterator[str]:
    before = {file.path: file for file in old.files}
    after = {file.path: file for file in new.files}
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            how = "is new" if path not in before else "is gone" if path not in after else "changed"
            yield f"{entry.from_.rstrip('/')}: {path} {how}"
