"""Which version a wheel is: that of its metadata, which may say less than its file name."""

from __future__ import annotations

from dataclasses import replace

from packaging.version import Version

from envbuilder.layers.seekable import seekable
from envbuilder.layers.wheel_metadata import read_metadata
from envbuilder.model.errors import BuildError, ResolutionError
from envbuilder.model.filenames import parse_wheel_filename
from envbuilder.model.lock import Wheel

from .download import IndexClient, RefusedError

_WHOLE = 200  # the status of a server that knows no parts of files


def agreed_version(filename: str, stated: str) -> str:
    """Return the version that a wheel's metadata states, which is what will be installed.

    Its file name may add a local part (``2.8.3+cu12torch2.8``), as compiled packages do that come
    in variants. Raises ResolutionError for any other difference.
    """
    named = parse_wheel_filename(filename)[1]
    try:
        version = Version(stated)
    except ValueError as error:
        raise ResolutionError(f"{filename} states the version {stated!r}, which is none") from error
    if version not in {named, Version(named.public)}:
        raise ResolutionError(f"{filename} holds version {version}: its name or its metadata lies")
    return str(version)


def as_stated(indexes: IndexClient, wheel: Wheel, url: str) -> Wheel:
    """Return the ``wheel`` at ``url`` with the version that its metadata states.

    Only a local part in the file name can be more than that: uv itself refuses other differences.
    If the server does not serve parts of a file, the name's word counts.
    """
    if "+" not in wheel.version:
        return wheel
    try:
        with seekable(wheel.size, lambda at, size: indexes.read_range(url, at, size)) as file:
            headers = read_metadata(file, wheel.filename)
    except RefusedError as error:
        if error.status != _WHOLE:
            raise
        return wheel
    except BuildError as error:
        raise ResolutionError(error.message) from error
    stated = str(headers.get("Version") or "")
    return replace(wheel, version=agreed_version(wheel.filename, stated))
