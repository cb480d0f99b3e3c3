"""Compiled modules that stay valid when their sources' times change."""

import importlib.util
import marshal
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from envbuilder.resolve.debian import unchecked_pyc

pytestmark = pytest.mark.integration

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
    unchecked_pyc.main(str(tmp_path), "/nonexistent")
    after = cached(module).read_bytes()
    digest = importlib.util.source_hash(SOURCE.encode())
    assert after[:16] == before[:4] + b"\1\0\0\0" + digest
    assert marshal.loads(after[16:]) == marshal.loads(before[16:])


def test_python_takes_it_after_the_time_changed(module, tmp_path):
    unchecked_pyc.main(str(tmp_path), "/nonexistent")
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
    unchecked_pyc.main(str(tmp_path), "/nonexistent")
    assert not compiled.exists()


@pytest.mark.parametrize("spoil", ["content", "magic", "gone", "nothing", "no bytecode"])
def test_after_a_step_only_what_hides_another_source_goes(module, tmp_path, spoil):
    compiled = cached(module)
    unasked = compiled.read_bytes()[4:8] == unchecked_pyc.UNCHECKED
    if spoil == "content":
        module.write_text("value = 2\n")
    elif spoil == "magic":
        compiled.write_bytes(b"abcd" + compiled.read_bytes()[4:])
    elif spoil == "gone":
        module.unlink()
    elif spoil == "no bytecode":
        compiled = compiled.with_name("stray")
        compiled.write_bytes(unchecked_pyc.MAGIC_NUMBER + unchecked_pyc.UNCHECKED + bytes(8))
    before = compiled.lstat()
    subprocess.run([sys.executable, "-S", "-B", PROGRAM, "--stale", tmp_path], check=True)
    if spoil == "content" and unasked:
        assert not compiled.exists()
    else:
        after = compiled.lstat()
        assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


@pytest.mark.parametrize("module", [MODES.TIMESTAMP], indirect=True)
def test_a_module_compiled_at_another_time_goes(module, tmp_path):
    os.utime(module, (1, 1))
    unchecked_pyc.main(str(tmp_path), "/nonexistent")
    assert not cached(module).exists()


def test_a_stray_file_goes(module, tmp_path):
    stray = cached(module).with_name("stray")
    stray.touch()
    unchecked_pyc.main(str(tmp_path), "/nonexistent")
    assert not stray.exists()


PROGRAM = Path(unchecked_pyc.__file__)
SAMPLES = sorted(Path(os.__file__).parent.glob("*.py"))[::4]


def compiled(folder, paths, seed):
    """Compile copies of ``paths`` in this order, in one process; return the bytecode by name."""
    folder.mkdir()
    for path in paths:
        (folder / path.name).write_bytes(path.read_bytes())
    code = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import unchecked_pyc as it\n"
        "import os\n"
        f"for name in {[path.name for path in paths]!r}:\n"
        "    it.compile_module(name)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)
    return {path.name: path.read_bytes() for path in (folder / "__pycache__").iterdir()}


def test_neither_order_nor_process_nor_hash_seed_show_in_the_bytecode(tmp_path):
    whole = compiled(tmp_path / "one", SAMPLES, 0)
    assert len(whole) == len(SAMPLES) > 30
    assert compiled(tmp_path / "other", SAMPLES[::-1], 77) == whole
    parts = [compiled(tmp_path / str(turn), SAMPLES[turn::7], turn) for turn in range(7)]
    assert {name: code for part in parts for name, code in part.items()} == whole


def test_what_was_compiled_by_others_becomes_the_same(tmp_path):
    own = compiled(tmp_path / "own", SAMPLES[:9], 0)
    other = tmp_path / "other"
    other.mkdir()
    for path in SAMPLES[:9]:
        (other / path.name).write_bytes(path.read_bytes())
        name = path.name.encode().decode()  # not interned, as a name that is read is not
        py_compile.compile(str(other / path.name), dfile=name, doraise=True)
    unchecked_pyc.main(str(other), "/nonexistent")
    assert {path.name: path.read_bytes() for path in (other / "__pycache__").iterdir()} == own


def test_packages_are_compiled_where_they_asked_for_it(tmp_path):
    private, public, alone = (tmp_path / name for name in ("private", "public", "alone"))
    for folder in (private, public, alone):
        folder.mkdir()
        (folder / "module.py").write_text(SOURCE)
    (private / "template.py").write_text("{{ name }} =\n")
    (private / "module.py").chmod(0o640)
    calls = tmp_path / "calls"
    calls.write_text(f"-p one {private} -V 3.13\n-p two\n")
    assert unchecked_pyc.asked(str(calls)) == {str(private), unchecked_pyc.PUBLIC}
    unchecked_pyc.on_every_core(
        unchecked_pyc.compile_module, unchecked_pyc.sources({str(private), str(public)})
    )
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pyc"))
    tag = sys.implementation.cache_tag
    assert made == [f"{each}/__pycache__/module.{tag}.pyc" for each in ("private", "public")]
    assert cached(private / "module.py").stat().st_mode & 0o777 == 0o640


def test_a_failure_in_another_process_is_not_lost(tmp_path):
    def fail(path):
        raise OSError(path)

    with pytest.raises(SystemExit, match="could not be compiled"):
        unchecked_pyc.on_every_core(fail, [str(tmp_path)])


def below(top, depth, **environment):
    """Run the program on all below ``top``, as a container does; return the bytecode by path."""
    command = [sys.executable, "-s", "-S", "-B", PROGRAM, "--below", top, str(depth)]
    subprocess.run(command, env={"PYTHONHASHSEED": "0", **environment}, check=True)
    return {
        path.relative_to(top).as_posix(): path.read_bytes() for path in sorted(top.rglob("*.pyc"))
    }


def test_what_lies_below_is_compiled_as_if_it_lay_in_the_image(tmp_path):
    place = tmp_path / "wheel" / "opt" / "venv" / "m.py"
    place.parent.mkdir(parents=True)
    place.write_text(SOURCE)
    (place.parent / "template.py").write_text("{{ name }} = 1\n")
    (place.parent / "zero.py").write_bytes(b"x = '\0'\n")
    (place.parent / "deep.py").write_text("x = " + "-" * 100_000 + "1\n")
    found = below(tmp_path, len(tmp_path.parts))
    assert list(found) == [f"wheel/opt/venv/__pycache__/m.{sys.implementation.cache_tag}.pyc"]
    (data,) = found.values()
    assert data[4:8] == unchecked_pyc.UNCHECKED
    assert marshal.loads(data[16:]).co_filename == "/opt/venv/m.py"
    timed = tmp_path / f"wheel/opt/venv/__pycache__/m.{sys.implementation.cache_tag}.pyc"
    timed.write_bytes(b"of a step")
    assert below(tmp_path, len(tmp_path.parts)) == found


def test_bytecode_that_a_wheel_has_brought_stays(tmp_path):
    names = ["pkg/own.py", "pkg/other.py"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SOURCE)
    brought = cached(tmp_path / names[0]).relative_to(tmp_path)
    (tmp_path / brought).parent.mkdir()
    (tmp_path / brought).write_bytes(b"as it came")
    (tmp_path / "pkg-1.0.dist-info").mkdir()
    record = "".join(f"{name},sha256=x,10\n" for name in (*names, brought))
    (tmp_path / "pkg-1.0.dist-info" / "RECORD").write_text(record)
    found = below(tmp_path, len(tmp_path.parts))
    assert found[str(brought)] == b"as it came"
    assert len(found) == 2


def test_which_files_lie_beside_does_not_show(tmp_path):
    """One tree in one run, and each file in a run of its own, with other names around."""
    for number, path in enumerate(SAMPLES):
        for folder in ("whole", str(number)):
            (tmp_path / folder / "a").mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "a" / path.name).write_bytes(path.read_bytes())
    depth = len(tmp_path.parts)
    whole = below(tmp_path / "whole", depth)
    assert len(whole) == len(SAMPLES)
    parts = [below(tmp_path / str(each), depth, TZ="UTC") for each in range(0, len(SAMPLES), 5)]
    assert all(whole[name] == data for part in parts for name, data in part.items())


@pytest.mark.parametrize(
    ("constant", "settled"),
    [
        (frozenset({"a", b"b", 2.5, True}), True),
        (frozenset({"a", None}), False),
        (("a", (frozenset({("a", None)}),)), False),
        ((None, "a"), True),
        (compile("def f(x): return x in {None, 1}", "x", "exec"), False),
        (compile("def f(x): return x in {2, 1}", "x", "exec"), True),
    ],
)
def test_sets_whose_order_is_that_of_memory_are_known(constant, settled):
    assert unchecked_pyc.in_one_order(constant) is settled
