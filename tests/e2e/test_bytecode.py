"""`bytecode: true`, as a user meets it: a start compiles nothing, a bump renews one layer."""

import json
import tomllib

import pytest

pytestmark = [pytest.mark.integration]

SITE = "/opt/venv/lib/python3.13/site-packages"
START = """
import sys
compiled = []
sys.addaudithook(lambda event, args: event == "compile" and compiled.append(str(args[1])))
import six, tqdm, tqdm.auto, tqdm.contrib.concurrent
print(*(module.__cached__ for module in (six, tqdm)), sep="\\n")
print([name for name in compiled if name.startswith("/")])
"""


@pytest.fixture(scope="module")
def compiled(small, tmp_path_factory):
    """Build the small environment once more, with bytecode, smoke included."""
    made = small.copy(tmp_path_factory.mktemp("compiled"))
    made.spec.write_text(made.spec.read_text() + "bytecode: true\n")
    made.run("lock", "small")
    made.run("build", "small", "--report", "report.json")
    return made


def layers(checkout):
    sealed = tomllib.loads(checkout.lock.read_text())["tool"]["envbuilder"]["seal"]
    return {layer["title"]: layer for layer in sealed["layers"]}


def test_a_start_compiles_nothing(compiled):
    done = compiled.run("run", "small", "--runtime", "oci", "--", "python", "-c", START)
    assert done.stdout.splitlines() == [
        f"{SITE}/__pycache__/six.cpython-313.pyc",
        f"{SITE}/tqdm/__pycache__/__init__.cpython-313.pyc",
        "[]",
    ]


def test_without_it_a_start_compiles_the_packages(small):
    done = small.run("run", "small", "--runtime", "oci", "--", "python", "-c", START)
    assert f"{SITE}/six.py" in done.stdout.splitlines()[-1]


def test_the_smoke_finds_nothing_left_over(compiled):
    report = json.loads((compiled.folder / "report.json").read_text())
    checks = {check["name"]: check["status"] for check in report["checks"]}
    assert report["verdict"] == "pass"
    assert checks["caches"] == checks["environment.files"] == "pass"


def test_inspect_calls_it_no_leftover(compiled):
    found = compiled.json("inspect", "small")
    kinds = {layer["title"]: layer["kind"] for layer in layers(compiled).values()}
    bytecode = [layer for layer in found["layers"] if kinds[layer["title"]] == "bytecode"]
    assert [layer["title"] for layer in bytecode] == [
        title for title, kind in kinds.items() if kind == "bytecode"
    ]
    assert not any(layer["caches"] for layer in found["layers"])


def test_a_bump_renews_its_own_bytecode_alone(compiled, tmp_path):
    bumped = compiled.copy(tmp_path)
    bumped.spec.write_text(bumped.spec.read_text().replace("1.17.0", "1.16.0"))
    bumped.run("lock", "small")
    bumped.run("build", "small", "--no-smoke")
    before, after = layers(compiled), layers(bumped)
    known = {layer["diff_id"] for layer in before.values()}
    new = [title for title, layer in after.items() if layer["diff_id"] not in known]
    assert new == ["six 1.16.0", "bytecode of six to tqdm", "environment small"]
