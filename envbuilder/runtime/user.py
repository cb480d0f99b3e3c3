"""Who a command runs as: an image's ``User`` looked up in its own passwd and group files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from envbuilder.model.errors import SmokeError
from envbuilder.model.spec_words import HIGHEST_ID

_HINT = "`user: {name: NAME, uid: 1000}` in the spec makes one, with a home"
_NUMBER = re.compile(r"0*([0-9]{1,10})")
_SHOWN = 40  # characters of a name


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Numbers for the kernel; ``home`` for ``$HOME`` where the environment sets none."""

    uid: int = 0
    gid: int = 0
    home: str = "/"


def find_user(text: str, *, passwd: str, group: str) -> User:
    """Resolve ``[NAME|UID][:GROUP|GID]`` against the texts of passwd(5) and group(5).

    An empty ``text`` is root; a UID without an entry has group 0 (image-spec, "User"). Raises
    SmokeError for a name that the image does not have, or has with what is no number of a user.
    """
    name, colon, group_name = text.partition(":")
    found = _find_passwd(name or "0", passwd)
    if not colon or not group_name:
        return found
    return User(uid=found.uid, gid=_find_group(group_name, group), home=found.home)


def _find_passwd(name: str, passwd: str) -> User:
    for entry in _entries(passwd, fields=7):
        uid, gid = _number(entry[2]), _number(entry[3])
        if name in (entry[0], entry[2]) and uid is not None and gid is not None:
            return User(uid=uid, gid=gid, home=entry[5] or "/")
    uid = _number(name)
    if uid is None:
        raise _unknown("user", name, "/etc/passwd")
    return User(uid=uid, home="/root" if uid == 0 else "/")


def _find_group(name: str, group: str) -> int:
    for entry in _entries(group, fields=4):
        gid = _number(entry[2])
        if name == entry[0] and gid is not None:
            return gid
    gid = _number(name)
    if gid is None:
        raise _unknown("group", name, "/etc/group")
    return gid


def _number(text: str) -> int | None:
    """Read the number of a user or group; None for what is none, or beyond the highest."""
    match = _NUMBER.fullmatch(text)
    return int(match[1]) if match and int(match[1]) <= HIGHEST_ID else None


def _unknown(kind: str, name: str, file: str) -> SmokeError:
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
    what = f", and none beyond {HIGHEST_ID}" if re.fullmatch("[0-9]+", name) else ""
    return SmokeError(f"the image has no {kind} {shown!r} in {file}{what}", hint=_HINT)


def _entries(text: str, *, fields: int) -> Iterator[list[str]]:
    for line in text.split("\n"):
        entry = line.split(":")
        if len(entry) == fields:
            yield entry
