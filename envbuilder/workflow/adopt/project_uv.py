"""What [tool.uv] of a pyproject.toml says: indexes, overrides, and keys that no spec has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from .requirements import IDLE, REASONS, index_statement, requirement_statement
from .statements import At, Setting, Statement, left, taken

_STRATEGIES = {"first-index": "first-index", "unsafe-best-match": "best-match"}
_OF_UV_ITSELF = {  # how uv works, and what is read elsewhere: nothing of what is installed
    "allow-insecure-host", "audit", "build-backend", "cache-dir", "cache-keys", "check-url",
    "compile-bytecode", "concurrent-builds", "concurrent-downloads", "concurrent-installs",
    "default-groups", "dev-dependencies", "http-proxy", "https-proxy", "keyring-provider",
    "link-mode", "managed", "native-tls", "no-cache", "no-progress", "no-proxy", "offline",
    "package", "preview", "preview-features", "publish-url", "pypy-install-mirror",
    "python-downloads", "python-downloads-json-url", "python-install-mirror", "python-preference",
    "reinstall", "reinstall-package", "required-version", "sources", "system-certs",
    "trusted-publishing", "upgrade", "upgrade-package", "workspace",
}  # fmt: skip
_READ = {
    "index", "override-dependencies", "constraint-dependencies", "index-strategy", "index-url",
    "extra-index-url", "exclude-newer",
}  # fmt: skip


class Index(Struct, frozen=True, kw_only=True):
    """One index of [[tool.uv.index]]; ``explicit``: only for those that name it."""

    url: str
    name: str | None = None
    default: bool = False
    explicit: bool = False
    format: str = "simple"


class Uv(Struct, frozen=True, kw_only=True, rename="kebab"):
    """The keys of [tool.uv] that are read."""

    index: tuple[Index, ...] = ()
    sources: dict[str, Any] = {}
    package: bool | None = None
    dev_dependencies: tuple[str, ...] = ()
    default_groups: str | tuple[str, ...] | None = None
    override_dependencies: tuple[str, ...] = ()
    constraint_dependencies: tuple[str, ...] = ()
    index_strategy: str | None = None
    index_url: str | None = None
    extra_index_url: tuple[str, ...] = ()
    exclude_newer: str | None = None


def uv_statements(path: Path, uv: Uv, table: Mapping[str, Any]) -> Iterator[Statement]:
    """Read [tool.uv] of the file at ``path``; ``table`` is all of it, ``uv`` what is known."""
    yield from _indexes(path.name, uv)
    for line in uv.override_dependencies:
        at = At(place=path.name, text=f"override {line}")
        yield requirement_statement(at, line, folder=path.parent, role="overrides")
    for line in uv.constraint_dependencies:
        at = At(place=path.name, text=f"constraint {line}")
        yield requirement_statement(at, line, folder=path.parent, role="constraints")
    yield from _ways(path.name, uv)
    for key, value in table.items():
        if key not in _READ | _OF_UV_ITSELF and value not in (False, [], {}):
            yield _unread(At(place=path.name, text=f"tool.uv.{key}"), key)


def _indexes(place: str, uv: Uv) -> Iterator[Statement]:
    for index in uv.index:
        at = At(place=place, text=f"tool.uv.index {index.url}")
        if index.format != "simple":
            yield left(at, REASONS["--find-links"])
        elif not index.explicit:
            option = "--index-url" if index.default else "--extra-index-url"
            yield index_statement(at, option, index.url)
    if uv.index_url is not None:
        at = At(place=place, text="tool.uv.index-url")
        yield index_statement(at, "--index-url", uv.index_url)
    for url in uv.extra_index_url:
        at = At(place=place, text=f"tool.uv.extra-index-url {url}")
        yield index_statement(at, "--extra-index-url", url)


def _ways(place: str, uv: Uv) -> Iterator[Statement]:
    if uv.exclude_newer is not None:
        at = At(place=place, text=f"tool.uv.exclude-newer = {uv.exclude_newer!r}")
        yield taken(at, Setting(path=("index", "exclude_newer"), value=uv.exclude_newer))
    if uv.index_strategy is not None:
        at = At(place=place, text=f"tool.uv.index-strategy = {uv.index_strategy!r}")
        yield strategy_statement(at, uv.index_strategy)


def strategy_statement(at: At, name: str) -> Statement:
    """Read how uv chooses among indexes: ``--index-strategy`` and its kin."""
    if name not in _STRATEGIES:
        return left(at, "index.strategy knows best-match and first-index")
    return taken(at, Setting(path=("index", "strategy"), value=_STRATEGIES[name]))


def _unread(at: At, key: str) -> Statement:
    option = f"--{key}"
    if option in IDLE:
        return taken(at, note=IDLE[option])
    return left(at, REASONS.get(option, f"{key} of [tool.uv] has no key in a spec"))
