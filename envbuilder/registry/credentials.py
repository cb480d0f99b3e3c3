"""Who we are to a registry: what ``docker login`` or ``podman login`` left, or a helper knows.

Source: Docker's ``config.json`` (``auths``, ``credHelpers``, ``credsStore``), the
docker-credential-helpers protocol, and containers-auth.json(5), whose keys may name a part of a
registry. Secrets are kept out of ``repr``.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from envbuilder.model.codec import any_json
from envbuilder.model.errors import MissingToolError, NetworkError
from envbuilder.model.reference import DEFAULT_REGISTRY

_DOCKER_HUB = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset({DEFAULT_REGISTRY, "index.docker.io", "registry-1.docker.io"})
_API = re.compile(r"/v[12]/")  # which docker login once wrote behind a host
_HELPER = re.compile(r"[A-Za-z0-9_.-]+")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_HELPER_SECONDS = 60
_NOT_FOUND = "credentials not found"  # the protocol's only sign of "I know none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One login: user and password, or an identity token, or a ready registry token."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.username or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str:
        """The value of an Authorization header by the Basic scheme (RFC 7617)."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must not be shown."""
        encoded = self.basic.removeprefix("Basic ") if self.username else ""
        every = (self.password, self.identity_token, self.registry_token, encoded)
        return tuple(text for text in every if text)


ANONYMOUS = Credential()


def is_token(text: object) -> bool:
    """Return whether ``text`` can be sent as a token: printable ASCII, without a space."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def config_paths(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return the files that logins are looked for in, the first before the others.

    $REGISTRY_AUTH_FILE alone, if it is set; else Docker's ``config.json`` in $DOCKER_CONFIG or
    ``~/.docker``, and Podman's ``auth.json`` in $XDG_RUNTIME_DIR and $XDG_CONFIG_HOME.
    """
    if named := environ.get("REGISTRY_AUTH_FILE"):
        return (Path(named),)
    docker = environ.get("DOCKER_CONFIG")
    found = [(Path(docker) if docker else Path.home() / ".docker") / "config.json"]
    if running := environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(running) / "containers" / "auth.json")
    kept = environ.get("XDG_CONFIG_HOME")
    found.append((Path(kept) if kept else Path.home() / ".config") / "containers" / "auth.json")
    return tuple(found)


def find_credential(registry: str, configs: Iterable[Path], repository: str = "") -> Credential:
    """Find the login for ``registry`` (HOST[:PORT]); ANONYMOUS if there is none.

    In each file a helper named for the registry comes before the general one, and that before the
    file's own; of its keys the one that names most of ``repository`` wins. Raises NetworkError for
    a config that cannot be read, MissingToolError for a helper that cannot be run.
    """
    return next(filter(None, (_find(registry, each, repository) for each in configs)), ANONYMOUS)


def _find(registry: str, config: Path, repository: str) -> Credential:
    content = _read_config(config)
    helper = _entry_for(registry, content.get("credHelpers") or {}) or content.get("credsStore")
    if helper:
        found = _ask_helper(str(helper), _server_name(registry), config)
        if found:
            return found
    entries = content.get("auths") or {}
    for scope in _scopes(registry, repository):
        entry = _entry_for(scope, entries)
        if isinstance(entry, dict):
            return _parse_entry(entry, registry, config)
    return ANONYMOUS


def _entry_for(scope: str, entries: Mapping[str, Any]) -> object:
    """Return the entry of ``scope``, of several spellings that of the one that is written today."""
    fitting = (key for key in entries if _scope_of(key) == scope)
    key = min(fitting, key=lambda each: each != _server_name(scope), default=None)
    return None if key is None else entries[key]


def _scopes(registry: str, repository: str) -> Iterator[str]:
    """Name what a key may stand for, from the whole repository down to its registry."""
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        yield "/".join([registry, *parts[:count]])
    yield registry


def _read_config(config: Path) -> dict[str, Any]:
    try:
        content = any_json(config.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise NetworkError(
            f"cannot read {config}: {type(error).__name__}",
            hint="mend the file, or log in anew with docker login",
        ) from None  # a JSON error quotes the document, and the document holds passwords
    sections = ("auths", "credHelpers")
    if not isinstance(content, dict) or any(
        not isinstance(content.get(name), dict | None) for name in sections
    ):
        raise NetworkError(f"{config} is not a Docker configuration: expected JSON objects")
    return content


def _server_name(registry: str) -> str:
    return _DOCKER_HUB if registry == DEFAULT_REGISTRY else registry


def _scope_of(key: str) -> str:
    """Return what a key is for: HOST (``https://HOST/v1/`` too) or, of it, HOST/PART alone."""
    try:
        parts = urlsplit(key if "://" in key else f"//{key}")
    except ValueError:  # no address, so no registry's
        return ""
    host = DEFAULT_REGISTRY if parts.netloc in _HUB_HOSTS else parts.netloc
    return host if _API.fullmatch(parts.path) else host + parts.path.rstrip("/")


def _parse_entry(entry: dict[str, Any], registry: str, config: Path) -> Credential:
    names = ("username", "password", "auth", "identitytoken", "registrytoken")
    username, password, auth, identity, token = (str(entry.get(name) or "") for name in names)
    damaged = NetworkError(
        f"{config} holds a damaged login for {registry}", hint=f"docker login {registry}"
    )
    if auth:
        try:
            pair = base64.b64decode(auth, validate=True).decode()
        except ValueError:
            raise damaged from None  # the error would quote the password
        username, _, password = pair.partition(":")
    if token and not is_token(token):
        raise damaged
    return Credential(
        username=username,
        password=password.rstrip("\0"),
        identity_token=identity,
        registry_token=token,
    )


def _ask_helper(helper: str, server: str, config: Path) -> Credential:
    if not _HELPER.fullmatch(helper):
        raise NetworkError(f"{config} names {helper!r}, which is no credential helper")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except OSError as error:
        state = "is not installed" if isinstance(error, FileNotFoundError) else "cannot be run"
        raise MissingToolError(
            f"{program}, which {config} names, {state}: {error.strerror}",
            hint=f"install {program}, or remove it from {config}",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise NetworkError(f"{program} gave no answer in {_HELPER_SECONDS} seconds") from error
    if done.returncode != 0:
        if _NOT_FOUND in done.stdout.decode(errors="replace").lower():
            return ANONYMOUS
        raise NetworkError(
            f"{program} failed for {server} (status {done.returncode})",
            hint=f"try: echo {server} | {program} get",
        )
    return _parse_helper(done.stdout, program)


def _parse_helper(output: bytes, program: str) -> Credential:
    try:
        answer = any_json(output)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NetworkError(f"{program} gave no login that we can read") from None  # as above
    if username == "<token>":
        return Credential(identity_token=secret)
    return Credential(username=username, password=secret)
