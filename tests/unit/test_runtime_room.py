"""What a command may take of the disk: all but an eighth, and only where it may write."""

import os
from collections import namedtuple

import pytest

from envbuilder.runtime.command import Mount
from envbuilder.runtime.room import Room

Facts = namedtuple("Facts", "f_bavail f_frsize")


@pytest.fixture
def free(monkeypatch):
    """Give the blocks that are free below each folder; they may change."""
    blocks = {}
    monkeypatch.setattr(os, "statvfs", lambda folder: Facts(blocks[folder], 4096))
    return blocks


def test_an_eighth_stays_free(free, tmp_path):
    free[tmp_path] = 8000
    room = Room([Mount(source=tmp_path, target="/out", read_only=False)])
    assert room.left()
    free[tmp_path] = 1000
    assert room.left()
    free[tmp_path] = 999
    assert not room.left()


def test_any_disk_counts_and_what_may_only_be_read_does_not(free, tmp_path):
    one, two, three = (tmp_path / name for name in "abc")
    free |= dict.fromkeys((one, two, three), 80)
    writable = [Mount(source=each, target="/x", read_only=False) for each in (one, two)]
    room = Room([*writable, Mount(source=three, target="/y")])
    free[three] = 0
    assert room.left()
    free[two] = 0
    assert not room.left()


def test_nothing_to_write_to_is_room_enough():
    assert Room([]).left()
