"""What a command may use where nobody said how much."""

from __future__ import annotations

import os
import resource

import pytest

from envbuilder.runtime.limits import LARGEST_FILE, most_memory, process_limits


def test_a_command_never_gets_all_memory() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert total // 2 < most_memory() < total


def test_files_and_core_dumps_are_always_bounded() -> None:
    assert process_limits(data=None, processes=None) == {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": LARGEST_FILE,
    }


def test_what_no_cgroup_holds_holds_for_each_process() -> None:
    limits = process_limits(data=5000, processes=64)
    assert (limits["RLIMIT_DATA"], limits["RLIMIT_NPROC"]) == (5000, 64)


def test_nobody_gets_more_than_we_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    assert set(process_limits(data=5000, processes=101).values()) == {0, 100}
