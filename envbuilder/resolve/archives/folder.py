"""A project's folder -> the tar that stands for it: the same files give the same bytes anywhere.

What tools leave in a project says nothing about it, and is left out: histories, caches, virtual
environments, what was built in place, and what envbuilder itself writes beside a spec. What a
``.gitignore`` names counts all the same: builds read it (versions and code that were generated),
and most backends do not ask git. Only a folder that ignores itself as a whole is a tool's own.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from envbuilder.layers import tar
from envbuilder.layers.bounds import FLOOR, Budget
from envbuilder.model.errors import BuildError, ResolutionError
from envbuilder.model.lock import FolderFile
from envbuilder.model.own_files import Patterns
from envbuilder.model.reference import Digest
from envbuilder.storage.temporary import translated

from .members import stays_inside

_CHUNK = 1 << 20
_OF_TOOLS = 1024  # bytes; tools write a line and maybe a remark
_NEVER = (
    ".git", ".hg", ".svn", ".bzr", "CVS", "__pycache__", "*.py[co]", ".venv", ".tox", ".nox",
    ".eggs", "*.egg-info", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis",
    ".ipynb_checkpoints", ".coverage", ".coverage.*", "node_modules", ".idea", ".vscode",
    ".DS_Store", "pylock.*.toml", "*.ledger.jsonl", "*.answers.json",
    "*.start.json",
)  # fmt: skip
_NOT_ON_TOP = ("build", "dist", "wheels", "sdists")
_MARKS = ("pyvenv.cfg", "CACHEDIR.TAG")  # of virtual environments, and of caches everywhere
_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")

Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    path: str
    place: Path
    status: os.stat_result

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def mode(self) -> int:
        return 0o755 if self.status.st_mode & 0o111 else 0o644


def check_folder(folder: Path) -> None:
    """Raise ResolutionError for what is no project's folder, or far more than one."""
    why, hint = "", "name the folder that holds the project's pyproject.toml"
    home = Path.home().resolve()
    if folder.is_symlink():
        why, hint = "is a link", "name the folder itself"
    elif not folder.exists():
        why, hint = "is not there", "the path counts from the folder of the spec"
    elif not folder.is_dir():
        why, hint = "is neither a wheel, an sdist nor a folder", "NAME.whl, NAME.tar.gz or a folder"
    elif folder.resolve() in {home, *home.parents}:
        why = "is your home directory, or above it"
    elif not any((folder / name).is_file() for name in _PROJECT):
        why = f"holds no project: none of {', '.join(_PROJECT)}"
    if why:
        raise ResolutionError(f"{folder} {why}", hint=hint)


def pack_project(
    folder: Path, name: str, write: Write, *, exclude: Iterable[str] = ()
) -> tuple[FolderFile, ...]:
    """Write what a project's ``folder`` holds as a tar with one folder ``name``; list the files.

    What patterns ``exclude`` is no part of it. Raises ResolutionError for what is no project or
    cannot be part of one, BuildError for a folder that is beyond all measure.
    """
    check_folder(folder)
    patterns = Patterns(exclude)

    def leave_out(path: str, place: Path) -> bool:
        is_folder = place.is_dir() and not place.is_symlink()  # nothing lies below a link
        closed = patterns.closes(path) if is_folder else patterns.excludes(path)
        return closed or _left_out(path, place)

    return pack(folder, f"{name}/", write, leave_out=leave_out)


def pack(
    folder: Path,
    prefix: str,
    write: Write,
    *,
    leave_out: Callable[[str, Path], bool] = lambda _, __: False,
) -> tuple[FolderFile, ...]:
    """Write the files and links of ``folder`` as a tar, sorted, their paths behind ``prefix``."""
    budget = Budget(refuse=lambda why: _too_much(folder, why), content_left=0)
    with translated(folder):
        entries = sorted(_walk(folder, "", leave_out, budget), key=lambda each: each.path)
        if sum(each.status.st_size for each in entries) > FLOOR:
            raise _too_much(folder, f"it holds more than {FLOOR >> 30} GiB")
        files = [FolderFile(path=entry.path, state=_add(entry, prefix, write)) for entry in entries]
        write(tar.END)
    return tuple(files)


def changed_files(before: tuple[FolderFile, ...], after: tuple[FolderFile, ...]) -> list[str]:
    """Say which files differ between two states of a folder, one line each."""
    old, new = ({file.path: file.state for file in files} for files in (before, after))
    lines = []
    for path in sorted({*old, *new}):
        if path not in new:
            lines.append(f"{path}: gone")
        elif path not in old:
            lines.append(f"{path}: new")
        elif old[path] != new[path]:
            lines.append(f"{path}: changed")
    return lines


def _left_out(path: str, place: Path) -> bool:
    name = place.name
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in _NEVER):
        return True
    if not place.is_dir() or place.is_symlink():
        return False
    generated = "/" not in path and name in _NOT_ON_TOP and not (place / "__init__.py").exists()
    marked = any((place / mark).is_file() for mark in _MARKS)
    return generated or marked or _ignores_itself(place)


def _ignores_itself(folder: Path) -> bool:
    """Return whether the folder's own ``.gitignore`` says ``*`` alone, as tools write it."""
    ignored = folder / ".gitignore"
    if ignored.is_symlink() or not ignored.is_file() or ignored.stat().st_size > _OF_TOOLS:
        return False
    lines = (line.strip() for line in ignored.read_bytes().splitlines())
    return [line for line in lines if line and not line.startswith(b"#")] == [b"*"]


def _walk(
    folder: Path, below: str, leave_out: Callable[[str, Path], bool], budget: Budget
) -> Iterator[_Entry]:
    for place in folder.iterdir():
        path = f"{below}{place.name}"
        if leave_out(path, place):
            continue
        budget.member(path)
        status = place.lstat()
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(place, f"{path}/", leave_out, budget)
            continue
        if not path.isprintable():
            raise ResolutionError(f"{place!r} has a name that no lock can hold", hint="rename it")
        yield _Entry(path=path, place=place, status=status)


def _add(entry: _Entry, prefix: str, write: Write) -> Digest:
    """Write one entry; hash what it is."""
    if entry.is_link:
        target = os.readlink(entry.place)  # noqa: PTH115 - as it is written, not as a Path has it
        if not stays_inside(entry.path, target):
            hint = "a build sees nothing but the folder: put the file there"
            raise ResolutionError(f"{entry.place} is a link out of the folder", hint=hint)
        write(tar.header(f"{prefix}{entry.path}", mode=0o777, kind=tar.SYMLINK, link=target))
        return Digest.of(b"link " + os.fsencode(target))
    if not stat.S_ISREG(entry.status.st_mode):
        raise ResolutionError(f"{entry.place} is no plain file", hint="take it out of the folder")
    size = entry.status.st_size
    write(tar.header(f"{prefix}{entry.path}", mode=entry.mode, size=size))
    hasher = hashlib.sha256(b"%o " % entry.mode)
    left = size
    with entry.place.open("rb") as file:
        while piece := file.read(_CHUNK):
            left -= len(piece)
            hasher.update(piece)
            write(piece)
    if left:
        raise BuildError(f"{entry.place} changed while it was read", hint="lock once more")
    write(tar.padding(size))
    return Digest(hasher.hexdigest())


def _too_much(folder: Path, why: str) -> BuildError:
    hint = "leave data and environments out of it: exclude: [data/]; or name an sdist of it"
    return BuildError(f"{folder} is no project's folder: {why}", hint=hint)
