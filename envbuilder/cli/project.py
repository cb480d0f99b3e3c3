"""What a project or this machine says for all commands: ``envbuilder.toml``, then the environment.

The file lies beside the ``lockfiles/`` that commands find, in the folder that they run in or in one
above. Variables win.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from . import options

if TYPE_CHECKING:
    from envbuilder import RemoteSettings

FILE = "envbuilder.toml"


class _Store(Struct, frozen=True, forbid_unknown_fields=True):
    remote: str | None = None
    trust: tuple[str, ...] = ()


class _Project(Struct, frozen=True, forbid_unknown_fields=True):
    """The file: ``[store]`` with ``remote`` (HOST/NAME) and ``trust`` (public keys).

    Keys that are files are named from where it lies.
    """

    store: _Store = _Store()


def remote_settings(environ: Mapping[str, str] = os.environ) -> RemoteSettings | None:
    """Return where the team shares its layers; None if nothing says so.

    Raises UsageError for a file or a variable that does not fit.
    """
    folder = options.find_folder().parent
    written = _read(folder / FILE).store
    place = environ.get("ENVBUILDER_REMOTE_STORE") or written.remote
    if not place:
        return None
    from envbuilder.evidence.remote_layers import RemoteSettings
    from envbuilder.model.reference import ImageRef

    trust = environ.get("ENVBUILDER_REMOTE_STORE_TRUST", "")
    return RemoteSettings(
        place=ImageRef.parse(place),
        trust=tuple(filter(None, trust.split(",")))
        or tuple(_from(folder, key) for key in written.trust),
        key=environ.get("ENVBUILDER_REMOTE_STORE_KEY") or None,
    )


def _from(folder: Path, key: str) -> str:
    """Return what ``key`` names that a file in ``folder`` names."""
    from envbuilder.evidence.service_key import is_address

    return key if key.startswith("env://") or is_address(key) else str(folder / key)


def _read(file: Path) -> _Project:
    from envbuilder.model.codec import MisfitError, from_plain
    from envbuilder.model.errors import UsageError
    from envbuilder.model.toml_text import TomlError, parse_toml

    try:
        return from_plain(parse_toml(file.read_text("utf-8")), _Project)
    except FileNotFoundError:
        return _Project()
    except (MisfitError, TomlError, UnicodeDecodeError, OSError) as error:
        raise UsageError(
            f"{file} cannot be used: {error}",
            hint="docs/how-to/share-layers.md shows what may stand there",
        ) from error
