"""Who a command runs as: an image's ``User`` looked up in its own passwd and group files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from envbuilder.model.errors import SmokeError

_HINT = "`user: {name: NAME, uid: 1000}` in the spec makes one, with a home"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Numbers for the kernel; ``home`` for ``$HOME`` where the environment sets none."""

    uid: int = 0
    gid: int = 0
    home: str = "/"


def find_user(text: str, *, passwd: str, group: str) -> User:
    """Resolve ``[NAME|UID][:GROUP|GID]`` against the texts of passwd(5) and group(5).

    An empty ``text`` is root; a UID without an entry has group 0 (image-spec, "User"). Raises
    SmokeError for a name that the image does not have.
    """
    name, colon, group_name = text.partition(":")
    found = _find_passwd(name or "0", passwd)
    if not colon or not group_name:
        return found
    return User(uid=found.uid, gid=_find_group(group_name, group), home=found.home)


def _find_passwd(name: str, passwd: str) -> User:
    for entry in _entries(passwd, fields=7):
        if name in (entry[0], entry[2]) and entry[2].isdecimal() and entry[3].isdecimal():
            return User(uid=int(entry[2]), gid=int(entry[3]), home=entry[5] or "/")
    if not name.isdecimal():
        raise SmokeError(f"the image has no user {name!r} in /etc/passwd", hint=_HINT)
    return User(uid=int(name), home="/root" if int(name) == 0 else "/")


def _find_group(name: str, group: str) -> int:
    for entry in _entries(group, fields=4):
        if name == entry[0] and entry[2].isdecimal():
            return int(entry[2])
    if not name.isdecimal():
        raise SmokeError(f"the image has no group {name!r} in /etc/group", hint=_HINT)
    return int(name)


def _entries(text: str, *, fields: int) -> Iterator[list[str]]:
    for line in text.split("\n"):
        entry = line.split(":")
        if len(entry) == fields:
            yield entry
