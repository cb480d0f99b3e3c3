"""A repository with a long history, about 14 kB a commit: 15 000 commits are 200 MB."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.servers.git_projects import SCM

FILES = 300
SIZE = 14_000  # bytes that each commit adds


def make_repository(path: Path, commits: int) -> list[str]:
    """Write a linear history by fast-import; return the ids of the commits, oldest first."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
    subprocess.run(["git", "-C", path, "config", "uploadpack.allowFilter", "true"], check=True)
    noise = random.Random(7)
    with subprocess.Popen(
        ["git", "-C", path, "fast-import", "--quiet"], stdin=subprocess.PIPE
    ) as importing:
        assert importing.stdin is not None
        for number in range(commits):
            importing.stdin.write(_commit(number, noise))
    subprocess.run(["git", "-C", path, "repack", "-adq", "--window=0"], check=True)
    listed = subprocess.run(
        ["git", "-C", path, "rev-list", "--reverse", "main"], capture_output=True, check=True
    )
    return listed.stdout.decode().split()


def _commit(number: int, noise: random.Random) -> bytes:
    message = f"change {number}\n".encode()
    who = f"A <a@example.org> {1_500_000_000 + 600 * number} +0000"
    parts = [f"commit refs/heads/main\ncommitter {who}\ndata {len(message)}\n".encode(), message]
    files = {f"data/{number % FILES}.bin": noise.randbytes(SIZE)}
    if number == 0:
        files |= {name: content.encode() for name, content in SCM.items()}
    for name, content in files.items():
        parts.append(f"M 100644 inline {name}\ndata {len(content)}\n".encode() + content + b"\n")
    if number % 500 == 0:
        tag = f"v0.{number // 500 + 1}"
        parts.append(f"\nreset refs/tags/{tag}\nfrom refs/heads/main\n".encode())
    return b"".join(parts)
