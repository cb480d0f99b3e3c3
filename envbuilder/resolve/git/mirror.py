"""What we keep of a remote git repository, so that no commit crosses the network twice.

Two bare repositories per address, since they answer different questions:

``history.git`` holds the commits of every branch and tag without their files (``tree:0``, where
the server allows it): is this commit on that branch, what does a short id mean, which tag is near.
It is only fetched for a pin that asks such a question.

``content.git`` holds single commits whole, without their past (depth 1): what is built. A second
commit costs only the files that the first did not have.

Beside them ``refs`` holds what the server's branches and tags were when it was last asked. Asking
takes longer than most of what follows from the answer, so one may go ahead with the last answer and
have it confirmed in the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from threading import Thread
from typing import TYPE_CHECKING

from envbuilder.model.atomic import write_text
from envbuilder.model.errors import NetworkError, ResolutionError
from envbuilder.model.owner import give_all, make_folder
from envbuilder.model.reference import Digest

from .repository import GitRepository

if TYPE_CHECKING:
    from envbuilder.model.git_url import Address
    from envbuilder.model.progress import Progress
    from envbuilder.storage.store import Store

_UNKNOWN = "not our ref"  # how a server says that it does not have what we ask for
_ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs:
    """A server's branches and tags: name -> full id. ``tags`` are peeled, ``tips`` are not."""

    heads: Mapping[str, str]
    tags: Mapping[str, str]
    tips: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Refs:
        """Read what ``git ls-remote`` prints; ``NAME^{}`` is what an annotated tag points at.

        A name may hold what Python takes for the end of a line, but neither a newline nor a tab.
        """
        pairs = [line.partition("\t") for line in text.split("\n")]
        found = {name: commit for commit, tab, name in pairs if tab}
        tips = {name: commit for name, commit in found.items() if not name.endswith("^{}")}
        tags = {
            name.removeprefix("refs/tags/"): found.get(f"{name}^{{}}", commit)
            for name, commit in tips.items()
            if name.startswith("refs/tags/")
        }
        heads = {
            name.removeprefix("refs/heads/"): commit
            for name, commit in tips.items()
            if name.startswith("refs/heads/")
        }
        return cls(heads=heads, tags=tags, tips=tips)

    @property
    def object_format(self) -> str:
        """The hash that the repository uses, told by the length of its ids."""
        return "sha256" if any(len(commit) == 64 for commit in self.tips.values()) else "sha1"


class Mirror:
    """Our copy of the repository at ``address``, kept in ``store``; safe in several processes.

    ``offline``: only what was fetched before counts. ``ahead``: the server's last answer counts,
    until :meth:`confirmed` tells whether it still holds. Errors: NetworkError (server out of reach,
    login refused), ResolutionError (no such repository or commit), BuildError (disk full).
    """

    def __init__(
        self,
        address: Address,
        *,
        store: Store,
        progress: Progress,
        offline: bool = False,
        ahead: bool = False,
    ) -> None:
        self.address = address
        self._store = store
        self._progress = progress
        self._offline = offline
        self._ahead = ahead
        self._answer: Future[Refs] | None = None
        self._name = f"{address.slug}-{Digest.of(address.text.encode()).hex[:16]}"
        self.path = store.root / "git" / self._name
        self._history = GitRepository(path=self.path / "history.git", address=address)
        self._content = GitRepository(path=self.path / "content.git", address=address)
        self._holders: dict[str, GitRepository] = {}

    @cached_property
    def refs(self) -> Refs:
        """Return the server's branches and tags; ask for them once."""
        place = self.path / "refs"
        if (self._ahead or self._offline) and place.exists():
            if not self._offline:
                self._answer = _in_background(self._ask)
            return Refs.parse(place.read_text(encoding="utf-8"))
        if self._offline:
            raise self._cut_off("its branches and tags are")
        return self._ask()

    def confirmed(self) -> bool:
        """Wait for the server's answer, if one is due; tell whether :attr:`refs` was right."""
        return self._answer is None or self._answer.result() == self.refs

    def _ask(self) -> Refs:
        with self._fetching("branches and tags"):
            make_folder(self._content.path, mode=0o700)
            text = self._content.list_refs()
            write_text(self.path / "refs", text)
        return Refs.parse(text)

    @cached_property
    def history(self) -> GitRepository:
        """Return the commits of every branch and tag, as of :attr:`refs`."""
        wanted = dict(self.refs.tips)
        if self._known() == wanted:
            return self._history
        if self._offline:
            raise self._cut_off("its history is")
        with self._fetching("history"):
            self._history.prepare(object_format=self.refs.object_format)
            flags = ("--filter=tree:0", "--prune", "--force")
            self._fetch(self._history, *flags, "origin", *_ALL)
        return self._history

    def content(self, commit: str) -> GitRepository:
        """Return a repository that holds ``commit`` (full id) with all its files."""
        if commit not in self._holders:
            self._holders[commit] = self._with_content(commit)
        return self._holders[commit]

    def _with_content(self, commit: str) -> GitRepository:
        with suppress(OSError):  # not there yet, or shared read-only
            os.utime(self.path)  # it counts as used now
        if (self._content.path / _arrived(commit)).exists():
            return self._content
        if self._history.has(f"{commit}^{{tree}}"):
            return self._history  # the server knows no filters, so its files came along
        if self._offline:
            raise self._cut_off(f"commit {commit} is")
        with self._fetching(commit[:12]):
            kind = "sha256" if len(commit) == 64 else "sha1"
            self._content.prepare(object_format=kind)
            self._fetch_commit(commit)
            # The ref is what says that all of the commit arrived: a killed fetch leaves none.
            self._content.run("update-ref", _arrived(commit), commit)
        return self._content

    def _known(self) -> dict[str, str]:
        if not self._history.exists:
            return {}
        listed = self._history.run("for-each-ref", "--format=%(objectname)%09%(refname)")
        return dict(Refs.parse(listed.decode(errors="replace")).tips)

    def _fetch_commit(self, commit: str) -> None:
        try:
            self._fetch(self._content, "--depth=1", "origin", commit)
        except ResolutionError as error:
            if _UNKNOWN not in error.message:
                self._fetch_all()
            if not self._content.has(f"{commit}^{{commit}}"):
                raise ResolutionError(
                    f"{self.address} has no commit {commit} any more",
                    hint="find a mirror that kept it, or lock another commit",
                ) from error

    def _fetch_all(self) -> None:
        """Take every branch and tag whole: old servers give out no single commits."""
        shallow = (self._content.path / "shallow").exists()
        flags = ("--unshallow",) if shallow else ()
        self._fetch(self._content, *flags, "origin", *_ALL)

    def _fetch(self, repository: GitRepository, *arguments: str) -> None:
        repository.fetch(*arguments, progress=self._progress, title=self.address.slug)

    @contextmanager
    def _fetching(self, what: str) -> Iterator[None]:
        title = f"{self.address.slug}: {what}"
        with self._store.lock(f"git-{self._name}"), self._progress.step("git", title):
            make_folder(self.path, mode=0o700)
            try:
                yield
            finally:
                give_all(self.path)

    def _cut_off(self, what: str) -> NetworkError:
        return NetworkError(
            f"{self.address}: {what} not on this machine, and --offline forbids to fetch",
            hint="run once without --offline",
        )


def _arrived(commit: str) -> str:
    return f"refs/envbuilder/{commit}"


def _in_background(ask: Callable[[], Refs]) -> Future[Refs]:
    """Ask in a thread that holds up nobody: a process that ends does not wait for it."""
    answer = Future[Refs]()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:  # raised where the answer is wanted
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    return answer
