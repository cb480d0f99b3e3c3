"""Locking a commit of a large repository: bytes and seconds, beside git's and uv's own.

Run it by hand: ``python -m tests.bench.git_sources [COMMITS] [FOLDER]``. It makes a repository with
a history of about 14 kB a commit (15 000 commits are 200 MB), serves it over smart HTTP and prints
ratios. Nothing leaves the machine but what resolving the project's build requirements needs.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from uv import find_uv_bin

from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.package_spec import Index, Package
from envbuilder.model.pylock import lock_path, write_lock
from envbuilder.model.spec import Base, Spec, to_builtins
from envbuilder.resolve.python.indexes import uv_environment
from envbuilder.resolve.resolve import resolve
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.servers.git import GitHttp, git_http
from tests.servers.git_large import make_repository


def sent(server: GitHttp, *command: str | Path) -> int:
    server.sent = 0
    subprocess.run(command, check=True, capture_output=True)
    return server.sent


def lock(server: GitHttp, store: Store, pin: Package) -> tuple[float, int]:
    """Lock ``pin`` and resolve what it needs; return seconds and bytes sent by the git server."""
    server.sent = 0
    started = time.monotonic()
    spec = spec_of(pin)
    resolve(context(store), spec, previous=held(spec))
    return time.monotonic() - started, server.sent


def uv(url: str, commit: str, cache: Path) -> float:
    """Let uv resolve the same requirement, with its own cache."""
    started = time.monotonic()
    subprocess.run(
        [find_uv_bin(), "pip", "compile", "-q", "--python-version", "3.11", "--cache-dir", cache,
         "--format=pylock.toml", "--python-platform=x86_64-manylinux_2_28", "-"],
        input=f"scmy @ git+{url}@{commit}\n".encode(),
        check=True,
        capture_output=True,
        env={**uv_environment(Index()), "GIT_TERMINAL_PROMPT": "0"},
    )  # fmt: skip
    return time.monotonic() - started


def main() -> None:
    commits = int(sys.argv[1]) if len(sys.argv) > 1 else 15_000
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="git-bench-"))
    ids = make_repository(folder / "served" / "big.git", commits)
    size = sum(path.stat().st_size for path in (folder / "served").rglob("*") if path.is_file())
    print(f"{commits} commits, {size / 1e6:.0f} MB")
    with git_http(folder / "served") as server:
        url = server.address("big.git")
        measure(server, url, ids, folder)
    shutil.rmtree(folder)


def measure(server: GitHttp, url: str, ids: list[str], folder: Path) -> None:
    blobless = sent(server, "git", "clone", "-q", "--filter=blob:none", url, folder / "blobless")
    single = folder / "single"
    subprocess.run(["git", "init", "-q", single], check=True)
    one = sent(server, "git", "-C", single, "fetch", "-q", "--depth=1", url, ids[-100])
    print(
        f"git: blobless clone with checkout {blobless / 1e6:.1f} MB, one commit {one / 1e6:.1f} MB"
    )
    store = Store(folder / "store")
    pin = Package(git=url, branch="main", commit=ids[-100][:12])
    seconds, cold = lock(server, store, pin)
    print(f"cold lock: {cold / 1e6:.1f} MB = {cold / blobless:.2f} of blobless; {seconds:.1f} s")
    uv(url, ids[-100], folder / "uv")
    for number in (-50, -20, -10):  # commits that neither has examined before
        pin = Package(git=url, branch="main", commit=ids[number][:12])
        ours, more = lock(server, store, pin)
        theirs = uv(url, ids[number], folder / "uv")
        print(f"another commit, warm: {ours:.2f} s and {more / 1e3:.0f} kB; uv {theirs:.2f} s; "
              f"ratio {ours / theirs:.2f}")  # fmt: skip
    pairs = [(lock(server, store, pin)[0], uv(url, ids[-10], folder / "uv")) for _ in range(9)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"the same commit, warm: {ours:.2f} s; uv {theirs:.2f} s; ratio {ours / theirs:.2f}")
    command = statistics.median(whole_command(folder, pin) for _ in range(5))
    print(f"the whole command `envbuilder lock`, the same commit: {command:.2f} s")


def whole_command(folder: Path, pin: Package) -> float:
    """Lock by the command line; return its seconds."""
    spec = spec_of(pin)
    path = folder / "x.yaml"
    path.write_text(json.dumps(to_builtins(spec)))
    write_lock(lock_path(path), held(spec))
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "envbuilder", "lock", "--file", path],
        env={**os.environ, "ENVBUILDER_CACHE": str(folder / "store")},
        check=True,
        capture_output=True,
    )
    return time.monotonic() - started


def spec_of(pin: Package) -> Spec:
    base = Base(debian="trixie", python="/usr/bin/python3.11")
    return Spec(version=1, name="x", python="3.11", base=base, packages={"scmy": pin})


def held(spec: Spec) -> Lock:
    """Give a lock that knows the base and nothing else: apt is not what is measured here."""
    return Lock(spec=spec, base=DebianBase(suite="trixie", packages=()), wheels=())


if __name__ == "__main__":
    main()
