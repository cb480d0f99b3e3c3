"""The distributions that a base may be made of: how each names its archive, keys and mirrors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_KEYS = Path("/usr/share/keyrings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A distribution of .deb packages; ``id`` is what os-release and package URLs call it.

    ``place`` is how its mirrors' addresses end. ``first`` lists the pockets that the first, and
    with a second that the second URI of ``mirror`` holds, ``alone`` those of one by itself.
    """

    id: str
    name: str
    place: re.Pattern[str]
    components: tuple[str, ...]
    first: tuple[tuple[str, ...], tuple[str, ...]]
    alone: tuple[str, ...]
    keys: str

    @property
    def mirror(self) -> str:
        """The variable that names its mirror."""
        return f"ENVBUILDER_{self.id.upper()}_MIRROR"

    @property
    def keyring_variable(self) -> str:
        """The variable that names the keyring of its archive."""
        return f"ENVBUILDER_{self.id.upper()}_KEYRING"

    @property
    def mark(self) -> str:
        """What the names of its keyrings begin with."""
        return f"{self.id}-archive"

    @property
    def keyring(self) -> str:
        """The path of the keyring that signs its archive; empty if this machine has none."""
        files = (_KEYS / f"{self.mark}-keyring.{suffix}" for suffix in ("pgp", "gpg"))
        found = next((str(path) for path in files if path.exists()), "")
        return os.environ.get(self.keyring_variable) or found


DEBIAN = Distribution(
    id="debian",
    name="Debian",
    place=re.compile(r"/debian(-security)?$|/archive/debian(-security)?/[0-9TZ]+$"),
    components=("main",),
    first=(("", "-updates"), ("-security",)),
    alone=("", "-updates"),
    keys="debian-archive-keyring",
)
UBUNTU = Distribution(
    id="ubuntu",
    name="Ubuntu",
    place=re.compile(r"/ubuntu(-ports)?$|/ubuntu/[0-9TZ]+$"),
    components=("main", "universe"),
    first=(("", "-updates"), ("-security",)),
    alone=("", "-updates", "-security"),
    keys="ubuntu-keyring",
)
DISTRIBUTIONS: Mapping[str, Distribution] = {each.id: each for each in (DEBIAN, UBUNTU)}
