"""Which package indexes this machine uses, said in uv's words.

uv reads its own configuration by itself. What pip was told (``PIP_*`` variables and ``pip.conf``)
is translated here, where uv was told nothing, so that one machine needs one configuration. A spec
may add indexes; credentials come from the machine only.
"""

from __future__ import annotations

import configparser
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envbuilder.spec import Index

_UV_SAYS = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX")
_LISTS = {"extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS"}
_SINGLE = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE", "no-index": "UV_NO_INDEX"}
_SYSTEM_FILES = (Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"))


def uv_environment(index: Index, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Give the environment in which uv sees the machine's indexes, then the spec's.

    Where pip's settings are taken over, so is pip's rule that the best version of all indexes
    wins; uv by itself stops at the first index that has the package.
    """
    result = dict(environ)
    if not any(name in environ for name in _UV_SAYS):
        translated = _from_pip(environ)
        if "UV_INDEX" in translated:
            result.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
        for name, value in translated.items():
            result.setdefault(name, value)
    if index.url is not None:
        result["UV_DEFAULT_INDEX"] = index.url
    if index.extra_urls:
        known = result.get("UV_INDEX", "").split()
        result["UV_INDEX"] = " ".join([*index.extra_urls, *known])
    return result


def _from_pip(environ: Mapping[str, str]) -> dict[str, str]:
    settings = _pip_settings(environ)
    found = {uv: settings[pip] for pip, uv in _SINGLE.items() if settings.get(pip)}
    for pip, uv in _LISTS.items():
        if settings.get(pip):
            separator = " " if uv == "UV_INDEX" else ","
            found[uv] = separator.join(shlex.split(settings[pip]))
    return found


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Read pip's settings: files first, each overriding those before it, then variables."""
    settings: dict[str, str] = {}
    for path in _pip_files(environ):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue  # pip itself says what is wrong with its file; for us it says nothing
        if parser.has_section("global"):
            settings |= dict(parser.items("global"))
    for name in (*_LISTS, *_SINGLE):
        value = environ.get("PIP_" + name.upper().replace("-", "_"))
        if value is not None:
            settings[name] = value
    return settings


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    asked = environ.get("PIP_CONFIG_FILE")
    if asked == os.devnull:
        return []
    home = Path(environ.get("HOME", "/nonexistent"))
    config = Path(environ.get("XDG_CONFIG_HOME", home / ".config"))
    files = [*_SYSTEM_FILES, home / ".pip/pip.conf", config / "pip/pip.conf"]
    return [*files, Path(asked)] if asked else files
