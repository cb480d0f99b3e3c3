"""What an image base tells of itself, and what the lock makes of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from envbuilder.layers.below import Below, Owned, Told
from envbuilder.model.errors import ResolutionError
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.package_spec import Index
from envbuilder.model.plan import interpreter
from envbuilder.model.pylock import dump_lock, parse_lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.resolve.base_facts import BaseFacts, _check, _check_place, read_facts, says_all
from envbuilder.resolve.python.held_back import held_back
from envbuilder.resolve.python.requirements import PythonTarget
from envbuilder.resolve.target import base_words, python_target
from tests.contexts import indexes
from tests.unit import locks

USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base(files: dict[str, str], links: dict[str, str] | None = None, packages=None) -> Below:
    told = {path: Told(owned=Owned(mode=0o755), text=text.encode()) for path, text in files.items()}
    return Below(files=told, links=links or {}, packages=packages or {})


@pytest.mark.parametrize(
    ("files", "links", "path", "python"),
    [
        (
            {"usr/local/bin/python3.11": "3.11.9"}, {}, USUAL,
            ("/usr/local/bin/python3.11", "3.11.9"),
        ),
        (
            {"usr/local/bin/python3.11": "", "usr/local/lib/libpython3.11.so.1.0": "3.11.9",
             "usr/bin/python3.11": "3.11.2"},
            {}, USUAL, ("/usr/local/bin/python3.11", "3.11.9"),
        ),
        (
            {"usr/bin/python3.11": "", "usr/include/python3.11/patchlevel.h": "3.11.2"},
            {}, "", ("/usr/bin/python3.11", "3.11.2"),
        ),
        (
            {"opt/py/bin/python3.11": "3.11.4"},
            {"usr/bin/python3.11": "/opt/py/bin/python3.11"}, USUAL,
            ("/usr/bin/python3.11", "3.11.4"),
        ),
        ({"opt/mine/bin/python3.11": "3.11.4"}, {}, USUAL, ("/opt/mine/bin/python3.11", "3.11.4")),
        ({"usr/bin/python3.12": "3.12.4"}, {}, USUAL, (None, None)),
        ({"usr/bin/python3.11": ""}, {}, USUAL, ("/usr/bin/python3.11", None)),
        (
            {"usr/bin/python3.11": "", "opt/py/lib/libpython3.11.so.1.0": "3.11.5",
             "opt/py/lib/libpython3.12.so.1.0": "3.12.1"},
            {}, USUAL, ("/usr/bin/python3.11", "3.11.5"),
        ),
        (
            {"usr/bin/python3.11": "", "a/lib/libpython3.11.so.1.0": "3.11.5",
             "b/lib/libpython3.11.so.1.0": "3.11.6"},
            {}, USUAL, ("/usr/bin/python3.11", None),
        ),
    ],
)  # fmt: skip
def test_the_interpreter_and_its_release(files, links, path, python):
    found = read_facts(base(files, links), minor="3.11", path=path)
    assert (found.interpreter, found.python) == python


def test_the_package_tells_what_the_program_does_not():
    found = base({"usr/bin/python3.11": ""}, packages={"python3.11": "3.11.2-6+deb12u4"})
    assert read_facts(found, minor="3.11", path=USUAL).python == "3.11.2"


def test_the_environments_own_place_has_no_interpreter_to_stand_on():
    places = base({"usr/bin/python3.11": "3.11.2", "opt/venv/bin/python3.11": "3.11.2"})
    found = read_facts(places, minor="3.11", path=f"/opt/venv/bin:/opt/venv:{USUAL}")
    assert found.interpreter == "/usr/bin/python3.11"


def test_a_base_that_has_the_environments_place_is_refused_unless_a_step_may_clear_it():
    places, ref = Below(environment=True), ImageRef.parse("example.org/own:1")
    with pytest.raises(ResolutionError, match=r"^example.org/own:1: .* has an /opt/venv") as caught:
        _check_place(locks.lock({}).spec, ref, places)
    assert "name what that one stands on" in caught.value.hint
    _check_place(locks.lock({}, steps={"before_python": ["rm -rf /opt/venv"]}).spec, ref, places)
    _check_place(locks.lock({}).spec, ref, Below())


def test_a_place_of_the_specs_own_is_asked_there():
    found = base({"usr/bin/python3.11": "3.11.2", "opt/x/bin/python3.11": "3.11.7"})
    facts = read_facts(found, minor="3.11", path=USUAL, at="/opt/x/bin/python3.11")
    assert (facts.interpreter, facts.python) == ("/opt/x/bin/python3.11", "3.11.7")


@pytest.mark.parametrize(
    ("files", "glibc", "musl"),
    [
        ({"lib/x86_64-linux-gnu/libc.so.6": "2.36"}, "2.36", None),
        ({"lib64/libc-2.28.so": "2.28", "lib64/libc.so.6": ""}, "2.28", None),
        ({"lib32/libc.so.6": "2.9", "usr/lib/libc.so.6": "2.41"}, "2.41", None),
        ({"lib/libc.so.6": "2.9", "usr/lib/libc.so.6": "2.41"}, "2.41", None),
        ({"lib/ld-musl-x86_64.so.1": "", "lib/apk/db/installed": "1.2.4"}, None, "1.2.4"),
        ({"lib/ld-musl-x86_64.so.1": ""}, None, "1.1"),
        ({"lib/ld-musl-x86_64.so.1": "", "usr/lib/libc.so.6": "2.36"}, "2.36", None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_the_c_library(files, glibc, musl):
    found = read_facts(base(files), minor="3.11", path="")
    assert (found.glibc, found.musl) == (glibc, musl)


REF = ImageRef.parse("registry.example.com/base:1")


def image_lock(facts: BaseFacts, **spec: object) -> Lock:
    given = {"base": {"image": str(REF)}, "python": "3.11", **spec}
    found = ImageBase(
        reference=str(REF), digest=Digest("a" * 64), config=Digest("b" * 64), layers=(),
        glibc=facts.glibc, musl=facts.musl, python=facts.python, interpreter=facts.interpreter,
    )  # fmt: skip
    return replace(locks.lock({}, **given), base=found)


FACTS = BaseFacts(glibc="2.36", python="3.11.2", interpreter="/usr/local/bin/python3.11")


def test_the_lock_holds_what_was_told_and_all_count_by_it():
    lock = image_lock(FACTS)
    assert parse_lock(dump_lock(lock)) == lock
    assert interpreter(lock) == "/usr/local/bin/python3.11"
    target = python_target(lock.spec, lock.base)
    assert (target.glibc, target.full) == (36, "3.11.2")
    assert base_words(lock.spec, lock.base) == (
        "glibc 2.36, Python 3.11.2 at /usr/local/bin/python3.11"
    )


def test_the_spec_overrides_what_was_told():
    own = {"image": str(REF), "glibc": "2.31", "python": "/opt/bin/python3.11"}
    lock = image_lock(FACTS, base=own, python="3.11.7")
    assert interpreter(lock) == "/opt/bin/python3.11"
    assert base_words(lock.spec, lock.base) == "glibc 2.31, Python 3.11.7 at /opt/bin/python3.11"
    assert says_all(lock.spec)
    assert not says_all(image_lock(FACTS).spec)


def test_what_nobody_tells_is_said_to_be_assumed():
    lock = image_lock(BaseFacts())
    assert base_words(lock.spec, lock.base).startswith("glibc 2.28 (assumed), Python 3.11 at /usr/")


def test_musl_wheels_for_a_musl_base():
    lock = image_lock(BaseFacts(musl="1.2.4"))
    target = python_target(lock.spec, lock.base)
    platforms = {tag.platform for tag in target.tags()}
    assert {"musllinux_1_2_x86_64", "musllinux_1_0_x86_64", "linux_x86_64", "any"} == platforms - {
        "musllinux_1_1_x86_64"
    }
    assert target.uv_platform == "x86_64-unknown-linux-musl"
    assert base_words(lock.spec, lock.base).startswith("musl 1.2")


@pytest.mark.parametrize(
    ("files", "spec", "message", "hint"),
    [
        ({"usr/bin/python3.10": "3.10.12"}, {}, "no Python 3.11, but 3.10 at /usr/bin/python3.10",
         'python: "3.10"'),
        ({}, {}, "no Python 3.11, nor another", "base: {python: /its/path}"),
        ({"usr/bin/python3.11": "3.11.2"}, {"python": "3.11.9"}, "has Python 3.11.2, not 3.11.9",
         'python: "3.11"'),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_when_it_is_locked(files, spec, message, hint):
    lock = image_lock(BaseFacts(), **spec)
    facts = read_facts(base(files), minor="3.11", path=USUAL)
    with pytest.raises(ResolutionError, match=message) as caught:
        _check(lock.spec, REF, facts, base(files))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "spec", [{"system": {"packages": ["python3"]}}, {"steps": {"before_python": ["make-python"]}}]
)
def test_a_python_that_the_spec_brings_need_not_be_there(spec):
    _check(image_lock(BaseFacts(), **spec).spec, REF, BaseFacts(), base({}))


# -- ranges -------------------------------------------------------------------------------------

PAGE = """\
<a href="big-1.0-cp311-cp311-manylinux_2_17_x86_64.whl#sha256=00">x</a>
<a href="big-2.0-cp311-cp311-manylinux_2_31_x86_64.whl">x</a>
<a href="big-2.0-cp311-cp311-manylinux_2_34_x86_64.whl">x</a>
<a href="big-3.0-cp311-cp311-manylinux_2_39_x86_64.whl">x</a>
<a href="big-4.0-cp311-cp311-manylinux_2_39_aarch64.whl">x</a>
<a href="big-5.0-cp312-cp312-manylinux_2_39_x86_64.whl">x</a>
<a href="big-6.0-cp311-cp311-manylinux_2_39_x86_64.whl" data-yanked>x</a>
<a href="big-7.0b1-cp311-cp311-manylinux_2_39_x86_64.whl">x</a>
<a href="big-8.0.tar.gz">x</a>
"""


@pytest.fixture
def index(tmp_path: Path, told_nothing: None) -> Index:  # noqa: ARG001
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "index.html").write_text(PAGE)
    return Index(url=tmp_path.as_uri())


@pytest.mark.parametrize(
    ("glibc", "chosen", "wanted", "said"),
    [
        (28, "1.0", "big", "of 3.0 want glibc 2.39, and the base has 2.28"),
        (28, "1.0", "big<3", "of 2.0 want glibc 2.31"),
        (34, "2.0", "big>=1", "of 3.0 want glibc 2.39"),
        (39, "3.0", "big>=1", None),
        (28, "1.0", "big==1.0", None),
        (28, "1.0", "big==1.*", None),
        (34, "1.0", "big<3", None),
        (28, "1.0", "other", None),
    ],
)
def test_a_range_that_the_base_holds_back(index, glibc, chosen, wanted, said):
    target = PythonTarget(python="3.11", platform="linux/amd64", glibc=glibc)
    lines = [
        *held_back(
            indexes(), [Requirement(wanted)], [locks.wheel("big", chosen)],
            target=target, index=index,
        )
    ]  # fmt: skip
    assert [said in line for line in lines] == ([True] if said else [])
