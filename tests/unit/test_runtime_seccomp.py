"""The list of system calls: what it must hold, and what it must not."""

from __future__ import annotations

import ctypes
import ctypes.util

import pytest

from envbuilder.runtime.command import Command
from envbuilder.runtime.oci_config import oci_config
from envbuilder.runtime.seccomp import profile
from envbuilder.runtime.user import User

EPERM, ENOSYS = 1, 38


def rules(name: str) -> list[dict[str, object]]:
    return [rule for rule in profile()["syscalls"] if name in rule["names"]]


def test_every_command_has_it() -> None:
    config = oci_config({}, Command(args=("true",)), user=User(), scratch=1, limits={})
    assert config["linux"]["seccomp"] == profile()
    assert profile()["defaultAction"] == "SCMP_ACT_ERRNO"


@pytest.mark.parametrize(
    "name",
    [
        "io_uring_setup", "io_uring_enter", "io_uring_register", "unshare", "setns", "mount",
        "pivot_root", "bpf", "perf_event_open", "userfaultfd", "add_key", "keyctl", "request_key",
        "kexec_load", "init_module", "finit_module", "open_by_handle_at", "swapon",
        "fsopen", "move_mount", "pidfd_getfd", "quotactl", "reboot", "syslog", "acct", "chroot",
    ],
)  # fmt: skip
def test_no_way_into_the_kernel_is_allowed(name: str) -> None:
    assert all(rule["action"] != "SCMP_ACT_ALLOW" for rule in rules(name))


def test_namespaces_cannot_be_made_by_clone() -> None:
    flags = {"newns": 0x20000, "newcgroup": 0x2000000, "newuts": 0x4000000, "newipc": 0x8000000,
             "newuser": 0x10000000, "newpid": 0x20000000, "newnet": 0x40000000}  # fmt: skip
    allowed, refused = rules("clone")
    (mask,) = allowed["args"]  # type: ignore[misc]
    assert allowed["action"] == "SCMP_ACT_ALLOW"
    assert (mask["op"], mask["value"], mask["valueTwo"]) == (
        "SCMP_CMP_MASKED_EQ",
        sum(flags.values()),
        0,
    )
    assert (refused["action"], refused["errnoRet"]) == ("SCMP_ACT_ERRNO", EPERM)
    assert [rule["errnoRet"] for rule in rules("clone3")] == [ENOSYS]


def test_no_call_is_both_allowed_and_refused_whatever_its_arguments() -> None:
    whole = [name for rule in profile()["syscalls"] if "args" not in rule for name in rule["names"]]
    assert len(whole) == len(set(whole))
    partly = {name for rule in profile()["syscalls"] if "args" in rule for name in rule["names"]}
    assert partly.isdisjoint(whole)


def test_every_name_is_a_system_call() -> None:
    library = ctypes.util.find_library("seccomp")
    if library is None:
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(library).seccomp_syscall_resolve_name
    names = {name for rule in profile()["syscalls"] for name in rule["names"]}
    unknown = {name for name in names if resolve(name.encode()) == -1}
    newer = {"fchmodat2", "futex_requeue", "futex_wait", "futex_wake", "mseal", "map_shadow_stack",
             "cachestat", "getxattrat", "listxattrat", "removexattrat", "setxattrat",
             "set_mempolicy_home_node"}  # fmt: skip
    assert unknown <= newer
