"""From the command line's pins to an edited spec and the versions to let go."""

from pathlib import Path

import pytest

from envbuilder.model.errors import EnvbuilderError, ResolutionError, UsageError
from envbuilder.model.package_spec import GitPackage
from envbuilder.model.spec_file import parse
from envbuilder.model.yaml_document import parse_document
from envbuilder.resolve.git.mirror import Refs
from envbuilder.workflow.bump.apply import BumpRequest, ExactPin, apply_pins, with_version
from envbuilder.workflow.bump.pins import HINT, Pin, all_pins, parse_pin
from tests.unit.locks import lock

NEW, TIP = "c0ffee0" + "0" * 33, "1234567" + "0" * 33
SPEC = """\
version: 1
name: omni
python: "3.12"   # keep in step with the base
base: {image: "nvidia/cuda:12.4.1-devel"}
packages:
  torch: "==2.6.0"
  vllm[audio]: '==0.8.5'
  numpy: ">=1,<3"
  accelerate: ==1.*
  tagged: {git: https://example.org/t, tag: v1}
  branched:
    git: https://example.org/b
    branch: main
  both: {git: https://example.org/c, branch: main, commit: abcdef0}
  commit-only[extra]: {git: https://example.org/d, commit: abcdef0}
  tag-commit: {git: https://example.org/e, tag: v1, commit: abcdef0}
index: {exclude_newer: 2025-06-29}
"""
LOCK = lock({"torch": "2.6.0", "tokenizers": "0.21"})


def refs(pin: GitPackage) -> Refs:
    assert pin.git.startswith("https://example.org/")
    return Refs(heads={"main": TIP, "next": NEW}, tags={"v1": "a" * 40, "v2": NEW})


def bump(*pins: str, text: str = SPEC) -> BumpRequest:
    document = parse_document(Path("omni.yaml"), text)
    wishes = [parse_pin(pin) for pin in pins]
    request = apply_pins(document, parse(document), wishes, lock=LOCK, refs=refs)
    parse(request.document)  # whatever comes out is a valid spec
    return request


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("transformers==4.53.3", Pin(name="transformers", specifier="==4.53.3")),
        ("Typing.Extensions", Pin(name="typing-extensions")),
        ("torch >=2,<3", Pin(name="torch", specifier=">=2,<3")),
        ("vllm@de8f43fbe9", Pin(name="vllm", ref="de8f43fbe9")),
        ("vllm@release/0.9", Pin(name="vllm", ref="release/0.9")),
        ("python=3.12", Pin(name="python", value="3.12")),
        ("base=host:5000/a/b:1@sha256:00", Pin(name="base", value="host:5000/a/b:1@sha256:00")),
        ("system", Pin(name="system")),
        ("base", Pin(name="base")),
        ("exclude-newer=2025-09-01", Pin(name="exclude-newer", value="2025-09-01")),
    ],
)
def test_reads_pins(text: str, pin: Pin) -> None:
    assert parse_pin(text) == pin


@pytest.mark.parametrize(
    "text",
    ["", "==1", "a b", "torch=2.6.0", "torch==", "torch===", "torch==x y", "python", "python=",
     "python==3.12", "vllm@", "vllm@-x", "vllm@a b", "torch==2\n", "törch==1"],
)  # fmt: skip
def test_refuses_what_is_no_pin(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pin(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("pin", "hint"),
    [("torch=2.6.0", "did you mean torch==2.6.0?"), ("torch==", HINT), ("torch=", HINT)],
)
def test_one_equals_sign_is_told_to_be_two(pin: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pin(pin)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("pin", "before", "after"),
    [
        ("torch==2.7.0", '"==2.6.0"', '"==2.7.0"'),
        ("vllm==0.9.0", "'==0.8.5'", "'==0.9.0'"),
        ("python=3.13", '"3.12"', '"3.13"'),
        ("base=nvidia/cuda:13.0", '"nvidia/cuda:12.4.1-devel"', '"nvidia/cuda:13.0"'),
        ("exclude-newer=2025-09-01", "2025-06-29", "2025-09-01"),
        ("tagged@v2", "tag: v1}", "tag: v2}"),
        ("tagged@next", "tag: v1}", "branch: next}"),
        ("tagged@abcdef1", "tag: v1}", "commit: abcdef1}"),
        ("branched@next", "branch: main\n", "branch: next\n"),
        ("branched@v2", "branch: main\n", "tag: v2\n"),
        ("branched@abcdef1", "    branch: main\n", "    commit: abcdef1\n    branch: main\n"),
        ("both", "main, commit: abcdef0", f'main, commit: "{TIP}"'),
        ("both@abcdef1", "main, commit: abcdef0", "main, commit: abcdef1"),
        ("both@v2", "branch: main, commit: abcdef0", f"tag: v2, commit: {NEW}"),
        ("commit-only@abcdef1", "/d, commit: abcdef0", "/d, commit: abcdef1"),
        ("commit-only@v2", "/d, commit: abcdef0", f"/d, tag: v2, commit: {NEW}"),
        ("tag-commit@v2", "tag: v1, commit: abcdef0", f"tag: v2, commit: {NEW}"),
    ],
)
def test_changes_one_place(pin: str, before: str, after: str) -> None:
    assert SPEC.count(before) == 1
    assert bump(pin).document.text == SPEC.replace(before, after)


def test_the_newest_that_resolves_is_let_go_and_pinned_again() -> None:
    request = bump("torch", "vllm")
    assert request.release == {"torch", "vllm"}
    assert request.repin == {
        "torch": ExactPin(path=("packages", "torch"), text="==2.6.0"),
        "vllm": ExactPin(path=("packages", "vllm[audio]"), text="==0.8.5"),
    }
    assert request.document.text == SPEC


@pytest.mark.parametrize("pins", [("torch", "torch==2.7.0"), ("torch==2.7.0", "torch")])
def test_a_version_counts_more_than_the_bare_name_that_all_adds(pins: tuple[str, ...]) -> None:
    request = bump(*pins)
    assert request.document.text == SPEC.replace("2.6.0", "2.7.0")
    assert request.repin == {}


@pytest.mark.parametrize("pin", ["numpy", "accelerate", "tokenizers", "system", "base", "branched"])
def test_what_the_spec_leaves_open_is_only_let_go(pin: str) -> None:
    request = bump(pin)
    assert request.document.text == SPEC
    assert request.release == {"system" if pin == "base" else pin}
    assert request.repin == {}


ON_AMD64 = "==0.0.30; platform_machine == 'x86_64'"


@pytest.mark.parametrize("entry", [f'"{ON_AMD64}"', f'{{version: "{ON_AMD64}"}}'])
def test_where_a_pin_holds_is_not_asked(entry: str) -> None:
    text = SPEC.replace('"==2.6.0"', entry)
    after = bump("torch==0.0.31", text=text).document.text
    assert after == text.replace("0.0.30", "0.0.31")
    exact = bump("torch", text=text).repin["torch"]
    assert exact.text == ON_AMD64
    assert with_version(exact.text, "*") == "*; platform_machine == 'x86_64'"


def test_several_pins_add_up() -> None:
    request = bump("torch==2.7.0", "numpy", "tagged@v2")
    assert request.document.text == SPEC.replace("2.6.0", "2.7.0").replace("tag: v1}", "tag: v2}")
    assert request.release == {"torch", "numpy", "tagged"}


def test_a_suite_stays_a_suite_and_an_image_can_replace_it() -> None:
    text = SPEC.replace('{image: "nvidia/cuda:12.4.1-devel"}', "{debian: trixie}")
    assert bump("base=forky", text=text).document.value["base"] == {"debian": "forky"}
    image = bump("base=ubuntu:24.04", text=text).document
    assert image.text == text.replace("debian: trixie", "image: ubuntu:24.04")


@pytest.mark.parametrize(
    ("pin", "error", "says"),
    [
        ("tourch==1", UsageError, "torch"),
        ("nothing-like-it", UsageError, "packages"),
        ("tokenizers==1", UsageError, "tokenizers"),
        ("torch@abcdef0", UsageError, "PIN"),
        ("tagged==1", UsageError, "tagged@"),
        ("tagged", UsageError, "outdated"),
        ("tagged@v3-none", ResolutionError, "commit"),
        ("tagged@nexd", ResolutionError, "next"),
        ("tag-commit@abcdef1", UsageError, "@TAG"),
        ("system==1", UsageError, "system"),
        ("base@x", UsageError, "base"),
    ],
)
def test_says_what_does_not_fit_and_what_would(
    pin: str, error: type[EnvbuilderError], says: str
) -> None:
    with pytest.raises(error) as caught:
        bump(pin)
    assert says in caught.value.hint.replace("NAME==VERSION", "PIN")


def test_everything_is_all_that_can_move() -> None:
    spec = parse(parse_document(Path("omni.yaml"), SPEC))
    assert {pin.name for pin in all_pins(spec)} == {
        "torch", "vllm", "numpy", "accelerate", "branched", "both", "system",
    }  # fmt: skip
