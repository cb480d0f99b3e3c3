"""Many environments at once: past failures, one summary, the worst exit code; and variants."""

import threading
from pathlib import Path

import pytest

from envbuilder.model.errors import BuildError, UsageError
from envbuilder.model.spec_file import parse
from envbuilder.model.yaml_document import parse_document
from envbuilder.resolve.git.mirror import Refs
from envbuilder.workflow.bump.matrix import expand
from envbuilder.workflow.bump.regenerate import Result, jobs_for, regenerate, worst

SPEC = """\
version: 1
name: omni   # one of many
python: "3.12"
base: {debian: trixie}
packages: {torch: "==2.6.0", six: "*"}
"""


def test_goes_on_past_failures() -> None:
    def make(path: Path) -> tuple[int, str]:
        if path.stem == "broken":
            raise BuildError("it failed; it said last:\n  note\n  no space", hint="make room")
        if path.stem == "bug":
            raise RuntimeError("oops")
        return (8, "red") if path.stem == "red" else (0, "fine")

    paths = [Path(f"{name}.yaml") for name in ("broken", "good", "red", "bug")]
    results = regenerate(paths, make, jobs=2)
    assert [(each.name, each.code, each.message) for each in results] == [
        ("broken", 7, "it failed; it said last: … no space (hint: make room)"),
        ("good", 0, "fine"),
        ("red", 8, "red"),
        ("bug", 1, "internal error: RuntimeError('oops')"),
    ]
    broken, good, red, bug = (each.error for each in results)
    assert broken == "it failed; it said last:\n  note\n  no space\nhint: make room"
    assert (good, red) == ("", "")
    assert "Traceback" in bug
    assert 'raise RuntimeError("oops")' in bug


@pytest.mark.parametrize(
    ("codes", "code"), [([], 0), ([0, 0], 0), ([0, 7, 8, 4], 8), ([0, 10, 1], 1)]
)
def test_exits_like_the_worst(codes: list[int], code: int) -> None:
    results = [Result(name="x", code=each, message="", seconds=0) for each in codes]
    assert worst(results) == code


def test_runs_several_at_once() -> None:
    together = threading.Barrier(3, timeout=10)

    def make(_: Path) -> tuple[int, str]:
        together.wait()
        return 0, ""

    assert worst(regenerate([Path("a"), Path("b"), Path("c")], make, jobs=3)) == 0


def test_as_many_as_the_machine_can_take(tmp_path: Path) -> None:
    greedy = tmp_path / "greedy.yaml"
    greedy.write_text(SPEC + "smoke: {memory: 1000000000}\n")
    assert jobs_for([greedy] * 8) == 1
    assert jobs_for([tmp_path / "missing.yaml"]) == 1


def no_refs(_: object) -> Refs:
    return Refs(heads={}, tags={})


def test_axes_multiply() -> None:
    document = parse_document(Path("omni.yaml"), SPEC)
    axes = [["python=3.11", "python=3.12"], ["torch==2.6.0", "torch>=2.7,<3"]]
    variants = expand(document, axes, refs=no_refs)
    assert [variant.name for variant in variants] == [
        "omni-python-3-11-torch-2-6-0",
        "omni-python-3-11-torch-2-7-3",
        "omni-python-3-12-torch-2-6-0",
        "omni-python-3-12-torch-2-7-3",
    ]
    last = variants[-1].document
    assert last.text == SPEC.replace("omni ", "omni-python-3-12-torch-2-7-3 ").replace(
        '"==2.6.0"', '">=2.7,<3"'
    )
    assert parse(last).name == "omni-python-3-12-torch-2-7-3"


def test_a_value_of_several_pins_with_a_short_name() -> None:
    document = parse_document(Path("omni.yaml"), SPEC)
    axes = [
        ["py311:python=3.11&base=bookworm", "python=3.13&base=trixie"],
        ["cu124:base=example.org:5000/cuda:12.4.1"],
    ]
    assert [variant.name for variant in expand(document, axes[:1], refs=no_refs)] == [
        "omni-py311",
        "omni-python-3-13-base-trixie",
    ]
    (first, _) = expand(document, axes, refs=no_refs)
    assert first.name == "omni-py311-cu124"
    assert 'python: "3.11"\nbase: {image: example.org:5000/cuda:12.4.1}' in first.document.text


@pytest.mark.parametrize(
    ("axis", "says"),
    [
        (["six"], "names no version"),
        (["both:python=3.12&six"], "'six' in 'both:python=3.12&six' names no version"),
        (["nothing==1"], "no package nothing"),
        (["torch==2.6", "torch>=2.6"], "both be named"),
        (["base=" + "x" * 64], "longer than 64"),
        ([], "an axis has no values"),
    ],
)
def test_refuses_axes_that_make_no_variants(axis: list[str], says: str) -> None:
    document = parse_document(Path("omni.yaml"), SPEC)
    with pytest.raises(UsageError, match=says):
        expand(document, [axis], refs=no_refs)
