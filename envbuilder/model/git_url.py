"""Where a git repository lies: an address that is safe to hand to git, or a clear refusal.

git takes options, helper programs (``ext::``) and logins in the place of an address. None of these
passes here: the protocol must be one of five, and whoever needs credentials keeps them in git's own
helpers. Only ssh has a user in its addresses; elsewhere that is as often a token, which would be
published with the lock.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .errors import SpecError

PROTOCOLS = ("https", "ssh", "http", "git", "file")
_URL = re.compile(r"(?:git\+)?(?P<protocol>[a-z][a-z0-9+.-]*)://(?P<rest>.+)", re.IGNORECASE)
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::.*", re.DOTALL)
_WORD = r"[A-Za-z0-9_.][A-Za-z0-9_.~+-]*"  # a leading hyphen would be an option to ssh
_SCP = re.compile(rf"(?:{_WORD}@)?{_WORD}:.+")
_HOST = re.compile(rf"(?:{_WORD}@)?(?:\[[0-9A-Fa-f:.]+\]|{_WORD})(?::[0-9]+)?")
_LOGIN = re.compile(r"(?<=://)[^/]*@")
_HINT = "https://HOST/PATH.git, ssh://git@HOST/PATH.git, git@HOST:PATH.git or an absolute path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A git repository's address as git takes it, and whether it lies on this machine."""

    text: str
    local: bool

    def __str__(self) -> str:
        return self.text

    @property
    def slug(self) -> str:
        """A short name for people and folders: the last part of the path."""
        path = self.text.rstrip("/").removesuffix("/.git").removesuffix(".git")
        last = re.split(r"[/:]", path)[-1]
        return re.sub(r"[^A-Za-z0-9._-]", "-", last).strip(".-")[:40] or "repository"

    @classmethod
    def parse(cls, text: str, *, base: Path | None = None) -> Self:
        """Check a repository address of a spec; a relative path counts from ``base``.

        ``git+https://`` and its kin, as pip writes them, lose their ``git+``; a path becomes a
        ``file://`` URL, as PEP 610 wants it. Raises SpecError for what is no repository address,
        for other protocols, and for a login.
        """
        if not text.isprintable() or text.startswith("-") or _HELPER.fullmatch(text):
            raise SpecError(f"{text!r} is not a repository address", hint=_HINT)
        if url := _URL.fullmatch(text):
            return cls._of_url(text, protocol=url["protocol"].lower(), rest=url["rest"])
        if text.startswith(("/", "./", "../", "~/")):
            path = Path(text).expanduser()
            place = path if path.is_absolute() else (base or Path.cwd()) / path
            return cls(text=Path(posixpath.normpath(place)).as_uri(), local=True)
        if _SCP.fullmatch(text):
            return cls(text=text, local=False)
        raise SpecError(f"{text!r} is not a repository address", hint=_HINT)

    @classmethod
    def _of_url(cls, text: str, *, protocol: str, rest: str) -> Self:
        shown = _LOGIN.sub("", text)
        if protocol not in PROTOCOLS:
            hint = f"expected one of {', '.join(PROTOCOLS)}"
            raise SpecError(f"{shown!r}: git over {protocol!r} is refused", hint=hint)
        plain = f"{protocol}://{rest}"
        if protocol == "file":
            return cls(text=plain, local=True)
        host = rest.partition("/")[0]
        login, at, _ = host.rpartition("@")
        if ":" in login or (at and protocol != "ssh"):
            hint = "leave it out, and let a git credential helper keep it: git help credentials"
            raise SpecError(f"the repository address {shown!r} must hold no login", hint=hint)
        if not _HOST.fullmatch(host):
            raise SpecError(f"{shown!r} does not name a host", hint=_HINT)
        return cls(text=plain, local=False)

    def submodule(self, text: str) -> Address:
        """Find the submodule that this repository's ``.gitmodules`` names ``text``.

        Relative addresses (``../other.git``) count from this one, as in git. One that leads from
        a remote repository to this machine's files is refused with SpecError.
        """
        relative = text.startswith(("./", "../"))
        found = self._relative(text) if relative else Address.parse(text)
        if found.local and not self.local:
            raise SpecError(
                f"{self} has a submodule on this machine, {text!r}: refused",
                hint="set `submodules: false`, or use a fork with reachable submodules",
            )
        return found

    def _relative(self, text: str) -> Address:
        head, separator, path = self.text.rpartition("://")
        if separator:
            host, slash, path = path.partition("/")
            head += f"{separator}{host}{slash}"
        elif not self.local:
            host, colon, path = self.text.partition(":")
            head = host + colon
        joined = posixpath.normpath(f"{path}/{text}")
        if joined.startswith(".."):
            raise SpecError(f"{self} has a submodule {text!r} that lies above its host")
        return Address.parse(head + joined)
