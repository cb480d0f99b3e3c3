"""Layers of fixed wheels have fixed digests, compressed ones included, whatever the machine.

The wheels are files here, since a wheel made by the test would depend on its zlib. Whoever has to
regenerate these digests must raise LAYOUT_VERSION.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden.layer_digests import FOLDER, digests

ROOT = Path(__file__).parents[2]
EXPECTED = FOLDER / "expected.json"


def test_digests_are_those_written_down(golden) -> None:
    golden(EXPECTED, digests())


@pytest.mark.parametrize(
    "surroundings",
    [
        {"TZ": "Pacific/Kiritimati", "LANG": "C", "PYTHONHASHSEED": "1"},
        {"TZ": "America/Adak", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2", "PYTHONUTF8": "0"},
    ],
)
def test_nothing_around_matters(surroundings: dict[str, str], tmp_path: Path) -> None:
    """Neither time zone, locale, hash seed, umask, home nor working directory."""
    own = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", 'umask 077; exec "$0" -m tests.golden.layer_digests', sys.executable],
        env=os.environ | surroundings | own,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == EXPECTED.read_text()
