"""Names of wheels and sdists that ask for more than honest ones do."""

import pytest
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename
from packaging.version import Version

from envbuilder.model.filenames import parse_sdist_filename, parse_wheel_filename

TAGS = ".".join(f"p{number}" for number in range(300))


@pytest.mark.parametrize(
    "name",
    [
        f"a-1-{TAGS}-{TAGS}-{TAGS}.whl",
        f"a-{'1' * 5000}-py3-none-any.whl",
        "a-1.whl",
        "a-x-b-c-d.whl",
    ],
)
def test_a_wheel_that_is_none(name):
    with pytest.raises(InvalidWheelFilename):
        parse_wheel_filename(name)


@pytest.mark.parametrize("name", [f"a-{'1' * 5000}.tar.gz", "a.tar.gz", "a-x.zip"])
def test_an_sdist_that_is_none(name):
    with pytest.raises(InvalidSdistFilename):
        parse_sdist_filename(name)


def test_what_is_one():
    name, version, build, tags = parse_wheel_filename("Foo_bar-1.0-2-py2.py3-none-any.whl")
    assert (name, version, build) == ("foo-bar", Version("1.0"), (2, ""))
    assert sorted(map(str, tags)) == ["py2-none-any", "py3-none-any"]
    assert parse_sdist_filename("Foo_bar-1.0.tar.gz") == ("foo-bar", Version("1.0"))
