"""What a source may say of itself."""

import zipfile
from pathlib import Path

import pytest

from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.errors import BuildError, ResolutionError
from envbuilder.resolve.git.ask import metadata_in

NAME = "x-1-py3-none-any.whl"
HEAD = "Metadata-Version: 2.1\nName: x\nVersion: 1\n"


def metadata(tmp_path: Path, text: str) -> object:
    with zipfile.ZipFile(tmp_path / NAME, "w") as out:
        out.writestr("x-1.dist-info/METADATA", text)
        out.writestr("x-1.dist-info/RECORD", "")
    with WheelFile.open(tmp_path / NAME, NAME) as wheel:
        return metadata_in(wheel)


def test_requirements_are_read(tmp_path):
    found = metadata(tmp_path, f"{HEAD}Requires-Dist: torch>=2; extra == 'gpu'\n")
    assert found == {
        "metadata_version": "2.1",
        "name": "x",
        "version": "1",
        "requires_dist": ["torch>=2; extra == 'gpu'"],
    }


def test_a_requirement_of_two_lines_is_refused(tmp_path):
    with pytest.raises(ResolutionError, match="cannot be read"):
        metadata(tmp_path, f"{HEAD}Requires-Dist: x; extra == 'a\n -r /etc/passwd'\n")


@pytest.mark.parametrize("text", ["", "Name: x\n", "Version: 1\n"])
def test_metadata_without_a_name_or_a_version(tmp_path, text):
    with pytest.raises(BuildError, match="without a name or a version"):
        metadata(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Name: x\nVersion: one\n", BuildError),
        (f"{HEAD}Requires-Dist: not a requirement!\n", ResolutionError),
    ],
)
def test_metadata_that_cannot_be_read(tmp_path, text, error):
    with pytest.raises(error):
        metadata(tmp_path, text)
