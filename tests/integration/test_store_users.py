"""The command on stores of others: root on a user's, a user on one that may only be read."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuilder.storage.store import Store
from tests.command import COMMAND
from tests.servers.scripted import scripted
from tests.unit.test_workflow_build import Desk

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
]

ROOT = Path(__file__).parents[2]
USER = 12345
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")
READ_ONLY = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"',
)


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A checkout and a store of another user, in a place that this one may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = Desk(folder)
        with scripted(made.answer) as server:
            made.write(server.host)
            shutil.rmtree(folder / "elsewhere")
            for path in (folder, *folder.rglob("*")):
                os.chown(path, USER, USER)
            yield made


def run(desk: Desk, *arguments: str, prefix: tuple[str, ...] = (), code: int = 0) -> str:
    done = subprocess.run(
        [*prefix, *COMMAND, *arguments],
        cwd=desk.spec.parents[1],
        env={
            **os.environ,
            "ENVBUILDER_CACHE": str(desk.store.root),
            "HOME": str(desk.spec.parents[1]),
            "PYTHONPATH": str(ROOT),
            "DOCKER_CONFIG": "/nowhere",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_one_run_as_root_locks_no_user_out(desk: Desk) -> None:
    build = ("build", "onimage", "--no-smoke", "--output-image", "oci:out")
    run(desk, *build)
    mine = [path for path in desk.spec.parents[1].rglob("*") if path.lstat().st_uid != USER]
    assert mine == []
    for command in (build, ("cache", "verify"), ("cache", "prune", "--all")):
        run(desk, *command, prefix=AS_USER)


def test_a_store_on_a_read_only_disk(desk: Desk) -> None:
    build = ("build", "onimage", "--no-smoke")
    run(desk, *build, prefix=AS_USER)
    prefix = (*READ_ONLY, str(desk.store.root))
    assert "blobs" in run(desk, "cache", "ls", prefix=prefix)
    for blob in desk.store.ls():
        os.utime(desk.store.path(blob.digest), (0, 0))
    said = run(desk, "cache", "prune", "--all", prefix=prefix, code=7)
    assert f"{desk.store.root}" in said
    assert "Read-only file system" in said
    said = run(desk, *build, "--output-image", "oci:out", prefix=prefix, code=7)
    assert f"cannot write at {desk.store.root}" in said
    assert "hint: check its permissions, or set ENVBUILDER_CACHE" in said


def test_a_store_that_another_may_only_read(desk: Desk) -> None:
    run(desk, "build", "onimage", "--no-smoke", prefix=AS_USER)
    for path in (desk.store.root, *desk.store.root.rglob("*")):
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        os.chown(path, 0, 0)
    assert "blobs" in run(desk, "cache", "ls", prefix=AS_USER)
    said = run(desk, "build", "onimage", "--no-smoke", prefix=AS_USER, code=7)
    assert f"cannot write at {desk.store.root}" in said
    assert "Permission denied" in said


@pytest.mark.parametrize("arguments", [("cache", "ls"), ("--help",), ("lock", "--help")])
def test_a_reader_that_goes_away_is_no_error(desk: Desk, arguments: tuple[str, ...]) -> None:
    store = Store(desk.store.root)
    for number in range(3000):
        (store.root / "blobs" / "sha256" / f"{number:064x}").touch()
    command = [*COMMAND, *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "ENVBUILDER_CACHE": str(store.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")
