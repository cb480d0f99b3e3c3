"""What git's complaints mean: which of our errors, and what to do next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from envbuilder.model.errors import DiskFullError, EnvbuilderError, NetworkError, ResolutionError

if TYPE_CHECKING:
    from envbuilder.model.git_url import Address

_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_REFUSED = re.compile(
    r"Authentication failed|could not read (Username|Password)|Permission denied \(|"
    r"terminal prompts disabled|returned error: 40[13]|Access denied|Host key verification failed|"
    r"access denied or repository not exported",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"Repository not found|returned error: 404|does not appear to be a git repository|"
    r"repository '.*' not found|does not exist|not a git repository|no such repository",
    re.IGNORECASE,
)
_OWNER = re.compile(r"detected dubious ownership", re.IGNORECASE)
_UNREACHED = re.compile(
    r"unable to access|Could not resolve host|unable to connect|Connection (refused|reset|timed)|"
    r"unexpected disconnect|early EOF|hung up|RPC failed|connect to host|transport '.*' not",
    re.IGNORECASE,
)


def explain(address: Address, stderr: str) -> EnvbuilderError:
    """Turn what git said about ``address`` into one of our errors, with what to do about it."""
    said = _last_words(stderr)
    if _FULL.search(stderr):
        hint = "free some space, run `envbuilder cache prune`, or set ENVBUILDER_CACHE elsewhere"
        return DiskFullError(f"the disk filled up while fetching {address}", hint=hint)
    if _OWNER.search(stderr):
        hint = f"git config --global --add safe.directory {address}"
        return NetworkError(f"{address} belongs to another user, git refuses it: {said}", hint=hint)
    if _REFUSED.search(stderr):
        hint = (
            f"make `git ls-remote {address}` work without a prompt: a credential helper, or a key"
        )
        return NetworkError(f"{address} refused our login: {said}", hint=hint)
    if _GONE.search(stderr):
        hint = "check the address; servers also say this of private repositories"
        return ResolutionError(f"there is no git repository at {address}: {said}", hint=hint)
    if _UNREACHED.search(stderr):
        hint = f"check the network and the proxy; try `git ls-remote {address}`"
        return NetworkError(f"cannot reach {address}: {said}", hint=hint)
    return ResolutionError(f"git failed on {address}: {said}")


def _last_words(stderr: str) -> str:
    """Pick the lines that matter: what git calls fatal or error, else the end."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    lines = [line for line in lines if "unable to read askpass response" not in line]
    chosen = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ERR"))]
    return " / ".join(chosen[-3:] or lines[-1:]) or "it gave no reason"
