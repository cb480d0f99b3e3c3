"""Where a memory cgroup may be made, on file trees as the kernel shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envbuilder.runtime.cgroup import MemoryCgroup, find_parent, remove_abandoned, set_limit

V1 = "9:name=systemd:/\n4:memory:/user/session\n1:cpu:/\n0::/\n"
V2 = "0::/user.slice/user@1000.service/app.slice/term.scope\n"


def _cgroup(root: Path, path: str, **files: str) -> Path:
    made = root / path
    made.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (made / name.replace("__", ".")).write_text(content)
    return made


def test_v1_nests_below_our_own(tmp_path: Path) -> None:
    _cgroup(tmp_path, "memory", memory__limit_in_bytes="9")
    own = _cgroup(tmp_path, "memory/user/session", memory__limit_in_bytes="9")
    assert find_parent(V1, tmp_path) == own


def test_v1_in_a_container_that_shows_only_its_own_part(tmp_path: Path) -> None:
    root = _cgroup(tmp_path, "memory", memory__limit_in_bytes="9")
    assert find_parent(V1, tmp_path) == root


def test_v2_takes_the_nearest_that_hands_on_memory(tmp_path: Path) -> None:
    top = "user.slice/user@1000.service"
    _cgroup(tmp_path, "user.slice", cgroup__subtree_control="cpu memory pids\n")
    _cgroup(tmp_path, top, cgroup__subtree_control="memory pids\n")
    app = _cgroup(tmp_path, f"{top}/app.slice", cgroup__subtree_control="memory pids\n")
    _cgroup(tmp_path, f"{top}/app.slice/term.scope", cgroup__subtree_control="\n")
    assert find_parent(V2, tmp_path) == app


@pytest.mark.parametrize("membership", ["", "0::/\n", V1, V2])
def test_a_host_without_memory_cgroups(tmp_path: Path, membership: str) -> None:
    _cgroup(tmp_path, "", cgroup__subtree_control="cpu pids\n")
    assert find_parent(membership, tmp_path) is None


def test_limits_are_written_as_each_kernel_wants_them(tmp_path: Path) -> None:
    new = _cgroup(tmp_path, "new", memory__max="max", memory__swap__max="max")
    old = _cgroup(tmp_path, "old", memory__limit_in_bytes="-1")
    set_limit(new, 5000)
    set_limit(old, 5000)
    assert (new / "memory.max").read_text() == "5000"
    assert (new / "memory.swap.max").read_text() == "0"
    assert (old / "memory.limit_in_bytes").read_text() == "5000"
    assert [file.name for file in old.iterdir()] == ["memory.limit_in_bytes"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n", True),
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 0\noom_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", False),
    ],
)
def test_the_kernel_tells_of_killed_processes(
    tmp_path: Path, name: str, text: str, *, expected: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert MemoryCgroup(path=tmp_path).out_of_memory() is expected


def test_only_cgroups_of_dead_processes_are_removed(tmp_path: Path) -> None:
    dead = _cgroup(tmp_path, "envbuilder-4194305-1")  # one more than the largest pid there is
    alive = _cgroup(tmp_path, f"envbuilder-{os.getpid()}-1")
    other = _cgroup(tmp_path, "session-1")
    remove_abandoned(tmp_path)
    assert (dead.exists(), alive.exists(), other.exists()) == (False, True, True)
