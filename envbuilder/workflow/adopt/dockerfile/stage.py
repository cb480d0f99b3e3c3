"""One stage of a build as it grows: its variables, its folder, what was copied and cloned."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envbuilder.workflow.adopt.statements import At, Statement, left, taken

from .evaluate import Knowledge
from .words import expand, split_words

_GLOBAL = {"/usr/local", "/usr/local/lib", "/opt/conda", "/root/.local"}
_USUAL = {"venv", ".venv"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """Files of the build context that lie in the image: ``sources`` of it, ``to`` there."""

    sources: tuple[str, ...]
    to: str


@dataclass(slots=True, kw_only=True)
class Clone:
    """A repository that a command cloned, and whether anything was installed from it."""

    at: At
    url: str
    ref: str
    submodules: bool = False
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user that a command made; what it does not say is None, or nothing."""

    at: At
    uid: int
    gid: int | None
    home: str


@dataclass(slots=True, kw_only=True)
class Stage:
    """What is known at one point of a stage.

    ``arguments`` are what the user gave (``--build-arg``); ``contexts`` are the folders that COPY
    may mean, the likeliest first. ``environments`` are the folders of virtual environments, and
    ``environments_copied`` the lines that take one over from another stage. ``inherited`` are
    variables as the spec writes them, since they build on the base's.
    """

    name: str
    contexts: tuple[Path, ...]
    arguments: Mapping[str, str]
    knowledge: Knowledge = field(default_factory=lambda: Knowledge({}))
    folder: str = "/"
    copied: list[Copied] = field(default_factory=list)
    clones: dict[str, Clone] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    accounts: dict[str, Account] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    user: str = ""
    inherited: dict[str, str] = field(default_factory=dict)
    environments: set[str] = field(default_factory=set)
    environments_copied: set[int] = field(default_factory=set)
    global_arguments: Mapping[str, str | None] = field(default_factory=dict)
    shell: tuple[str, ...] = ("/bin/sh", "-c")

    def at(self, line: int, text: str) -> At:
        """Return the place of a statement of this Dockerfile."""
        return At(place=f"{self.name}:{line}", text=text)

    def expanded(self, text: str) -> tuple[str, set[str]]:
        """Expand an argument of an instruction; also name the variables that are not known."""
        using = self.knowledge.expansion()
        return expand(text, using), using.unknown

    def variable(self, name: str, text: str) -> tuple[str, set[str]]:
        """Expand the value of ENV, and keep it as a spec writes it: the base's as ``${NAME}``."""
        using = self.knowledge.expansion()
        using.mark = lambda other: self.inherited.get(other, f"\0{other}\0")
        marked = expand(text, using)
        self.inherited[name] = marked
        return marked, using.unknown

    def words(self, text: str) -> tuple[list[str], set[str]]:
        """Split and expand the arguments of an instruction."""
        using = self.knowledge.expansion()
        return [expand(word, using) for word in split_words(text)], using.unknown

    def missing(self, unknown: set[str]) -> str:
        """Say what would make the ``unknown`` variables known."""
        name = min(unknown & self.declared or unknown)
        if name in self.declared:
            return f"the argument {name} has no value: give it with --build-arg {name}=…"
        return f"{name} is not known here"

    def inside(self, path: str) -> str:
        """Return where a path of a command lies in the image."""
        return posixpath.normpath(posixpath.join(self.folder, path))

    def in_context(self, path: str) -> Path | None:
        """Find the file or folder of the build context that lies at ``path`` in the image."""
        place = self.inside(path)
        for context in self.contexts:
            for copied in reversed(self.copied):
                for source in copied.sources:
                    found = self._matches(context, source, copied, place)
                    if found is not None:
                        return found
        return None

    @property
    def context(self) -> Path:
        """The likeliest folder that COPY means."""
        return self.contexts[0]

    def _matches(self, context: Path, source: str, copied: Copied, path: str) -> Path | None:
        origin = (context / source.lstrip("/")).resolve()
        if not origin.is_relative_to(context):
            return None
        to = posixpath.normpath(copied.to)
        candidates = {to: origin, posixpath.join(to, origin.name): origin}
        if _exists(origin) and origin.is_dir():
            candidates = {to: origin}
        for place, file in candidates.items():
            if path == place and _exists(file):
                return file
            if _exists(file) and file.is_dir() and path.startswith(place.rstrip("/") + "/"):
                below = (file / path[len(place.rstrip("/")) + 1 :]).resolve()
                if below.is_relative_to(context) and _exists(below):
                    return below
        return None

    def clone_at(self, path: str) -> tuple[Clone, str] | None:
        """Find the clone that holds ``path``, and the folder inside of it."""
        place = self.inside(path)
        for folder, clone in self.clones.items():
            if place == folder or place.startswith(f"{folder}/"):
                return clone, place[len(folder) + 1 :]
        return None

    def find(self, source: str) -> list[Path]:
        """Return the files and folders of the build context that a source of COPY means."""
        for context in self.contexts:
            if any(sign in source for sign in "*?["):
                found = sorted(context.glob(source.lstrip("/")))
            else:
                path = (context / source.lstrip("/")).resolve()
                found = [path] if _exists(path) else []
            if found and all(path.is_relative_to(context) for path in found):
                return found
        return []

    def holds_environment(self, path: str) -> bool:
        """Return whether ``path`` of this stage holds an environment, or is a part of one."""
        path = self.inside(path)
        if path.endswith("-packages") or path in _GLOBAL or path.rpartition("/")[2] in _USUAL:
            return True
        return any(
            place == path
            or place.startswith(f"{path.rstrip('/')}/")
            or path.startswith(f"{place}/")
            for place in self.environments
        )

    def end(self) -> Iterator[Statement]:
        """Yield what became of the clones: those that nothing was installed from are files only."""
        for clone in self.clones.values():
            if clone.used:
                yield taken(clone.at)
            else:
                yield left(
                    clone.at, f"nothing is installed from {clone.url}, and its files are no package"
                )
        for name, account in self.accounts.items():
            if name == self.user:
                yield taken(account.at)
            else:
                yield left(account.at, f"the image does not run as {name}: no other user is made")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file system takes
        return False
