"""Every failure that a user can meet, one class per exit code.

The command line has one boundary that prints ``error: MESSAGE`` and ``hint: HINT`` and exits
with :attr:`EnvbuilderError.exit_code`; adapters translate library exceptions with ``raise … from``.
This module imports nothing of ours.
"""

from __future__ import annotations

import re

_LOGIN = re.compile(r"(?<=://)[^/\s]*@")  # to the last @: not everybody escapes those in passwords


def without_login(text: str) -> str:
    """Take user and password out of the URLs in ``text``: no message may show them."""
    return _LOGIN.sub("", text)


class EnvbuilderError(Exception):
    """Say what went wrong, where, and what to do next.

    ``message`` names the thing and what was expected; ``hint`` is the next step, often a command.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def brief(self) -> str:
        """The message in one line: how it begins and, where it has several, how it ends."""
        first, *more = self.message.strip().splitlines() or [""]
        return f"{first} … {more[-1].strip()}" if more else first


class UsageError(EnvbuilderError):
    """A command was called with arguments that do not go together."""

    exit_code = 2


class SpecError(EnvbuilderError):
    """A spec cannot be read or does not say what a spec must."""

    exit_code = 3


class ResolutionError(EnvbuilderError):
    """No set of artifacts satisfies the spec, or a pinned artifact is not to be had."""

    exit_code = 4


class LockError(EnvbuilderError):
    """A lock is missing, damaged, or older than its spec."""

    exit_code = 5


class MissingToolError(EnvbuilderError):
    """An engine, a container runtime or a system program is missing or unfit."""

    exit_code = 6


class BuildError(EnvbuilderError):
    """Building a layer, a wheel or an image failed."""

    exit_code = 7


def of_system(error: OSError) -> BuildError:
    """Say what the system refused of a user's file: whatever is ours has words of its own."""
    place = f"cannot use {error.filename}: " if error.filename else ""
    return BuildError(f"{place}{error.strerror or error}")


class DiskFullError(BuildError):
    """There is no room for what is to be written: another try needs room, not another input."""


class SmokeError(EnvbuilderError):
    """The smoke checks found the image unfit, or could not come to a verdict."""

    exit_code = 8


class MismatchError(EnvbuilderError):
    """A remote image is not what the lock says."""

    exit_code = 9


class NetworkError(EnvbuilderError):
    """A registry, an index or a mirror could not be reached or answered wrongly."""

    exit_code = 10
