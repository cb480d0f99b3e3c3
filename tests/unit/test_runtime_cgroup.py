"""Where cgroups may be made, on file trees as the kernel shows them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from envbuilder.runtime.cgroup import (
    Cgroups,
    _locked,
    _opened,
    find_parents,
    remove_abandoned,
    set_limit,
)

V1 = "9:name=systemd:/\n8:pids:/\n4:memory:/user/session\n1:cpu:/\n0::/\n"
V2 = "0::/user.slice/user@1000.service/app.slice/term.scope\n"
HYBRID = "8:pids:/\n0::/\n"


def _cgroup(root: Path, path: str, **files: str) -> Path:
    made = root / path
    made.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (made / name.replace("__", ".")).write_text(content)
    return made


def test_v1_nests_below_our_own_in_each_hierarchy(tmp_path: Path) -> None:
    _cgroup(tmp_path, "memory", cgroup__procs="")
    own = _cgroup(tmp_path, "memory/user/session", cgroup__procs="")
    pids = _cgroup(tmp_path, "pids", cgroup__procs="")
    assert find_parents(V1, tmp_path) == {"memory": own, "pids": pids}


def test_v1_in_a_container_that_shows_only_its_own_part(tmp_path: Path) -> None:
    root = _cgroup(tmp_path, "memory", cgroup__procs="")
    assert find_parents(V1, tmp_path) == {"memory": root}


def test_v2_takes_the_nearest_that_hands_on_memory(tmp_path: Path) -> None:
    top = "user.slice/user@1000.service"
    _cgroup(tmp_path, "user.slice", cgroup__subtree_control="cpu memory pids\n")
    _cgroup(tmp_path, top, cgroup__subtree_control="memory pids\n")
    app = _cgroup(tmp_path, f"{top}/app.slice", cgroup__subtree_control="memory pids\n")
    _cgroup(tmp_path, f"{top}/app.slice/term.scope", cgroup__subtree_control="\n")
    assert find_parents(V2, tmp_path) == {"memory": app, "pids": app}


def test_v2_counts_processes_only_where_it_limits_memory(tmp_path: Path) -> None:
    slice_ = _cgroup(tmp_path, "user.slice", cgroup__subtree_control="memory\n")
    _cgroup(tmp_path, "", cgroup__subtree_control="memory pids\n")
    assert find_parents(V2, tmp_path) == {"memory": slice_}


def test_v2_that_hands_on_processes_alone(tmp_path: Path) -> None:
    _cgroup(tmp_path, "", cgroup__subtree_control="cpu pids\n")
    assert find_parents(V2, tmp_path) == {"pids": tmp_path}


def test_both_kinds_beside_each_other(tmp_path: Path) -> None:
    pids = _cgroup(tmp_path, "pids", cgroup__procs="")
    _cgroup(tmp_path, "", cgroup__subtree_control="memory\n")
    assert find_parents(HYBRID, tmp_path) == {"memory": tmp_path, "pids": pids}


@pytest.mark.parametrize("membership", ["", "0::/\n", V1, V2])
def test_a_host_without_such_cgroups(tmp_path: Path, membership: str) -> None:
    _cgroup(tmp_path, "", cgroup__subtree_control="cpu\n")
    assert find_parents(membership, tmp_path) == {}


def test_limits_are_written_as_each_kernel_wants_them(tmp_path: Path) -> None:
    new = _cgroup(tmp_path, "new", memory__max="max", memory__swap__max="max", pids__max="max")
    old = _cgroup(tmp_path, "old", memory__limit_in_bytes="-1")
    set_limit(new, "memory", 5000)
    set_limit(new, "pids", 64)
    set_limit(old, "memory", 5000)
    assert (new / "memory.max").read_text() == "5000"
    assert (new / "memory.swap.max").read_text() == "0"
    assert (new / "pids.max").read_text() == "64"
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
    assert Cgroups(paths={"memory": tmp_path}).out_of_memory() is expected


def test_a_cgroup_of_both_is_entered_once(tmp_path: Path) -> None:
    both = Cgroups(paths={"memory": tmp_path, "pids": tmp_path})
    assert both.procs == (tmp_path / "cgroup.procs",)
    assert not Cgroups(paths={"pids": tmp_path}).out_of_memory()


def test_only_cgroups_that_nobody_locks_are_removed(tmp_path: Path) -> None:
    dead = _cgroup(tmp_path, f"envbuilder-{os.getpid()}-1")  # in another container: our own number
    alive = _cgroup(tmp_path, "envbuilder-4194305-1")  # one more than the largest pid there is
    other = _cgroup(tmp_path, "session-1")
    with _opened(alive) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        remove_abandoned(tmp_path)
    assert (dead.exists(), alive.exists(), other.exists()) == (False, True, True)


def test_a_cgroup_that_another_run_removed_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def locks(fd: int, how: int) -> None:
        flock(fd, how)
        made.append(Path(f"/proc/self/fd/{fd}").readlink())
        if len(made) == 1:
            made[0].rmdir()

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", locks)
    path, lock = _locked(tmp_path)
    os.close(lock)
    assert made[1] == path
    assert path.exists()
