"""Which package indexes this machine uses, said in uv's words.

uv reads its own configuration by itself. What pip was told (``PIP_*`` variables and ``pip.conf``)
is translated here, where uv was told nothing, so that one machine needs one configuration. A spec
may add indexes; credentials come from the machine only.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeGuard

from packaging.utils import canonicalize_name

from envbuilder.model.package_spec import ChosenIndex, Index
from envbuilder.model.toml_text import parse_toml

# Where packages are and how to get there. All else that uv can be told by variables (constraints,
# a date, a strategy for versions) would make a lock depend on the machine that wrote it.
_OURS = re.compile(
    r"UV_((DEFAULT_)?INDEX|(EXTRA_)?INDEX_URL|INDEX_\w+_(USERNAME|PASSWORD)"
    r"|FIND_LINKS|KEYRING_PROVIDER|CREDENTIALS_DIR|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS"
    r"|HTTP_\w+|REQUEST_TIMEOUT|CONCURRENT_\w+|OFFLINE|CACHE_DIR|NO_CACHE|CONFIG_FILE|NO_CONFIG)"
)
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
_KEYS = ("index", "index-url", "extra-index-url", "no-index")
_NAMED = re.compile(r"[\w.-]+=")
_LISTS = {"extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}
_CONNECTION = {"cert": ("SSL_CERT_FILE",), "proxy": ("HTTP_PROXY", "HTTPS_PROXY")}
_PIP_KEYS = ("index-url", "no-index", *_LISTS, *_CONNECTION)
_ETC = Path("/etc")
_STRATEGIES = {"best-match": "unsafe-best-match", "first-index": "first-index"}


def uv_environment(index: Index, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment in which uv sees the machine's indexes, then the spec's.

    ``PIP_NO_INDEX`` stays in it where it counts: uv has no such variable, but a flag
    (:func:`index_flags`).
    """
    result = {
        name: value
        for name, value in environ.items()
        if name != "PIP_NO_INDEX" and (not name.startswith("UV_") or _OURS.fullmatch(name))
    }
    pip = _pip_settings(environ)
    translated = _connection(pip, environ)
    if not _told(environ):
        translated |= _indexes(pip)
    for name, value in translated.items():
        result.setdefault(name, value)
    if index.url is not None:
        result["UV_DEFAULT_INDEX"] = index.url
    if index.extra_urls:
        known = result.get("UV_INDEX", "").split()
        result["UV_INDEX"] = " ".join([*index.extra_urls, *known])
    return result


def index_flags(index: Index, environment: Mapping[str, str]) -> list[str]:
    """Return uv's flags for what no variable in ``environment`` (of uv_environment) can say."""
    flags = ["--no-config"] if index.url is not None else []
    return [*flags, "--no-index"] if "PIP_NO_INDEX" in environment else flags


def choice_flags(index: Index) -> list[str]:
    """Return uv's flags for which versions count: the spec's to say, whatever uv's files have."""
    flags = ["--index-strategy", _STRATEGIES[index.strategy]]
    return [*flags, "--resolution", "highest", "--prerelease", "if-necessary-or-explicit"]


def visible_until(index: Index) -> datetime | None:
    """Return the moment from which on ``index.exclude_newer`` hides what was uploaded.

    A date counts with its whole day, in UTC: uv by itself would take this machine's time zone.
    """
    if index.exclude_newer is None:
        return None
    moment = datetime.fromisoformat(index.exclude_newer)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC) + timedelta(days=1)


def exempted(index: Index) -> list[str]:
    """List the packages to which ``index.exclude_newer`` does not apply, by canonical name."""
    names: set[str] = {canonicalize_name(each) for each in index.exempt if each not in index.named}
    if isinstance(index, ChosenIndex):
        names |= {name for name, of in index.chosen.items() if of in index.exempt}
    return sorted(names)


def known_indexes(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """List the machine's indexes: name, empty if it has none, and URL, login included.

    ``environment`` is that of :func:`uv_environment`.
    """
    for variable in _INDEXES:
        for word in environment.get(variable, "").split():
            name, _, url = word.partition("=") if _NAMED.match(word) else ("", "", word)
            yield name, url
    for table in uv_tables(environment):
        for entry in filter(_is_table, _list(table, "index")):
            yield str(entry.get("name", "")), str(entry.get("url", ""))
        for url in (table.get("index-url"), *_list(table, "extra-index-url")):
            if isinstance(url, str):
                yield "", url


def uv_tables(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Read uv's own files: the settings of each, and those that it has for ``uv pip``."""
    tables: list[dict[str, Any]] = []
    for path in _uv_files(environ):
        try:
            table = parse_toml(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # uv itself says what is wrong with its file; for us it says nothing
        tables += [each for each in (table, table.get("pip")) if _is_table(each)]
    return tables


def _is_table(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _list(table: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list of uv's file; an empty one if it is none, of which uv itself speaks."""
    found = table.get(key)
    return found if isinstance(found, list) else []


def _uv_files(environ: Mapping[str, str]) -> list[Path]:
    if asked := environ.get("UV_CONFIG_FILE"):
        return [Path(asked)]
    if environ.get("UV_NO_CONFIG"):
        return []
    return [folder / "uv/uv.toml" for folder in (_config(environ), _ETC / "xdg", _ETC)]


def _told(environ: Mapping[str, str]) -> bool:
    """Return whether uv itself was told where packages are."""
    return any(environ.get(name) for name in _INDEXES) or any(
        key in table for table in uv_tables(environ) for key in _KEYS
    )


def _indexes(pip: Mapping[str, str]) -> dict[str, str]:
    found = {}
    if pip.get("index-url"):
        found["UV_DEFAULT_INDEX"] = pip["index-url"]
    if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        found["PIP_NO_INDEX"] = "1"
    for key, name in _LISTS.items():
        if pip.get(key):
            separator = " " if name == "UV_INDEX" else ","
            found[name] = separator.join(shlex.split(pip[key]))
    return found


def _connection(pip: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: pip[key]
        for key, names in _CONNECTION.items()
        for name in names
        if pip.get(key) and not environ.get(name.lower())
    }


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Read pip's settings: files first, each overriding those before it, then variables."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip itself says what is wrong with its file; for us it says nothing
        for name in filter(parser.has_section, sections):
            sections[name] |= dict(parser.items(name))
    settings = sections["global"] | sections["install"]
    for name in _PIP_KEYS:
        value = environ.get("PIP_" + name.upper().replace("-", "_"))
        if value is not None:
            settings[name] = value
    return settings


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    asked = environ.get("PIP_CONFIG_FILE")
    if asked == os.devnull:
        return []
    home = Path(environ.get("HOME", "/nonexistent"))
    machine = [_ETC / "xdg/pip/pip.conf", _ETC / "pip.conf"]
    user = [home / ".pip/pip.conf", _config(environ) / "pip/pip.conf"]
    return [*machine, *user, *([Path(asked)] if asked else [])]


def _config(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("HOME", "/nonexistent"))
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
