"""A lock becomes a Dockerfile: always the same, clean, and never more than the spec says."""

import json
import py_compile
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from envbuilder.engines.render import render, render_question, write
from envbuilder.model.atomic import write_text
from envbuilder.model.errors import SpecError, UsageError
from envbuilder.model.resources import TEMPLATES
from envbuilder.model.spec import Steps

from . import locks
from .dockerfiles import NASTY, heredocs, instructions, sh_words
from .rendered import CASES, image

HADOLINT = Path(sys.executable).parent / "hadolint"
nasty = (
    st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=6)
    .map("".join)
    .filter(lambda text: all((ord(c) >= 32 and ord(c) != 127) or c == "\t" for c in text))
    .filter(lambda text: text.encode("utf-8", "ignore").decode() == text)
)


@pytest.mark.parametrize("case", CASES)
def test_hadolint_finds_nothing(case, tmp_path):
    write(render(CASES[case]()), tmp_path)
    command = [HADOLINT, tmp_path / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("case", CASES)
def test_the_targets_are_there(case):
    text = render(CASES[case]())["Dockerfile"]
    stages = [words[2] for name, _, words in instructions(text) if name == "FROM"]
    baked = json.loads(render(CASES[case]())["docker-bake.json"])["target"]
    assert {each["target"] for each in baked.values()} == set(baked) <= set(stages)
    assert stages[-1] == "runtime"
    assert len(stages) == len(set(stages))


def test_no_value_adds_or_changes_an_instruction():
    plain = shape(instructions(dockerfile(lock_with("x", "note"))))

    @settings(max_examples=40, deadline=None)
    @given(nasty, nasty.map(lambda text: text.translate({ord("="): "-", ord("\t"): "-"})))
    def check(value, text):
        name = f"x{text}"
        found = instructions(dockerfile(lock_with(value, name)))
        assert shape(found) == plain
        env = {words[0]: words[1] for name, _, words in found if name == "ENV"}
        assert sh_words([env["VALUE"]]) == [value]
        labels = [sh_words(words[:2]) for name, _, words in found if name == "LABEL"]
        assert [name, value] in labels
        assert list(next(words for name, _, words in found if name == "CMD")) == ["x", value]

    check()


def test_a_step_stays_one_step():
    plain = shape(instructions(dockerfile(step_lock("true"))))

    @settings(max_examples=40, deadline=None)
    @given(st.lists(nasty, min_size=1, max_size=4).map("\n".join))
    def check(text):
        found = dockerfile(step_lock(text))
        assert shape(instructions(found)) == plain
        assert f". /run/build/step.sh\n{text.rstrip(chr(10))}\n" in heredocs(found)

    check()


def test_a_package_stays_one_word():
    def made(package):
        found = image()
        base = replace(found.base, packages=(package, "git=1"))
        return dockerfile(replace(found, base=base))

    plain = shape(instructions(made("x")))

    @settings(max_examples=40, deadline=None)
    @given(nasty)
    def check(value):
        found = made(value)
        assert shape(instructions(found)) == plain
        (install,) = re.findall(r"--no-install-recommends \\\n(.*)$", found, re.DOTALL)
        words, _, _ = install.partition("\nRUN --mount")
        assert sh_words([words]) == [value, "git=1"]

    check()


def lock_with(value, label):
    spec = locks.lock({"six": "1.17.0"}).spec
    spec = msgspec.structs.replace(
        spec,
        env={"VALUE": value},
        labels={label: value},
        workdir=f"/{value}",
        user=f"u{value}",
        entrypoint=("e", value),
        cmd=("x", value),
        steps=msgspec.structs.replace(spec.steps, before_python=(value,)),
    )
    return replace(locks.lock({"six": "1.17.0"}), spec=spec)


def step_lock(text):
    return locks.lock({"six": "1.17.0"}, steps={"before_python": [text], "after_python": [text]})


def dockerfile(lock):
    return render(lock)["Dockerfile"]


def shape(found):
    """Return what no value may change: the instructions and their flags."""
    return [(name, flags) for name, flags, _ in found]


def test_a_bump_changes_one_stage():
    before = render(locks.lock({"six": "1.16.0", "idna": "3.10"}))
    after = render(locks.lock({"six": "1.17.0", "idna": "3.10"}))
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"Dockerfile", "pylock.x.toml", "requirements/package-six.txt"}
    old, new = (files["Dockerfile"].splitlines() for files in (before, after))
    differing = [line for one, line in zip(old, new, strict=True) if one != line]
    assert all(line.startswith("LABEL dev.gpu-envbuilder.") for line in differing)


def test_same_bytes_under_any_hash_seed():
    code = "from tests.unit.rendered import image; from envbuilder.engines.render import render; "
    code += "import hashlib; print(hashlib.sha256(repr(render(image())).encode()).hexdigest())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_writing_again_clears_what_is_old_and_nothing_else(tmp_path):
    folder = tmp_path / "new"
    write(render(locks.lock({"six": "1.17.0", "idna": "3.10"})), folder)
    mine = ["README", "build/mine.sh", "build/folder/x", "requirements/mine.txt"]
    for name in mine:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    after = render(locks.lock({"six": "1.17.0"}))
    write(after, folder)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {*after, *mine}


@pytest.mark.parametrize("name", ["Dockerfile", "build/main.c"])
def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("FROM scratch\n")
    with pytest.raises(UsageError, match="no Dockerfile that envbuilder rendered"):
        write(render(locks.lock({"six": "1.17.0"})), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]


def test_a_secret_of_ours_cannot_be_renamed():
    lock = locks.lock({"six": "1.17.0"}, build={"secrets": {"netrc": {"env": "X"}}})
    with pytest.raises(SpecError, match="'netrc'"):
        render(lock)


def test_control_characters_are_refused():
    lock = locks.lock({"six": "1.17.0"}, steps={"before_python": ["echo a\rb"]})
    with pytest.raises(SpecError, match="control character"):
        render(lock)


def test_secrets_are_mounted_and_never_arguments():
    text = render(image())["Dockerfile"]
    found = instructions(text)
    assert [words for name, _, words in found if name == "ARG"] == [('RECOMPILE=""',)]
    assert "--mount=type=secret,id=token,required=true" in text


def test_what_comes_from_git_runs_without_network_and_secrets_in_a_cache_of_its_own():
    lock = image()
    [found] = [
        flags
        for name, flags, words in instructions(render(lock)["Dockerfile"])
        if name == "RUN" and "build-wheel.sh" in " ".join(words)
    ]
    assert "--network=none" in found
    assert not [flag for flag in found if "secret" in flag or "ssh" in flag]
    elsewhere = replace(lock.sources[0], repository="https://example.org/fork.git")
    caches = {
        flag
        for each in (lock, replace(lock, sources=(elsewhere,)))
        for _, flags, _ in instructions(render(each)["Dockerfile"])
        for flag in flags
        if "target=/build/cache" in flag
    }
    assert len(caches) == 2


def test_root_builds_on_a_base_that_belongs_to_a_user():
    lock = CASES["rpm"]()
    found = instructions(render(lock)["Dockerfile"])
    before = {  # each image from a registry, and the instruction that follows it
        words[2]: following
        for (name, _, words), following in pairwise(found)
        if name == "FROM" and "@" in words[0]
    }
    root = ("USER", (), ("0",))
    assert before == {"base": root, "builder": root}
    asked = instructions(render_question(lock)["Dockerfile"])
    assert asked[1] == root
    assert [words for name, _, words in found if name == "USER"][-1] == ("1001:0",)


@pytest.mark.parametrize("when", ["before_python", "after_python"])
def test_bytecode_is_compiled_below_own_files_and_above_what_steps_change(when):
    lock = locks.lock({"six": "1.17.0"}, bytecode=True, steps={when: ["sed -i s/a/b/ x.py"]})
    text = render(lock)["Dockerfile"]
    assert text.count("unchecked_pyc.py --below") == 1
    runtime = text[text.index("AS runtime") :]
    compiled, skeleton = runtime.index("--below"), runtime.index("COPY --link --from=skeleton")
    assert (compiled > skeleton) is (when == "after_python")
    if when == "after_python":
        assert compiled > runtime.index("sed -i")


def step_in(root: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a step as the rendered Dockerfile does, with the prelude's paths led into ``root``."""
    prelude = (TEMPLATES / "context" / "step.sh").read_text()
    for place in ("/usr/", "/opt/", "/var/", "/run/"):
        prelude = prelude.replace(f" {place}", f" {root}{place}")
    prelude = prelude.replace("--stale /", f"--stale {root}")
    return subprocess.run(
        ["sh", "-c", f"{prelude}\n{text}"], cwd=root, capture_output=True, text=True, check=False
    )


@pytest.fixture
def edited(tmp_path):
    """A root with a Python, and one module of it that was compiled as Debian's are."""
    for folder in ("usr/bin", "usr/lib", "usr/local/bin", "opt", "var/log", "var/cache"):
        (tmp_path / folder).mkdir(parents=True)
    python = tmp_path / "usr" / "bin" / f"python3.{sys.version_info.minor}"
    python.symlink_to(sys.executable)
    (tmp_path / "usr" / "bin" / f"{python.name}-config").write_text("#!/bin/sh\nexit 1\n")
    module = tmp_path / "usr" / "lib" / "module.py"
    module.write_text("value = 1\n")
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(module, doraise=True, invalidation_mode=mode)
    for name, text in render(step_lock("true")).items():
        if name.startswith("build/"):
            write_text(tmp_path / "run" / name, text)


@pytest.mark.usefixtures("edited")
@pytest.mark.parametrize("after", ["", "exit 3"])
def test_a_step_that_edits_a_module_leaves_no_bytecode_that_hides_it(tmp_path, after):
    done = step_in(tmp_path, f"sed -i s/1/2/ usr/lib/module.py\n{after}")
    assert (done.returncode, done.stderr) == (3 if after else 0, "")
    assert not list(tmp_path.rglob("*.pyc"))


@pytest.mark.usefixtures("edited")
def test_a_step_that_edits_no_module_leaves_bytecode_as_it_is(tmp_path):
    done = step_in(tmp_path, "echo 1 >usr/lib/data")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.rglob("*.pyc"))) == 1


@pytest.mark.parametrize("when", ["before_python", "after_python"])
@pytest.mark.parametrize("base", [{"debian": "trixie"}, {"image": "registry.example.org/base:1"}])
def test_steps_have_what_drops_bytecode(when, base):
    made = image() if "image" in base else locks.lock({})
    spec = structs.replace(made.spec, steps=Steps(**{when: ("true",)}))
    assert "build/unchecked_pyc.py" in render(replace(made, spec=spec))
