"""The user that an image runs as, as entries of passwd(5), group(5) and shadow(5).

What a spec asks for is added to what the base has; a user who is there already, just so, stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import BuildError
from .spec import OwnUser, Spec

_NUMBERS = re.compile(r"(?P<uid>[0-9]{1,9})(:(?P<gid>[0-9]{1,9}))?")
SHELL = "/bin/sh"


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
    return (entry for line in text.splitlines() if len(entry := line.split(":")) == fields)
