"""Which of two Debian versions is the later one, as dpkg decides it (deb-version(7))."""

from __future__ import annotations

import re
from typing import Any

_PAIR = re.compile(r"(\D*)(\d*)")
_END = ((0,), 0)
"""Nothing more: after "~", and before all else."""


def version_key(version: str) -> tuple[Any, ...]:
    """Return what sorts ``version`` among others as dpkg sorts them; any text has its place."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch) if epoch.isdecimal() else 0, _parts(upstream), _parts(revision)


def _parts(text: str) -> tuple[Any, ...]:
    """Take turns at what is no number and what is one; zeros at the end do not count."""
    found = [
        ((*map(_weight, other), 0), int(number or 0))
        for other, number in _PAIR.findall(text)
        if other or number
    ]
    while found and found[-1] == _END:
        found.pop()
    return (*found, _END)


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) + (0 if character.isascii() and character.isalpha() else 256)
