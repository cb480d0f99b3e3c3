"""Digests and image references: parsed strictly once, then passed as types.

Grammar: the OCI image spec ("Descriptors") and distribution's ``reference`` package, whose rules
for short names (``ubuntu`` is ``docker.io/library/ubuntu:latest``) Docker users expect.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import total_ordering
from typing import NoReturn, Self

from .errors import UsageError

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_HEX = re.compile(r"[0-9a-f]{64}")
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")

_MOST_PORT = 65535

DEFAULT_REGISTRY = "docker.io"


@total_ordering
class Digest:
    """A SHA-256 content digest; ``str()`` gives ``sha256:HEX``.

    No dataclass: msgspec would read and write one as an object, not as its text (``codec``).
    """

    __slots__ = ("hex",)
    hex: str

    def __init__(self, hex: str) -> None:  # noqa: A002 (what it holds)
        if not _HEX.fullmatch(hex):
            raise UsageError(f"{hex!r} is not a SHA-256: expected 64 lower-case hex digits")
        object.__setattr__(self, "hex", hex)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a digest does not change: {name} = {value!r}")

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.hex,)

    def __eq__(self, other: object) -> bool:
        return self.hex == other.hex if isinstance(other, Digest) else NotImplemented

    def __lt__(self, other: Digest) -> bool:
        return self.hex < other.hex if isinstance(other, Digest) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hex)

    def __repr__(self) -> str:
        return f"Digest({self.hex!r})"

    def __str__(self) -> str:
        return f"sha256:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``sha256:HEX``; raise UsageError for anything else."""
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is not a digest: expected sha256: and 64 hex digits")
        return cls(match[1])

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Hash ``data``."""
        return cls(hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """An image in a registry: ``REGISTRY/REPOSITORY[:TAG][@DIGEST]``, fully spelled out."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a reference as Docker does; a bare name gets ``docker.io`` and ``:latest``.

        Raises UsageError that shows the part which does not fit.
        """
        rest, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        head, slash, tail = rest.partition("/")
        if slash and ("." in head or ":" in head or head == "localhost"):
            registry, rest = head, tail
        else:
            registry = DEFAULT_REGISTRY
        repository, colon, tag = rest.partition(":")
        if registry == DEFAULT_REGISTRY and "/" not in repository:
            repository = f"library/{repository}"
        _expect(_HOST, registry, text, "registry host")
        port = registry.rpartition(":")[2]
        if port.isdecimal() and int(port) > _MOST_PORT:
            raise UsageError(f"{text!r} is not an image reference: {port} is not a port")
        _expect(_REPOSITORY, repository, text, "repository (lower case, a-z 0-9 . _ - /)")
        if colon:
            _expect(_TAG, tag, text, "tag")
        elif digest is None:
            tag = "latest"
        return cls(registry=registry, repository=repository, tag=tag or None, digest=digest)

    def at(self, digest: Digest) -> ImageRef:
        """Name the same repository by ``digest``, without a tag."""
        return ImageRef(registry=self.registry, repository=self.repository, digest=digest)


def _expect(pattern: re.Pattern[str], part: str, whole: str, what: str) -> None:
    if not pattern.fullmatch(part):
        raise UsageError(f"{whole!r} is not an image reference: {part!r} is not a {what}")
