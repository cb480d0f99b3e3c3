"""Registries by name: one connection pool and one login each, shared by all that a command does."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from envbuilder.model.reference import ImageRef
from envbuilder.net.config import Settings
from envbuilder.net.transport import Transport

from .auth import Authorizer
from .credentials import config_path, find_credential
from .repository import Repository


class Client:
    """Open repositories; close it, or use it in ``with``. Safe to use from several threads."""

    def __init__(self, settings: Settings, *, docker_config: Path) -> None:
        self._settings = settings
        self._docker_config = docker_config
        self._opened: dict[str, tuple[str, Transport, Authorizer]] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Make a client with this machine's proxies, certificates and Docker logins."""
        return cls(Settings.from_environment(environ), docker_config=config_path(environ))

    def repository(self, ref: ImageRef) -> Repository:
        """Open the repository that ``ref`` names; nothing of it is asked yet."""
        with self._lock:
            if ref.registry not in self._opened:
                self._opened[ref.registry] = self._open(ref.registry)
            base_url, transport, login = self._opened[ref.registry]
        return Repository(
            registry=ref.registry,
            name=ref.repository,
            base_url=base_url,
            transport=transport,
            login=login,
        )

    def _open(self, registry: str) -> tuple[str, Transport, Authorizer]:
        transport = Transport(registry, self._settings)
        credential = find_credential(registry, self._docker_config)
        login = Authorizer(transport, registry, credential)
        return self._settings.base_url(registry), transport, login

    def close(self) -> None:
        """Close all connections."""
        for _, transport, _ in self._opened.values():
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
