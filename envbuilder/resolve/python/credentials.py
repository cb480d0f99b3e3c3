"""Who we are to a package index: what uv would send there, for the requests that are ours.

In this order: the login in the address itself; that of the machine's index on the same server whose
address is nearest, by ``UV_INDEX_NAME_USERNAME`` and ``_PASSWORD`` or in its URL; netrc; and, where
uv was told to ask it, the keyring, for the user that the index names.
"""

from __future__ import annotations

import netrc
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from os.path import commonpath
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envbuilder.model.errors import NetworkError
from envbuilder.net.messages import origin, place

from .indexes import known_indexes, uv_tables

LOG_IN = (
    "log in (UV_INDEX_NAME_USERNAME and _PASSWORD, netrc, or the index URL in uv's or pip's "
    "configuration), or use another mirror"
)
"""The hint where a server refuses."""

Login = tuple[str, str]
"""User and password."""


def in_keyring(service: str, user: str) -> str:
    """Ask the keyring, which may open a window; empty if it knows nothing."""
    done = subprocess.run(
        ["keyring", "get", service, user],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.stdout.rstrip("\n") if done.returncode == 0 else ""


def find_login(
    url: str,
    environment: Mapping[str, str],
    *,
    password: Callable[[str, str], str] = in_keyring,
) -> Login | None:
    """Find the login for ``url`` in what ``environment`` (of uv_environment) and its files say.

    ``password`` asks the keyring by service and user.
    Raises NetworkError if netrc cannot be read.
    """
    if (own := _login_in(url)) is not None:
        return own
    near = list(_near(url, environment))
    for _, login in near:
        if login[1]:
            return login
    host = urlsplit(url).hostname or ""
    if (found := _in_netrc(host, environment)) is not None:
        return found
    if _asks_keyring(environment):
        for index, (user, _) in near:
            for service in (place(index), urlsplit(index).netloc.rpartition("@")[2]):
                if found_there := password(service, user):
                    return user, found_there
    return near[0][1] if near else None  # a token alone may stand for the user


def _near(url: str, environment: Mapping[str, str]) -> Iterator[tuple[str, Login]]:
    """List the indexes on the server of ``url`` that have a login, the nearest path first."""
    same = [each for each in known_indexes(environment) if origin(each[1]) == origin(url)]

    def shared(each: tuple[str, str]) -> int:
        return len(commonpath(urlsplit(one).path or "/" for one in (each[1], url)))

    for name, index in sorted(same, key=shared, reverse=True):
        prefix = f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}"
        told = environment.get(f"{prefix}_USERNAME"), environment.get(f"{prefix}_PASSWORD")
        if name and any(told):
            yield index, (told[0] or "", told[1] or "")
        elif (login := _login_in(index)) is not None:
            yield index, login


def _login_in(url: str) -> Login | None:
    parts = urlsplit(url)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _in_netrc(host: str, environment: Mapping[str, str]) -> Login | None:
    path = Path(environment.get("NETRC") or "~/.netrc").expanduser()
    if not path.is_file():
        return None
    try:
        found = netrc.netrc(path).authenticators(host)
    except netrc.NetrcParseError as error:
        raise NetworkError(f"cannot read {path}: {error.msg} (line {error.lineno})") from error
    return (found[0], found[2] or "") if found else None


def _asks_keyring(environment: Mapping[str, str]) -> bool:
    told = [environment.get("UV_KEYRING_PROVIDER")]
    told += [table.get("keyring-provider") for table in uv_tables(environment)]
    return "subprocess" in told and shutil.which("keyring") is not None
