"""Names as Kubernetes takes them. Source: its documentation, "Object Names and IDs"."""

from __future__ import annotations

import re

from envbuilder.model.errors import UsageError
from envbuilder.model.reference import Digest

_SERVICE = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1035: the narrowest of them
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")  # RFC 1123
_LONGEST_SUBDOMAIN = 253
_KEPT, _MARK = 50, 8  # signs of a name that gives way, and of what tells it from others


def object_name(environment: str) -> str:
    """Return how all objects of an environment are named: as itself, where a Service can be.

    A Service's name begins with a letter and has at most 63 signs. Where the environment's own has
    not, a piece of its checksum stands behind it, so that it cannot be another one's.
    """
    if _SERVICE.fullmatch(environment):
        return environment
    mark = Digest.of(environment.encode()).hex[:_MARK]
    return f"env-{environment[:_KEPT].rstrip('-')}-{mark}"


def secret_name(text: str) -> str:
    """Return ``text`` if a Secret can be called so; raise UsageError."""
    if not _SUBDOMAIN.fullmatch(text) or len(text) > _LONGEST_SUBDOMAIN:
        raise UsageError(
            f"--pull-secret {text!r} cannot be the name of a Secret",
            hint="lower-case letters, digits, '-' and '.', as `kubectl get secrets` lists them",
        )
    return text
