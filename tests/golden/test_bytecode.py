"""Bytecode of fixed modules is the same layer on every machine, by any build of one Python.

``tests/integration/test_bytecode.py`` compares with the same files what containers compile.
"""

import subprocess
import sys

import pytest

from envbuilder.resolve.debian import unchecked_pyc
from envbuilder.storage.store import Store
from tests.golden.bytecode_digests import MODULES, expected, facts, packed, site_packages

MINOR = f"3.{sys.version_info.minor}"


@pytest.mark.skipif(not expected(MINOR).exists(), reason="the goldens are of other Pythons")
@pytest.mark.parametrize("surroundings", [{}, {"TZ": "America/Adak", "LC_ALL": "C.UTF-8"}])
def test_the_layer_is_the_one_written_down(surroundings, golden, tmp_path):
    folder = tmp_path / "wheel" / site_packages(MINOR) / "golden"
    folder.mkdir(parents=True)
    for name, content in MODULES.items():
        (folder / name).write_bytes(content)
    depth = str(len(tmp_path.parts))
    program = [unchecked_pyc.__file__, "--below", tmp_path, depth]
    environment = {"PYTHONHASHSEED": "0", **surroundings}
    subprocess.run([sys.executable, "-s", "-S", "-B", *program], env=environment, check=True)
    root = tmp_path / "wheel"
    compiled = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.pyc")}
    assert len(compiled) == len(MODULES) - 1, "the template is none"
    golden(expected(MINOR), facts(packed(Store(tmp_path / "store"), MINOR, compiled)))
