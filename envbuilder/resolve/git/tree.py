"""A commit's files in a clean folder: exactly what git holds, no ``.git``, nothing of this machine.

Nothing is converted on the way (no line endings, no ``export-subst``, no LFS), modes are 0644 or
0755 and every time is the commit's, so the same commit always gives the same folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from envbuilder.layers.bounds import TARGET, Budget
from envbuilder.model.errors import ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.resolve.settle import settle
from envbuilder.storage.temporary import translated, work_folder

from .mirror import Mirror
from .repository import GitRepository

_LINK, _SUBMODULE, _EXECUTABLE, _FOLDER = "120000", "160000", "100755", "040000"
_DEEPEST = 8  # submodules within submodules
_MOST = 500  # submodules of one commit, those within them counted, too
_MODULES = ".gitmodules"
_LONGEST = 4 << 20  # bytes of a file that says how a project is built

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

    def budget(self) -> Budget:
        """Return what the commit, with its submodules, may ask for: trees of trees, say."""
        return Budget.of(self.repository.packed(), self._hostile)

    def entries(self, budget: Budget) -> tuple[TreeEntry, ...]:
        """List the files, links and submodules of the commit, sorted by path.

        Raises ResolutionError for a tree that no honest git makes: paths that climb out, that hide
        ``.git``, that come twice, or that lie below a link, and more of all than ``budget`` has.
        """
        found = []
        for entry in self._listed(options=("-r", "-t")):
            budget.member(entry.path)
            if entry.mode != _FOLDER:
                found.append(entry)
        entries = tuple(sorted(found, key=lambda entry: entry.path))
        self._check(entries)
        return entries

    def read(self, path: str) -> bytes | None:
        """Read a file of the commit; None if there is no plain file of that name.

        Raises ResolutionError for one of more than 4 MiB.
        """
        for entry in self._listed(path):
            if entry.path == path and entry.mode not in {_LINK, _SUBMODULE, _FOLDER}:
                with self.repository.blobs([entry.name]) as blobs:
                    return _whole(entry, next(blobs), self.budget(), limit=_LONGEST)
        return None

    def _listed(self, *paths: str, options: tuple[str, ...] = ()) -> Iterator[TreeEntry]:
        asked = ("ls-tree", "-z", "--full-tree", *options, self.commit, "--", *paths)
        with self.repository.records(*asked) as lines:
            for line in lines:
                head, _, path = line.partition("\t")
                mode, _, name = head.split(" ")
                yield TreeEntry(mode=mode, name=name, path=path)

    def _check(self, entries: tuple[TreeEntry, ...]) -> None:
        solid = {entry.path for entry in entries}
        if len(solid) != len(entries):
            raise self._hostile("it has a path twice")
        for entry in entries:
            path = PurePosixPath(entry.path)
            if path.is_absolute() or not _is_plain(entry.path):
                raise self._hostile(f"it has the path {entry.path!r}")
            if any(str(parent) in solid for parent in path.parents):
                raise self._hostile(f"it has {entry.path!r} below a file, link or submodule")

    def _hostile(self, why: str) -> ResolutionError:
        return ResolutionError(
            f"commit {self.commit} of {self.repository.address} is refused: {why}",
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
        walk = _Walk(open_mirror=open_mirror if submodules else None, budget=commit.budget())
        walk.export(commit, folder)
        settle(folder, commit.time)


def bring(commit: Commit, *, open_mirror: OpenMirror, submodules: bool) -> None:
    """Bring the files of the commit's submodules, if they are wanted, to this machine as well."""
    if submodules:
        _Walk(open_mirror=open_mirror, budget=commit.budget()).bring(commit)


@dataclass(slots=True, kw_only=True)
class _Walk:
    """A way through a commit and its submodules; without ``open_mirror`` those stay shut.

    All of them share one ``budget``, which grows with what each repository brings.
    """

    open_mirror: OpenMirror | None
    budget: Budget
    _opened: set[Path] = field(default_factory=set, init=False)
    _count: int = field(default=0, init=False)

    def bring(self, commit: Commit, *, depth: int = 0) -> None:
        links = [entry for entry in commit.entries(self.budget) if entry.mode == _SUBMODULE]
        for _, inner in self._submodules(commit, links, depth=depth):
            self.bring(inner, depth=depth + 1)

    def export(self, commit: Commit, folder: Path, *, depth: int = 0) -> None:
        entries = commit.entries(self.budget)
        for entry in entries:
            (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
        files = [entry for entry in entries if entry.mode != _SUBMODULE]
        with commit.repository.blobs([entry.name for entry in files]) as blobs:
            for entry, blob in zip(files, blobs, strict=True):
                _write(folder / entry.path, entry, blob, self.budget)
        links = [entry for entry in entries if entry.mode == _SUBMODULE]
        for entry in links:
            (folder / entry.path).mkdir()
        for entry, inner in self._submodules(commit, links, depth=depth):
            self.export(inner, folder / entry.path, depth=depth + 1)

    def _submodules(
        self, commit: Commit, links: list[TreeEntry], *, depth: int
    ) -> Iterator[tuple[TreeEntry, Commit]]:
        if not links or self.open_mirror is None:
            return
        if depth == _DEEPEST:
            raise ResolutionError(f"{commit.repository.address}: submodules lie too deep")
        addresses = _addresses(commit)
        for entry in links:
            self._count += 1
            if self._count > _MOST:
                raise ResolutionError(f"{commit.repository.address}: more than {_MOST} submodules")
            if entry.path not in addresses:
                raise ResolutionError(
                    f"{commit.repository.address} has a submodule {entry.path!r} at "
                    f"{commit.commit} whose address {_MODULES} does not tell",
                    hint="set `submodules: false`, or pin a commit that tells it",
                )
            address = commit.repository.address.submodule(addresses[entry.path])
            repository = self.open_mirror(address).content(entry.name)
            if repository.path not in self._opened:
                self._opened.add(repository.path)
                self.budget.grow(repository.packed())
            yield entry, Commit(repository=repository, commit=entry.name, time=commit.time)


def _write(path: Path, entry: TreeEntry, blob: tuple[int, Iterator[bytes]], budget: Budget) -> None:
    if entry.mode == _LINK:
        path.symlink_to(os.fsdecode(_whole(entry, blob, budget, limit=TARGET)))
        return
    with path.open("wb") as file:
        for piece in blob[1]:
            budget.content(len(piece))
            file.write(piece)
    path.chmod(0o755 if entry.mode == _EXECUTABLE else 0o644)


def _whole(
    entry: TreeEntry, blob: tuple[int, Iterator[bytes]], budget: Budget, *, limit: int
) -> bytes:
    size, pieces = blob
    budget.hold(entry.path, size, limit=limit)
    return b"".join(pieces)


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
