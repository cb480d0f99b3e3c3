"""All attacks: each is one function of a field, which it may call many times with other chances."""

from tests.siege.attacks import crowds, disks, fuzzers, kills, rot, servers, times
from tests.siege.field import Attack

ATTACKS: tuple[Attack, ...] = (
    *kills.ATTACKS,
    *times.ATTACKS,
    *disks.ATTACKS,
    *crowds.ATTACKS,
    *rot.ATTACKS,
    *servers.ATTACKS,
    *fuzzers.ATTACKS,
)
