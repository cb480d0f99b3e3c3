"""The mutation run itself: a planted survivor is found, and what is tested is killed."""

import time
from pathlib import Path

import pytest

from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.matching import matching_tests, modules
from tests.mutants.mutate import mutations
from tests.mutants.run import BrokenTestsError, Tree, outcomes

ROOT = Path(__file__).parents[2]

SOUND = b'''\
"""A module of 2 lines."""

def fits(size: int = 1, *, limit: int = 10) -> bool:
    # 3 < 4
    return size <= limit

def large(size):
    return size > 5
'''
TEST = """\
from box.limits import fits, large

def test_fits():
    assert fits(10)
    assert fits(9)
    assert not fits(11)

def test_large():
    assert large(7)
    assert not large(4)
"""


@pytest.mark.parametrize(
    ("line", "mutants"),
    [
        ("a < b", ["a <= b"]),
        ("a == b <= c", ["a != b <= c", "a == b < c"]),
        ("a is not b", ["a is b"]),
        ("a not in b", ["a in b"]),
        ("a and b and c", ["a or b and c", "a and b or c"]),
        ("not a", ["a"]),
        ("x = 7", ["x = 8"]),
        ("x = True", ["x = False"]),
        ("a + b - c", ["a + b + c", "a - b - c"]),
        ("a | b", ["a & b"]),
        ("if a: raise E('1 < 2')", ["if False: raise E('1 < 2')"]),
        ("if a < 1: pass", ["if a <= 1: pass", "if a < 2: pass"]),
        ("'ä' + b", ["'ä' - b"]),
        ("(a) and (b)", ["(a) or (b)"]),
        ("x: Literal[3] = y", []),
        ("@d(3)\ndef f() -> Literal[1]: 'doc 3 < 4'", []),
        ("f'{a + 1}'", []),
        (
            "class C(B, frozen=True):\n    x = f(frozen=True)",
            ["class C(B, frozen=True):\n    x = f(frozen=False)"],
        ),
    ],
)
def test_mutations_are_small_and_only_of_what_runs(line: str, mutants: list[str]) -> None:
    text = line.encode()
    made = [each.apply(text).decode() for each in mutations("m", text)]
    assert sorted(made) == sorted(mutants)


MATCHING = {"limits.py": ["test_limits.py"]}
LATER = float("inf")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    files = {"box/__init__.py": b"", "box/limits.py": SOUND, "unit/test_limits.py": TEST.encode()}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return Tree(root=tmp_path, package="box", unit="unit")


def test_a_planted_survivor_is_found_and_what_is_tested_is_killed(tree: Tree) -> None:
    planted = [each for each in mutations("limits.py", SOUND) if each.new in {"<", ">="}]
    heard = []
    found = outcomes([tree], planted, MATCHING, until=LATER, report=heard.append)
    assert [(each.mutation.shown(SOUND)[1], each.killed) for each in found] == [
        ("return size < limit", True),
        ("return size >= 5", False),
    ]
    assert heard == found
    assert (tree.root / "box" / "limits.py").read_bytes() == SOUND


def test_tests_that_fail_anyway_prove_nothing(tree: Tree) -> None:
    tree.write("limits.py", b"")
    with pytest.raises(BrokenTestsError, match=r"test_limits\.py"):
        outcomes([tree], mutations("limits.py", SOUND), MATCHING, until=LATER, report=pytest.fail)


def test_none_begins_when_time_is_over(tree: Tree) -> None:
    found = mutations("limits.py", SOUND)[:1]
    assert outcomes([tree], found, MATCHING, until=time.monotonic(), report=pytest.fail) == []


def test_every_module_of_the_core_has_tests_that_match() -> None:
    package = ROOT / "envbuilder"
    found = [each for each in modules(package) if mutations("", (package / each).read_bytes())]
    assert len(found) > 40
    for module in found:
        assert matching_tests(module, ROOT / "tests" / "unit"), module


def test_what_counts_as_equivalent_is_still_there() -> None:
    for module, before, after in EQUIVALENT:
        text = (ROOT / "envbuilder" / module).read_bytes()
        shown = [each.shown(text) for each in mutations(module, text)]
        assert (before, after) in shown, f"{module}: {before}"
