"""Compiled modules that stay valid when their sources' times change."""

import importlib.util
import os
import py_compile
import subprocess
import sys

import pytest

from envbuilder.resolve.debian import unchecked_pyc

SOURCE = "value = 1\n"


MODES = py_compile.PycInvalidationMode


@pytest.fixture(params=MODES, ids=lambda mode: mode.name.lower())
def module(tmp_path, request):
    path = tmp_path / "package" / "module.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    py_compile.compile(path, doraise=True, invalidation_mode=request.param)
    return path


def cached(path):
    return path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"


def test_the_header_becomes_an_unchecked_hash_and_the_code_stays(module, tmp_path):
    before = cached(module).read_bytes()
    unchecked_pyc.main(str(tmp_path))
    after = cached(module).read_bytes()
    digest = importlib.util.source_hash(SOURCE.encode())
    assert after == before[:4] + b"\1\0\0\0" + digest + before[16:]


def test_python_takes_it_after_the_time_changed(module, tmp_path):
    unchecked_pyc.main(str(tmp_path))
    os.utime(module, (1, 1))
    code = "import module, sys; print(module.__cached__, 'module' in sys.modules)"
    for check in ("default", "always"):
        done = subprocess.run(
            [sys.executable, "-v", "--check-hash-based-pycs", check, "-B", "-c", code],
            cwd=module.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"code object from '{cached(module)}'" in done.stderr


@pytest.mark.parametrize("spoil", ["content", "magic", "gone"])
def test_what_does_not_belong_to_its_source_goes(module, tmp_path, spoil):
    compiled = cached(module)
    if spoil == "content":
        module.write_text(SOURCE * 2)
    elif spoil == "magic":
        compiled.write_bytes(b"abcd" + compiled.read_bytes()[4:])
    else:
        module.unlink()
    unchecked_pyc.main(str(tmp_path))
    assert not compiled.exists()


@pytest.mark.parametrize("module", [MODES.TIMESTAMP], indirect=True)
def test_a_module_compiled_at_another_time_goes(module, tmp_path):
    os.utime(module, (1, 1))
    unchecked_pyc.main(str(tmp_path))
    assert not cached(module).exists()


def test_a_stray_file_goes(module, tmp_path):
    stray = cached(module).with_name("stray")
    stray.touch()
    unchecked_pyc.main(str(tmp_path))
    assert not stray.exists()
