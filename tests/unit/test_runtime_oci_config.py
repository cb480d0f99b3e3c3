from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envbuilder.model.errors import SmokeError, UsageError
from envbuilder.model.image import Layer
from envbuilder.model.reference import Digest
from envbuilder.runtime.command import Command, Mount, Overlay
from envbuilder.runtime.docker import container_options
from envbuilder.runtime.oci_config import environment, oci_config
from envbuilder.runtime.user import User, find_user

BOUNDS: Mapping[str, Any] = {"scratch": 1 << 20, "limits": {}}
PASSWD = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1001::/home/ada:/bin/sh\nbroken line\n"
GROUP = "root:x:0:\nvideo:x:44:ada\n"


def test_the_command_wins_over_the_image_and_the_image_over_the_defaults() -> None:
    settings = {"Env": ["PATH=/opt/bin", "COLOUR=red", "EMPTY=", "EQUATION=a=b"]}
    command = Command(args=("true",), env={"COLOUR": "blue"})
    found = environment(settings, command, user=User(uid=5, gid=5, home="/home/ada"))
    assert found == ["PATH=/opt/bin", "HOME=/home/ada", "COLOUR=blue", "EMPTY=", "EQUATION=a=b"]


def test_working_directory_is_the_commands_or_the_images_or_the_root() -> None:
    def cwd(settings: dict[str, str], workdir: str | None) -> object:
        command = Command(args=("true",), workdir=workdir)
        return oci_config(settings, command, user=User(), **BOUNDS)["process"]["cwd"]

    assert cwd({"WorkingDir": "/srv"}, "/opt") == "/opt"
    assert cwd({"WorkingDir": "/srv"}, None) == "/srv"
    assert cwd({"WorkingDir": ""}, None) == "/"


def test_a_command_gets_no_capability_no_network_and_nothing_to_write_to() -> None:
    config = oci_config({}, Command(args=("true",)), user=User(), **BOUNDS)
    assert not any(config["process"]["capabilities"].values())
    assert config["process"]["noNewPrivileges"] is True
    assert config["root"] == {"path": "rootfs", "readonly": True}
    assert "/proc/kcore" in config["linux"]["maskedPaths"]
    writable = {
        mount["destination"]
        for mount in config["mounts"]
        if mount["type"] == "tmpfs" and mount["destination"] != "/dev"
    }
    assert writable == {"/tmp", "/dev/shm"}
    json.dumps(config)


def test_only_a_user_that_the_cage_lacks_gets_a_namespace_of_its_own() -> None:
    def kinds(uid: int, *, mapped: bool) -> set[str]:
        config = oci_config(
            {}, Command(args=("x",)), user=User(uid=uid, gid=7), mapped=mapped, **BOUNDS
        )
        return {entry["type"] for entry in config["linux"]["namespaces"]}

    plain = {"pid", "mount", "ipc", "uts"}
    assert kinds(0, mapped=False) == kinds(0, mapped=True) == kinds(5, mapped=False) == plain
    assert kinds(5, mapped=True) == plain | {"user"}


def test_limits_become_rlimits_and_sizes() -> None:
    command = Command(args=("x",), tmpfs=("/scratch",))
    config = oci_config({}, command, user=User(), scratch=4096, limits={"RLIMIT_DATA": 9})
    assert config["process"]["rlimits"] == [{"type": "RLIMIT_DATA", "soft": 9, "hard": 9}]
    sizes = {
        mount["destination"]: [each for each in mount["options"] if each.startswith("size=")]
        for mount in config["mounts"]
        if mount["type"] == "tmpfs"
    }
    assert sizes == {
        "/dev": ["size=65536k"],
        "/tmp": ["size=4096"],
        "/dev/shm": ["size=4096"],
        "/scratch": ["size=4096"],
    }


def test_overlays_come_from_the_cage_and_cannot_be_written(tmp_path: Path) -> None:
    layer = Layer(digest=Digest.of(b"a"), size=1, diff_id=Digest.of(b"b"))
    overlay = Overlay(parts=((layer, "opt/a"), (layer, "opt/b")), target="/opt/b")
    inside = Mount(source=tmp_path, target="/opt/b/inside")
    command = Command(args=("x",), overlays=(overlay,), mounts=(inside,))
    mounts = oci_config({}, command, user=User(), **BOUNDS)["mounts"]
    assert [each["destination"] for each in mounts[-2:]] == ["/opt/b", "/opt/b/inside"]
    assert mounts[-2]["source"] == "overlay-0"
    assert {"bind", "ro", "nosuid", "nodev"} <= set(mounts[-2]["options"])
    with pytest.raises(UsageError, match="cannot show a layer at another place"):
        container_options(command)


@pytest.mark.parametrize(
    ("parts", "target", "message"),
    [(2, "opt", "not a mount target"), (1, "/opt", "a lower and an upper part")],
)
def test_an_overlay_that_cannot_be_mounted(parts: int, target: str, message: str) -> None:
    layer = Layer(digest=Digest.of(b"a"), size=1, diff_id=Digest.of(b"b"))
    with pytest.raises(UsageError, match=message):
        Overlay(parts=((layer, "opt"),) * parts, target=target)


def test_no_mount_takes_set_id_bits_and_only_dev_has_devices(tmp_path: Path) -> None:
    command = Command(args=("x",), mounts=(Mount(source=tmp_path, target="/data"),))
    mounts = oci_config({}, command, user=User(), **BOUNDS)["mounts"]
    assert [each["destination"] for each in mounts if "nosuid" not in each["options"]] == []
    assert {each["destination"] for each in mounts if "nodev" not in each["options"]} == {
        "/dev",
        "/dev/pts",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", User(uid=0, gid=0, home="/root")),
        ("root", User(uid=0, gid=0, home="/root")),
        ("ada", User(uid=1000, gid=1001, home="/home/ada")),
        ("1000", User(uid=1000, gid=1001, home="/home/ada")),
        ("ada:video", User(uid=1000, gid=44, home="/home/ada")),
        ("ada:", User(uid=1000, gid=1001, home="/home/ada")),
        ("4242", User(uid=4242, gid=0, home="/")),
        ("4242:4243", User(uid=4242, gid=4243, home="/")),
        (":video", User(uid=0, gid=44, home="/root")),
    ],
)
def test_users_are_looked_up_in_the_image(text: str, expected: User) -> None:
    assert find_user(text, passwd=PASSWD, group=GROUP) == expected


@pytest.mark.parametrize("sign", ["\u2028", "\x85", "\x0b", "\r"])
def test_a_comment_makes_no_user(sign: str) -> None:
    passwd = f"ada:x:1000:1000:Ada{sign}eve:x:0:0:,:/root:/bin/sh\n"
    with pytest.raises(SmokeError, match="no user 'eve'"):
        find_user("eve", passwd=passwd, group="")


def test_root_needs_no_passwd_file() -> None:
    assert find_user("", passwd="", group="") == User(uid=0, gid=0, home="/root")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eve", "no user 'eve'"),
        ("ada:eve", "no group 'eve'"),
        ("9" * 5000, f"no user '{'9' * 40}…' in /etc/passwd, and none beyond 2147483646"),
        ("2147483647", "no user '2147483647'"),
        ("1:2147483647", "no group '2147483647' in /etc/group, and none beyond"),
        ("1:" + "9" * 5000, "no group '999"),
        ("\u0661\u0660", "no user '\u0661\u0660' in /etc/passwd$"),
        ("\u00b2", "no user '\u00b2'"),
        ("-1", "no user '-1'"),
    ],
)
def test_unknown_names_are_refused(text: str, message: str) -> None:
    with pytest.raises(SmokeError, match=message):
        find_user(text, passwd=PASSWD, group=GROUP)


@pytest.mark.parametrize("number", ["9" * 5000, "2147483647", "\u0661\u0660", ""])
def test_an_entry_with_no_number_of_a_user_is_none(number: str) -> None:
    for passwd in (f"ada:x:{number}:7::/:/bin/sh\n", f"ada:x:7:{number}::/:/bin/sh\n"):
        with pytest.raises(SmokeError, match="no user 'ada'"):
            find_user("ada", passwd=passwd, group="")
    with pytest.raises(SmokeError, match="no group 'staff'"):
        find_user("1:staff", passwd="", group=f"staff:x:{number}:\n")


def test_numbers_may_have_zeros_before_them() -> None:
    assert find_user(f"{'0' * 5000}7:08", passwd="", group="") == User(uid=7, gid=8, home="/")
    assert find_user("2147483646", passwd="", group="").uid == 2147483646


@pytest.mark.parametrize("path", ["", "results", "../etc", "/a/../../etc", "/a\0b"])
def test_targets_must_be_absolute_and_plain(path: str, tmp_path: object) -> None:
    with pytest.raises(UsageError, match="expected an absolute path"):
        Mount(source=tmp_path, target=path)
    with pytest.raises(UsageError, match="expected an absolute path"):
        Command(args=("true",), tmpfs=(path,))


def test_a_command_without_a_program_is_refused() -> None:
    with pytest.raises(UsageError, match="needs at least the program"):
        Command(args=())
