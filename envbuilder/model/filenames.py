"""File names of wheels and sdists as indexes list them: read as `packaging` does, but in bounds.

A name of 4 kB can state 27 million tags, and a version of 5,000 digits raises what nobody expects.
"""

from __future__ import annotations

from packaging import utils
from packaging.tags import Tag
from packaging.utils import BuildTag, InvalidSdistFilename, InvalidWheelFilename, NormalizedName
from packaging.version import Version

LONGEST = 255
"""Characters of a name; file systems take no more bytes."""


def parse_wheel_filename(
    filename: str,
) -> tuple[NormalizedName, Version, BuildTag, frozenset[Tag]]:
    """Return name, version, build and tags; raise InvalidWheelFilename for what is no wheel's."""
    if len(filename) > LONGEST:
        raise InvalidWheelFilename(f"a file name of {len(filename)} characters")
    try:
        return utils.parse_wheel_filename(filename)
    except InvalidWheelFilename:
        raise
    except ValueError as error:
        raise InvalidWheelFilename(str(error)) from error


def parse_sdist_filename(filename: str) -> tuple[NormalizedName, Version]:
    """Return name and version; raise InvalidSdistFilename for what is no sdist's."""
    if len(filename) > LONGEST:
        raise InvalidSdistFilename(f"a file name of {len(filename)} characters")
    return utils.parse_sdist_filename(filename)
