"""The user that an image runs as, as entries of passwd(5), group(5) and shadow(5).

What a spec asks for is added to what the base has; a user who is there already, just so, stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .errors import BuildError
from .image_spec import OwnUser
from .own_files import taken_by
from .package_checks import Problem
from .spec import Spec
from .spec_words import HIGHEST_ID

_NUMBERS = re.compile(r"(?P<uid>[0-9]{1,10})(:(?P<gid>[0-9]{1,10}))?")
_WHOM = re.compile(r"[^:\s]+(:[^:\s]+)?")
_DIGITS = re.compile(r"[0-9]+")
SHELL = "/bin/sh"
_ROOT = {"root": 0}
_DEBIAN = _ROOT | {
    "daemon": 1, "bin": 2, "sys": 3, "sync": 4, "games": 5, "man": 6, "lp": 7, "mail": 8, "news": 9,
    "uucp": 10, "proxy": 13, "www-data": 33, "backup": 34, "list": 38, "irc": 39, "nobody": 65534,
}  # fmt: skip
"""Whom each Debian and Ubuntu has, with these numbers (Debian Policy 9.2.2, base-passwd)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user to be there, by name and number; ``strict`` if the name was asked for, too."""

    name: str
    uid: int
    gid: int
    home: str
    strict: bool

    @property
    def passwd(self) -> str:
        """The entry for the list of users."""
        return f"{self.name}:x:{self.uid}:{self.gid}::{self.home}:{SHELL}"

    @property
    def group(self) -> str:
        """The entry for the list of groups."""
        return f"{self.name}:x:{self.gid}:"

    @property
    def shadow(self) -> str:
        """The entry for the list of passwords: none opens this account."""
        return f"{self.name}:!::0:99999:7:::"


def user_problems(spec: Spec) -> Iterator[Problem]:
    """Yield what no base can make true of ``user``: place, message, hint."""
    user = spec.user
    if isinstance(user, OwnUser):
        yield from _own_user_problems(user, _ROOT if spec.base.image is not None else _DEBIAN)
    elif user and (not _WHOM.fullmatch(user) or any(map(_too_high, user.split(":")))):
        message = f"{user!r} names nobody: expected NAME or UID, and :GROUP or :GID if need be"
        yield ("user",), message, 'user: "1000:0", or {name: app, uid: 1000}'


def _too_high(part: str) -> bool:
    """Return whether ``part`` of a user is a number that no user or group has."""
    is_number = _DIGITS.fullmatch(part) is not None
    return is_number and (len(part) > len(str(HIGHEST_ID)) or int(part) > HIGHEST_ID)


def _own_user_problems(user: OwnUser, known: Mapping[str, int]) -> Iterator[Problem]:
    number = known.get(user.name, user.uid)
    owner = next((name for name, uid in known.items() if uid == user.uid), user.name)
    if number != user.uid:
        message = f"{user.name} is user {number} of the base, and not {user.uid}"
        yield ("user", "uid"), message, f"user: {user.name}, or make one of another name"
    if owner != user.name:
        message = f"{user.uid} is the user {owner} of the base, and not {user.name}"
        yield ("user", "uid"), message, f"user: {owner}, or take another uid, like 1000"
    if not {".", ".."}.isdisjoint(user.folder.split("/")):
        yield ("user", "home"), f"{user.folder!r} is not a plain path", "write it without . and .."
    elif taken_by(user.folder) or f"{user.folder}/".startswith("/root/"):
        message = f"{user.folder} is no place for the home of {user.name}: it is not theirs to own"
        yield ("user", "home"), message, f"home: /home/{user.name}"


def account_of(spec: Spec) -> Account | None:
    """Return the user that the spec asks to have, if it says all that makes one.

    A mere number gets a name and a home of its own, since programs ask for both; a mere name is a
    user of the base's.
    """
    if isinstance(spec.user, OwnUser):
        user = spec.user
        return Account(name=user.name, uid=user.uid, gid=user.group, home=user.folder, strict=True)
    match = _NUMBERS.fullmatch(spec.user or "")
    if match is None or int(match["uid"]) == 0:
        return None
    uid, name = int(match["uid"]), f"user{int(match['uid'])}"
    gid = int(match["gid"] or uid)
    return Account(name=name, uid=uid, gid=gid, home=f"/home/{name}", strict=False)


def user_setting(spec: Spec) -> str | None:
    """Return the image's ``User``: numbers, which say what they mean to whoever starts it."""
    if isinstance(spec.user, OwnUser):
        return f"{spec.user.uid}:{spec.user.group}"
    return spec.user


def missing_lines(account: Account, *, passwd: str, group: str) -> tuple[str | None, str | None]:
    """Return the lines that the base's ``passwd`` and ``group`` lack, each None if it lacks none.

    Raises BuildError if the base has another user of that name or number, or a group of that name.
    """
    return _passwd_line(account, passwd), _group_line(account, group)


def _passwd_line(account: Account, passwd: str) -> str | None:
    number, wanted = str(account.uid), (account.name, account.uid, account.gid, account.home)
    entries = list(_entries(passwd, fields=7))
    if not account.strict and any(entry[2] == number for entry in entries):
        return None
    same = [entry for entry in entries if account.name == entry[0] or number == entry[2]]
    for name, _, uid, gid, _, home, _ in same:
        if (name, uid, gid, home.rstrip("/")) != tuple(map(str, wanted)):
            raise BuildError(
                f"the base has a user {name} of uid {uid}, gid {gid} and home {home}, and the spec "
                f"asks for {account.name}, uid {account.uid}, gid {account.gid}, {account.home}",
                hint="take another name or uid under user:, or say exactly what the base has",
            )
    return None if same else account.passwd


def _group_line(account: Account, group: str) -> str | None:
    for entry in _entries(group, fields=4):
        if entry[2] == str(account.gid):
            return None
        if entry[0] == account.name:
            raise BuildError(
                f"the base has a group {entry[0]} of gid {entry[2]}, and the spec asks for "
                f"{account.gid}",
                hint=f"user: {{name: {account.name}, gid: {entry[2]}}}, or take another name",
            )
    return account.group


def _entries(text: str, *, fields: int) -> Iterator[list[str]]:
    return (entry for line in text.split("\n") if len(entry := line.split(":")) == fields)
