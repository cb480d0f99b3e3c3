"""Git repositories for tests, made from nothing: files in, commit ids out, always the same."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

BORN = 1_700_000_000  # seconds since 1970; every commit is a minute later than the one before
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


@dataclass(kw_only=True)
class Origin:
    """A repository with a work tree at ``path``; serve ``path / ".git"``."""

    path: Path
    commits: int = 0

    @classmethod
    def create(cls, path: Path, *, filters: bool = True) -> Origin:
        path.mkdir(parents=True)
        made = cls(path=path)
        made.git("init", "--quiet", "--initial-branch=main")
        made.git("config", "maintenance.auto", "false")  # one process less for each commit
        if filters:
            made.git("config", "uploadpack.allowFilter", "true")
        return made

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        moment = f"{BORN + 60 * self.commits} +0000"
        dates = {"GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}
        done = subprocess.run(
            ["git", "-C", self.path, *arguments],
            input=stdin,
            env={**os.environ, **_ENVIRONMENT, **dates},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout.decode().strip()

    def commit(self, files: Mapping[str, str | bytes] | None = None, message: str = "") -> str:
        for name, content in (files or {}).items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        self.commits += 1
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message or f"change {self.commits}")
        return self.git("rev-parse", "HEAD")

    def history(self, changes: Iterable[Mapping[str, str]]) -> list[str]:
        """Commit ``changes`` to main one after the other, as ``commit`` does, in one process."""
        stream, count = b"", 0
        for count, files in enumerate(changes, start=1):
            self.commits += 1
            who = f"A <a@example.org> {BORN + 60 * self.commits} +0000"
            stream += f"commit refs/heads/main\ncommitter {who}\n".encode()
            stream += _data(f"change {self.commits}\n")
            if count == 1 < self.commits:
                stream += b"from refs/heads/main^0\n"
            for name, content in files.items():
                stream += f"M 100644 inline {name}\n".encode() + _data(content)
        self.git("fast-import", "--quiet", stdin=stream)
        self.git("reset", "--quiet", "--hard", "main")
        return self.git("rev-list", "--reverse", f"--max-count={count}", "main").split()

    def tag(self, name: str, *, annotated: bool = True, force: bool = False) -> None:
        flags = ["-a", "-m", name] if annotated else []
        self.git("tag", *flags, *(["--force"] if force else []), name)


def _data(text: str) -> bytes:
    return b"data %d\n%s\n" % (len(text.encode()), text.encode())
