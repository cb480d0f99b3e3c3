"""A commit's files in a clean folder: exactly what git holds, no ``.git``, nothing of this machine.

Nothing is converted on the way (no line endings, no ``export-subst``, no LFS), modes are 0644 or
0755 and every time is the commit's, so the same commit always gives the same folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from envbuilder.model.errors import ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.resolve.settle import settle
from envbuilder.storage.temporary import translated, work_folder

from .mirror import Mirror
from .repository import GitRepository

_LINK, _SUBMODULE, _EXECUTABLE = "120000", "160000", "100755"
_DEEPEST = 8  # submodules within submodules
_MODULES = ".gitmodules"

OpenMirror = Callable[[Address], Mirror]


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One entry of a commit's tree: git's mode, the object's full id, and the path."""

    mode: str
    name: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit of one repository, all of whose files are on this machine."""

    repository: GitRepository
    commit: str
    time: int

    @property
    def identity(self) -> str:
        """What it is, by content."""
        return self.commit

    @property
    def place(self) -> str:
        """How errors call it."""
        return f"{self.repository.address} at {self.commit[:12]}"

    @property
    def facts(self) -> Mapping[str, object]:
        """What an answer about its files depends on."""
        return {"address": self.repository.address.text, "commit": self.commit}

    def entries(self) -> tuple[TreeEntry, ...]:
        """List the files, links and submodules of the commit, sorted by path.

        Raises ResolutionError for a tree that no honest git makes: paths that climb out, that hide
        ``.git``, that come twice, or that lie below a link.
        """
        entries = tuple(sorted(self._listed(), key=lambda entry: entry.path))
        self._check(entries)
        return entries

    def read(self, path: str) -> bytes | None:
        """Read a file of the commit; None if there is no plain file of that name."""
        for entry in self._listed(path):
            if entry.path == path and entry.mode not in {_LINK, _SUBMODULE}:
                with self.repository.blobs([entry.name]) as contents:
                    return next(contents)
        return None

    def _listed(self, *paths: str) -> Iterator[TreeEntry]:
        asked = ("ls-tree", "-r", "-z", "--full-tree", self.commit, "--", *paths)
        listed = self.repository.run(*asked)
        for line in listed.decode(errors="surrogateescape").split("\0")[:-1]:
            head, _, path = line.partition("\t")
            mode, _, name = head.split(" ")
            yield TreeEntry(mode=mode, name=name, path=path)

    def _check(self, entries: tuple[TreeEntry, ...]) -> None:
        solid = {entry.path for entry in entries}
        if len(solid) != len(entries):
            raise self._hostile("has a path twice")
        for entry in entries:
            path = PurePosixPath(entry.path)
            if path.is_absolute() or not _is_plain(entry.path):
                raise self._hostile(f"has the path {entry.path!r}")
            if any(str(parent) in solid for parent in path.parents):
                raise self._hostile(f"has {entry.path!r} below a file, link or submodule")

    def _hostile(self, why: str) -> ResolutionError:
        return ResolutionError(
            f"commit {self.commit} of {self.repository.address} is refused: its tree {why}",
            hint="the repository is damaged or hostile; pin another commit",
        )


def export(commit: Commit, folder: Path, *, open_mirror: OpenMirror, submodules: bool) -> None:
    """Write the commit's files into ``folder``, which is made and must not be there.

    With ``submodules`` theirs too, each at the commit that its parent names; without, an empty
    folder stands for each, as in a plain clone. Raises ResolutionError, BuildError, and what
    Mirror raises.
    """
    with translated(folder):
        folder.mkdir(parents=True)
        _export(commit, folder, open_mirror if submodules else None, depth=0)
        settle(folder, commit.time)


def bring(commit: Commit, *, open_mirror: OpenMirror, submodules: bool) -> None:
    """Bring the files of the commit's submodules, if they are wanted, to this machine as well."""
    if submodules:
        _bring(commit, open_mirror, depth=0)


def _bring(commit: Commit, open_mirror: OpenMirror, *, depth: int) -> None:
    links = [entry for entry in commit.entries() if entry.mode == _SUBMODULE]
    if links and depth == _DEEPEST:
        raise _too_deep(commit)
    for _, inner in _submodules(commit, links, open_mirror):
        _bring(inner, open_mirror, depth=depth + 1)


def _too_deep(commit: Commit) -> ResolutionError:
    return ResolutionError(f"{commit.repository.address}: submodules lie too deep")


def _export(commit: Commit, folder: Path, open_mirror: OpenMirror | None, *, depth: int) -> None:
    entries = commit.entries()
    for entry in entries:
        (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
    files = [entry for entry in entries if entry.mode != _SUBMODULE]
    with commit.repository.blobs([entry.name for entry in files]) as contents:
        for entry, content in zip(files, contents, strict=True):
            _write(folder / entry.path, entry.mode, content)
    links = [entry for entry in entries if entry.mode == _SUBMODULE]
    for entry in links:
        (folder / entry.path).mkdir()
    if links and open_mirror is not None:
        if depth == _DEEPEST:
            raise _too_deep(commit)
        for entry, inner in _submodules(commit, links, open_mirror):
            _export(inner, folder / entry.path, open_mirror, depth=depth + 1)


def _write(path: Path, mode: str, content: bytes) -> None:
    if mode == _LINK:
        path.symlink_to(os.fsdecode(content))
    else:
        path.write_bytes(content)
        path.chmod(0o755 if mode == _EXECUTABLE else 0o644)


def _submodules(
    commit: Commit, links: list[TreeEntry], open_mirror: OpenMirror
) -> Iterator[tuple[TreeEntry, Commit]]:
    addresses = _addresses(commit)
    for entry in links:
        if entry.path not in addresses:
            raise ResolutionError(
                f"{commit.repository.address} has a submodule {entry.path!r} at {commit.commit} "
                f"whose address {_MODULES} does not tell",
                hint="set `submodules: false`, or pin a commit that tells it",
            )
        address = commit.repository.address.submodule(addresses[entry.path])
        repository = open_mirror(address).content(entry.name)
        yield entry, Commit(repository=repository, commit=entry.name, time=commit.time)


def _addresses(commit: Commit) -> dict[str, str]:
    """Read ``.gitmodules``: path -> address. git parses it; nothing in it is obeyed."""
    content = commit.read(_MODULES)
    if content is None:
        return {}
    with work_folder("envbuilder-modules") as folder:
        (folder / _MODULES).write_bytes(content)
        asked = ("config", "--file", str(folder / _MODULES), "--no-includes", "--null", "--list")
        listed = commit.repository.run(*asked).decode(errors="surrogateescape")
    values: dict[str, dict[str, str]] = {}
    for line in listed.split("\0")[:-1]:
        key, _, value = line.partition("\n")
        if match := re.fullmatch(r"submodule\.(.*)\.(path|url)", key, re.DOTALL):
            values.setdefault(match[1], {})[match[2]] = value
    return {each["path"]: each["url"] for each in values.values() if len(each) == 2}


def _is_plain(path: str) -> bool:
    parts = path.split("/")
    return not any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts)
