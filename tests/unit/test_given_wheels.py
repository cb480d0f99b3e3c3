"""What the rendered folder says of wheels that no index of the machine offers."""

import errno
import os
import shutil
from dataclasses import replace

import pytest

from envbuilder.engines.given_wheels import copy_given, requirements_text
from envbuilder.engines.render import render
from envbuilder.model.errors import BuildError, DiskFullError
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from tests.unit.locks import lock

URL = "https://x.example/app-1.0-py3-none-any.whl"
LOCK = lock(
    {"app": "1.0", "mine": "1.0", "torch": "2.6.0"},
    pins={
        "app": {"url": URL},
        "mine": {"path": "../mine-1.0-py3-none-any.whl"},
        "torch": {"version": "==2.6.0", "index": "cu124"},
    },
    index={"named": {"cu124": "https://x.example/cu124"}},
)


def test_each_wheel_is_told_with_its_place_and_its_hash():
    app, mine, torch = LOCK.wheels
    assert requirements_text(LOCK, LOCK.wheels).splitlines() == [
        "--extra-index-url https://x.example/cu124",
        f"app @ {URL} --hash={app.sha256}  # requested",
        f"mine @ file:///run/given/{mine.filename} --hash={mine.sha256}  # requested",
        f"torch==2.6.0 --hash={torch.sha256}  # requested",
    ]


def test_only_the_stage_of_a_given_wheel_sees_the_folder():
    files = render(LOCK)
    stages = files["Dockerfile"].split("\nFROM ")
    seeing = [stage.partition("\n")[0] for stage in stages if "source=wheels" in stage]
    assert seeing == ["system AS package-mine"]
    assert "!wheels" in files[".dockerignore"].split()
    assert "wheels" not in render(lock({"six": "1.17.0"}))[".dockerignore"]


def test_a_given_wheel_is_copied_into_the_folder(tmp_path):
    store, data = Store(tmp_path / "store"), b"the wheel"
    with pytest.raises(BuildError, match=r"mine-1\.0-py3-none-any\.whl is not in the store"):
        copy_given(LOCK, tmp_path / "out", store=store)
    app, mine, torch = LOCK.wheels
    mine = replace(mine, sha256=Digest.of(data), size=len(data))
    store.add(data)
    copy_given(replace(LOCK, wheels=(app, mine, torch)), tmp_path / "out", store=store)
    assert (tmp_path / "out" / "wheels" / mine.filename).read_bytes() == data


def test_a_full_disk_is_no_missing_wheel(tmp_path, monkeypatch):
    store, data = Store(tmp_path / "store"), b"the wheel"
    app, mine, torch = LOCK.wheels
    mine = replace(mine, sha256=Digest.of(data), size=len(data))
    store.add(data)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(DiskFullError, match=f"the disk that holds {tmp_path / 'out'} is full"):
        copy_given(replace(LOCK, wheels=(app, mine, torch)), tmp_path / "out", store=store)
