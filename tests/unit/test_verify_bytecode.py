"""A layer of bytecode holds bytecode of the modules that are there, and nothing else."""

import pytest

from envbuilder.evidence.verify.bytecode import compare_bytecode
from envbuilder.layers.contents import scan, stacked
from envbuilder.layers.files import Content, files_layer
from envbuilder.layers.untar import untar
from envbuilder.storage.store import Store

SITE = "/opt/venv/lib/python3.13/site-packages"
WHEEL = {f"{SITE}/demo/m.py": b"x = 1\n", f"{SITE}/demo/data.txt": b"", f"{SITE}/six.py": b""}
COMPILED = {f"{SITE}/demo/__pycache__/m.cpython-313.pyc": b"\0" * 16}


def found(store, *, title="bytecode of demo 1.0", wheel=WHEEL, **compiled):
    layers = [
        files_layer(store, {path: Content(data=data) for path, data in files.items()}, title=name)
        for name, files in (("demo 1.0", wheel), (title, {**COMPILED, **compiled}))
    ]
    held = []
    for layer in layers:
        with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
            held.append(scan(tar))
    return list(compare_bytecode(layers, held, stacked(held)))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_bytecode_of_modules_that_are_there_is_right(store):
    assert found(store) == []
    assert found(store, **{f"{SITE}/__pycache__/six.cpython-313.pyc": b""}) == []


@pytest.mark.parametrize(
    "path",
    [
        f"{SITE}/demo/__pycache__/evil.cpython-313.pyc",
        f"{SITE}/demo/__pycache__/data.cpython-313.pyc",
        f"{SITE}/demo/evil.pyc",
        f"{SITE}/demo/evil.py",
        f"{SITE}/evil.pth",
        f"{SITE}/demo/__pycache__/.wh.m.cpython-313.pyc",
        f"{SITE}/.wh.six.py",
        f"{SITE}/demo/.wh..wh..opq",
        "/usr/lib/python3/dist-packages/__pycache__/six.cpython-313.pyc",
        "/etc/evil",
    ],
)
def test_anything_else_is_a_mismatch(store, path):
    (finding,) = found(store, **{path: b"evil"})
    assert str(finding.status) == "mismatch"
    assert finding.subject == "bytecode of demo 1.0"


def test_the_first_of_several_is_named(store):
    (finding,) = found(store, **{f"{SITE}/b.pth": b"", f"{SITE}/a.pth": b""})
    assert finding.actual == f"{SITE}/a.pth, and 1 more"


def test_other_layers_are_another_question(store):
    assert found(store, title="demo 2.0", **{f"{SITE}/evil.pth": b""}) == []


def test_bytecode_of_a_module_that_is_gone_is_none(store):
    rest = {path: data for path, data in WHEEL.items() if not path.endswith("m.py")}
    (finding,) = found(store, wheel=rest)
    assert finding.actual == next(iter(COMPILED))
