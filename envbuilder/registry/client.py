"""Registries by name: one connection pool and one login each, shared by all that a command does."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from envbuilder.model.reference import ImageRef
from envbuilder.net.config import Settings
from envbuilder.net.transport import Transport

from .auth import Authorizer
from .credentials import Credential, config_paths, find_credential
from .repository import Repository


class Client:
    """Open repositories; close it, or use it in ``with``. Safe to use from several threads."""

    def __init__(self, settings: Settings, *, docker_config: Path | Sequence[Path]) -> None:
        self._settings = settings
        self._configs = (docker_config,) if isinstance(docker_config, Path) else docker_config
        self._opened: dict[str, tuple[str, Transport]] = {}
        self._credentials: dict[tuple[str, str], Credential] = {}
        self._logins: dict[tuple[str, Credential], Authorizer] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Make a client with this machine's proxies, certificates and logins."""
        return cls(Settings.from_environment(environ), docker_config=config_paths(environ))

    def repository(self, ref: ImageRef) -> Repository:
        """Open the repository that ``ref`` names; nothing of it is asked yet."""
        with self._lock:
            if ref.registry not in self._opened:
                transport = Transport(ref.registry, self._settings)
                self._opened[ref.registry] = self._settings.base_url(ref.registry), transport
            base_url, transport = self._opened[ref.registry]
            login = self._login(ref, transport)
        return Repository(
            registry=ref.registry,
            name=ref.repository,
            base_url=base_url,
            transport=transport,
            login=login,
        )

    def _login(self, ref: ImageRef, transport: Transport) -> Authorizer:
        """Return the login for a repository, which it may share with others of its registry."""
        place = (ref.registry, ref.repository)
        if place not in self._credentials:  # a helper is a program, and takes its time
            self._credentials[place] = find_credential(ref.registry, self._configs, ref.repository)
        key = (ref.registry, self._credentials[place])
        if key not in self._logins:
            self._logins[key] = Authorizer(transport, ref.registry, key[1])
        return self._logins[key]

    def close(self) -> None:
        """Close all connections."""
        for _, transport in self._opened.values():
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
