"""Which wheels fit a target, and what of an earlier lock stays."""

import pytest
from packaging.tags import Tag

from envbuilder.model.errors import ResolutionError, UsageError, without_login
from envbuilder.model.lock import ImageBase
from envbuilder.model.plan import interpreter
from envbuilder.model.reference import Digest
from envbuilder.resolve.base import _check_patch
from envbuilder.resolve.python.offers import fits
from envbuilder.resolve.python.requirements import PythonTarget, _rank
from envbuilder.resolve.release import EVERYTHING, SYSTEM, releasable
from envbuilder.resolve.target import python_target
from tests.unit.locks import lock, source

IMAGE = ImageBase(reference="r", digest=Digest.of(b"1"), config=Digest.of(b"2"), layers=())
AMD64 = PythonTarget(python="3.12", platform="linux/amd64", glibc=36)
ARM64 = PythonTarget(python="3.11", platform="linux/arm64", glibc=31)


def test_tags_are_the_targets_and_not_this_machines():
    tags = ARM64.tags()
    assert tags[Tag("cp311", "cp311", "manylinux_2_31_aarch64")] == 0
    assert Tag("cp38", "abi3", "manylinux2014_aarch64") in tags
    assert Tag("py3", "none", "any") in tags
    for other in ("manylinux_2_32_aarch64", "manylinux_2_17_x86_64", "musllinux_1_2_aarch64"):
        assert Tag("cp311", "cp311", other) not in tags
    assert (ARM64.machine, ARM64.uv_platform) == ("aarch64", "aarch64-manylinux_2_31")


@pytest.mark.parametrize(
    "ordered",
    [
        ["a-1-cp312-cp312-manylinux_2_28_x86_64.whl", "a-1-cp312-cp312-manylinux_2_17_x86_64.whl",
         "a-1-cp312-abi3-manylinux_2_28_x86_64.whl", "a-1-cp39-abi3-manylinux_2_28_x86_64.whl",
         "a-1-py3-none-manylinux_2_28_x86_64.whl", "a-1-py3-none-any.whl"],
        ["a-1-10-py3-none-any.whl", "a-1-2-py3-none-any.whl", "a-1-py3-none-any.whl"],
        ["a-1-cp312-cp312-manylinux_2_17_x86_64.manylinux_2_36_x86_64.whl",
         "a-1-9-cp312-cp312-manylinux_2_35_x86_64.whl"],
    ],
)  # fmt: skip
def test_the_best_tag_comes_first_and_then_the_highest_build(ordered):
    ranks = AMD64.tags()
    assert all(fits(name, ranks) for name in ordered)
    found = [_rank(name, ranks) for name in ordered]
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    "name",
    ["a-1-cp312-cp312-manylinux_2_39_x86_64.whl", "a-1-cp312-cp312-manylinux_2_17_aarch64.whl",
     "a-1-cp311-cp311-manylinux_2_17_x86_64.whl", "a-1-cp312-cp312-macosx_11_0_arm64.whl"],
)  # fmt: skip
def test_what_cannot_run_there_does_not_fit(name):
    assert not fits(name, AMD64.tags())


def test_names_to_let_go_of_are_canonical():
    locked = lock({"my-lib": "1.0"}, sources=(source("proj", "0" * 40),))
    asked = ("My_Lib", "Proj", SYSTEM)
    assert releasable(asked, locked.spec, [locked]) == {"my-lib", "proj", SYSTEM}
    assert releasable((EVERYTHING,), locked.spec, [None]) == {EVERYTHING}


@pytest.mark.parametrize(
    ("name", "hint"), [("my-lob", "did you mean my-lib?"), ("zlib1g", "part of system")]
)
def test_a_name_that_nothing_holds_is_refused(name, hint):
    locked = lock({"my-lib": "1.0"})
    with pytest.raises(UsageError, match=f"no package {name}") as caught:
        releasable([name], locked.spec, [locked])
    assert hint in caught.value.hint


@pytest.mark.parametrize("login", ["u:p", "u", "u:p@ss", ":p", "u:p%40ss"])
def test_no_login_is_left_in_a_text(login):
    text = f"cannot get https://{login}@host.example/a@b/c, nor http://{login}@x:8/ (a@b)"
    assert without_login(text) == ("cannot get https://host.example/a@b/c, nor http://x:8/ (a@b)")


@pytest.mark.parametrize(
    ("spec", "debs", "expected"),
    [
        ({}, {"python3.12": "3.12.3-1ubuntu0.5", "libc6": "2.39-0"}, (3, 39)),
        ({}, {"python3.12": "3.12.0~rc2-1"}, (0, 28)),
        ({"python": "3.12.7"}, {"libc6": "2.41-12"}, (7, 41)),
        ({"base": {"debian": "trixie", "glibc": "2.36"}}, {"libc6": "2.41-12"}, (None, 36)),
        ({"base": {"debian": "trixie", "python": "/opt/py"}}, {"python3.12": "3.12.3"}, (None, 28)),
    ],
)
def test_the_base_tells_its_patch_release_and_its_glibc(spec, debs, expected):
    found = lock({}, debs=debs, **spec)
    target = python_target(found.spec, found.base)
    assert (target.python, target.patch, target.glibc) == ("3.12", *expected)
    assert target.markers()["python_full_version"] == f"3.12.{expected[0] or 0}"
    assert interpreter(found) in {"/usr/bin/python3.12", "/opt/py"}


def test_an_image_tells_nothing_so_the_spec_may():
    found = lock({}, python="3.12.7", base={"image": "r", "glibc": "2.36"})
    target = python_target(found.spec, IMAGE)
    assert (target.full, target.glibc) == ("3.12.7", 36)
    assert python_target(lock({}).spec, IMAGE).glibc == 28


def test_a_patch_release_that_the_base_does_not_have_is_refused():
    found = lock({}, debs={"python3.12": "3.12.3-1"}, python="3.12.7")
    with pytest.raises(ResolutionError, match=r"Debian trixie has Python 3\.12\.3, not 3\.12\.7"):
        _check_patch(found.spec, found.base)
