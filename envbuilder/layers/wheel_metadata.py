"""The core metadata of a wheel (PEP 566), read out of the file, in bounds, without unpacking it."""

from __future__ import annotations

import zipfile
from email.message import Message
from email.parser import BytesHeaderParser
from typing import BinaryIO

from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from .wheel_reconstruction import has_wheel, open_wheel
from .zip_member import ZIP_DAMAGES, read_member

_LONGEST = 4 << 20  # bytes; the longest README in a METADATA has a tenth


def read_metadata(file: BinaryIO, name: str) -> Message:
    """Return the headers of the METADATA in a wheel that messages call ``name``.

    Raises BuildError for what is no wheel.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            path = next(
                each
                for each in archive.namelist()
                if each.endswith(".dist-info/METADATA") and each.count("/") == 1
            )
            return BytesHeaderParser().parsebytes(read_member(archive, path, limit=_LONGEST))
    except StopIteration as error:
        raise BuildError(f"{name} is not a wheel: no METADATA") from error
    except ZIP_DAMAGES as error:
        raise BuildError(f"{name} is not a wheel: {error}") from error


def stored_metadata(store: Store, wheel: Digest) -> Message | None:
    """Return the headers of a wheel in the store, as a blob or in a layer; None if it is not there.

    Raises BuildError if it is damaged.
    """
    if not has_wheel(store, wheel):
        return None
    with open_wheel(store, wheel) as file:
        return read_metadata(file, str(wheel))
