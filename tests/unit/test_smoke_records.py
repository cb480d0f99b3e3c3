"""Installed files against their RECORDs, whatever their names hold."""

import base64
import hashlib
from importlib.metadata import PathDistribution

import pytest

from envbuilder.smoke.probe import records


def installed(site, files):
    """Lay down a distribution of ``files`` (name -> content), and return it."""
    rows = []
    for name, content in files.items():
        (site / name).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f'"{name}",sha256={digest},{len(content)}\n')
    info = site / "x-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(rows), encoding="utf-8", newline="")
    return PathDistribution(info)


@pytest.mark.parametrize("sign", ["", "\u2028", "\u2029", "\x85", "\x1e", "\n", ","])
def test_a_name_may_hold_what_ends_a_line_elsewhere(tmp_path, sign):
    dist = installed(tmp_path, {f"a{sign}b.py": b"x = 1\n", "c.py": b""})
    found = records.verify([("x", dist)], ["x"], 10)
    assert (found["hashed"], found["damaged_count"]) == (2, 0)
    (tmp_path / f"a{sign}b.py").write_bytes(b"x = 2\n")
    changed = records.verify([("x", dist)], ["x"], 10)
    assert changed["damaged_count"] == 1
