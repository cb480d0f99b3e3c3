"""Recognise a build that failed since it asked the network, which no build has.

What programs say then differs, and is never the last line: git, curl, pip, cargo and Python each
have words of their own for a name that does not resolve or a server out of reach.
"""

from __future__ import annotations

import re

_OUT_OF_REACH = re.compile(
    r"could not resolve (host|proxy|hostname)|temporary failure in name resolution"
    r"|name or service not known|no address associated with hostname|nodename nor servname"
    r"|network is unreachable|failed to (connect|download|lookup address)|getaddrinfo"
    r"|couldn'?t connect to server|failed to establish a new connection|no route to host"
    r"|lookup \S+ on \S+:53|urlopen error|connection refused",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?:https?|git|ssh|ftp)://[^\s'\"`<>()\]]+[^\s'\"`<>()\].,:;]")
_HOST = re.compile(r"could not resolve host(?:name)?:? ['\"]?([\w.-]+\w)", re.IGNORECASE)
_AROUND = 12  # lines in which a program names the address, before it says that it is out of reach


def wanted_address(log: str) -> str | None:
    """Return the address that a build wanted in vain, "" if it did not say which, else None."""
    lines = log.splitlines()
    at = next((n for n, line in enumerate(lines) if _OUT_OF_REACH.search(line)), None)
    if at is None:
        return None
    near = [lines[at], *reversed(lines[max(0, at - _AROUND) : at]), *lines[at + 1 : at + _AROUND]]
    found = (match[0] for line in near if (match := _ADDRESS.search(line)))
    host = _HOST.search(lines[at])
    return next(found, host[1] if host else "")


def explain(log: str) -> tuple[str, str] | None:
    """Return a message and a hint for a build that ended with ``log``, if it wanted the network."""
    address = wanted_address(log)
    if address is None:
        return None
    wanted = f"; it wanted {address}" if address else ""
    place = address if "://" in address else "https://…"
    return (
        f"builds have no network{wanted}",
        "lock what it fetches, in the package's build: "
        f"{{sources: {{NAME: {{git: {place}, tag: …}}}}}}, and hand it over by a variable, "
        'env: {VARIABLE: "{sources.NAME}"}, or by fetchcontent: NAME for CMake\'s FetchContent; '
        "packages go into requires",
    )
