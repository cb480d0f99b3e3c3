"""The rendered folders, byte for byte; ``make golden`` writes them anew."""

from pathlib import Path

import pytest

from envbuilder.engines.render import render
from tests.unit.rendered import CASES

FOLDER = Path(__file__).parent / "render"


@pytest.mark.parametrize("case", CASES)
def test_rendered_folder(case, golden):
    files = {
        name: text
        for name, text in render(CASES[case]()).items()
        if not name.startswith(("build/", "pylock."))  # copied as is; held by the lock's tests
    }
    for name, text in files.items():
        golden(FOLDER / case / name, text)
    found = {path for path in (FOLDER / case).rglob("*") if path.is_file()}
    assert found == {FOLDER / case / name for name in files}
