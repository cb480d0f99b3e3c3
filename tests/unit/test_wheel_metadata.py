"""Metadata that is read out of a wheel alone: bounded, and damage has one error."""

import io
import zipfile

import pytest

from envbuilder.layers.wheel_metadata import read_metadata
from envbuilder.model.errors import BuildError

NAME = "x-1.dist-info/METADATA"
TEXT = b"Metadata-Version: 2.1\nName: x\nVersion: 1\n\n"


def wheel(content=TEXT, name=NAME, packing=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def spoilt(data, method):
    """Let both headers of the only member state another packing."""
    local, central = data.index(b"PK\x03\x04") + 8, data.index(b"PK\x01\x02") + 10
    for at in (local, central):
        data = data[:at] + method.to_bytes(2, "little") + data[at + 2 :]
    return data


def test_what_it_says_is_read():
    assert read_metadata(io.BytesIO(wheel()), "x.whl")["Version"] == "1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        wheel(name="METADATA"),
        wheel(TEXT + bytes(5 << 20)),
        wheel(TEXT + bytes(5 << 20), packing=zipfile.ZIP_BZIP2),
        wheel(TEXT + bytes(5 << 20), packing=zipfile.ZIP_LZMA),
        spoilt(wheel(packing=zipfile.ZIP_STORED), zipfile.ZIP_DEFLATED),
        spoilt(wheel(packing=zipfile.ZIP_STORED), zipfile.ZIP_LZMA),
        spoilt(wheel(packing=zipfile.ZIP_STORED), 99),
    ],
)
def test_what_is_no_wheel_or_a_hostile_one(data):
    with pytest.raises(BuildError, match=r"x\.whl is not a wheel"):
        read_metadata(io.BytesIO(data), "x.whl")


def test_one_that_is_encrypted():
    data = wheel(packing=zipfile.ZIP_STORED)
    local, central = data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8
    for at in (local, central):
        data = data[:at] + b"\1\0" + data[at + 2 :]
    with pytest.raises(BuildError, match="is not a wheel"):
        read_metadata(io.BytesIO(data), "x.whl")
