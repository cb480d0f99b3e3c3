"""Commands that need no container and no network, in this process."""

import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from envbuilder.cli import options
from envbuilder.cli.app import cli, main
from envbuilder.model.lock import DebianBase, Lock, Wheel
from envbuilder.model.pylock import lock_path, write_lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import load
from envbuilder.storage.store import Store
from tests.wheels import Recipe, write_wheel


class Project:
    """A folder to run commands in, with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.spec = folder / "lockfiles" / "small.yaml"
        self.lock = lock_path(self.spec)

    def run(self, *args: str, code: int = 0) -> str:
        """Run ``envbuilder ARGS``, expect ``code``; give what it said."""
        data = io.BytesIO()
        said = io.TextIOWrapper(data, encoding="utf-8", write_through=True)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
            patch.chdir(self.folder)
            patch.setenv("ENVBUILDER_CACHE", str(self.store.root))
            patch.setattr(sys, "argv", ["envbuilder", *args])
            with pytest.raises(SystemExit) as ended:
                main()
        for number, handler in before.items():
            signal.signal(number, handler)
        text = data.getvalue().decode()
        assert ended.value.code == code, text
        return text

    def write_lock(self) -> Wheel:
        """Lock the starter spec on no .deb file and one wheel, which the store has."""
        path = write_wheel(self.folder, Recipe(name="first", files={"first.py": b"#\n"}))
        digest = self.store.adopt(path, Digest.of(path.read_bytes()))
        size = path.stat().st_size
        wheel = Wheel(name="first", version="1.0", filename=path.name, size=size, sha256=digest)
        base = DebianBase(suite="trixie", packages=())
        write_lock(self.lock, Lock(spec=load(self.spec), base=base, wheels=(wheel,)))
        return wheel


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def small(project):
    project.run("init", "small")
    return project


def test_init_writes_a_spec_that_is_valid(project):
    said = project.run("init", "small")
    assert "wrote lockfiles/small.yaml; next: envbuilder build small\n" in said
    project.run("lock", "small", "--dry-run")
    assert "exists already" in project.run("init", "small", code=2)


def test_init_elsewhere_says_how_to_build_it(project):
    said = project.run("init", "bar", "-f", "sub/bar.yaml")
    assert "next: envbuilder build -f sub/bar.yaml\n" in said
    project.run("lock", "-f", "sub/bar.yaml", "--dry-run")
    assert "init foo -f sub/foo.yaml" in project.run("init", "bar", "-f", "sub/foo.yaml", code=2)


@pytest.mark.parametrize("name", ["x" * 65, "a\n", "A", "a--b", "-", "ä"])
def test_init_refuses_what_no_spec_can_be_called(project, name):
    assert "is no name" in project.run("init", "--", name, code=2)
    assert not project.spec.parent.exists()


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("biuld x", "there is no command 'biuld'; did you mean build?", "envbuilder --help"),
        ("zzz", "there is no command 'zzz'", "envbuilder --help"),
        ("build --nope", "No such option '--nope'", "envbuilder build --help"),
        ("cache prune", "there are no locks in lockfiles", "--lockfiles"),
        ("build x --key k", "--key and --keyless sign what --push", "envbuilder build --help"),
        ("build x --compression zstd", "--compression is of what travels", "envbuilder build"),
        ("build x --compression estargz", "Invalid value for '--compression': 'estargz'", "--help"),
        ("build x --no-smoke --report r.html", "--report tells of the smoke", "--help"),
        ("build x --output-image x.tgz", "'x.tgz' is no image target", "oci:DIR"),
    ],
)
def test_a_wrong_command_line_says_what_to_do(project, line, message, hint):
    said = project.run(*line.split(), code=2).splitlines()
    assert said[0].startswith(f"error: {message}")
    assert said[1].startswith("hint: ")
    assert hint in said[1]
    assert len(said) == 2


def test_what_the_system_refuses_is_one_clear_error(project):
    folder = project.spec.parent
    folder.write_text("in the way")
    said = project.run("init", "small", code=7)
    assert said == f"error: cannot use {folder}: Not a directory\n"


def test_lock_check_tells_fresh_from_stale(small):
    small.write_lock()
    assert "pylock.small.toml is fresh" in small.run("lock", "small", "--check")
    small.spec.write_text(small.spec.read_text().replace("4.52.4", "4.53.0"))
    assert "4.53.0" in small.run("lock", "small", "--check", code=5)


def test_lock_takes_one_of_its_ways_at_a_time(small):
    for flags in (["--check", "--upgrade"], ["--dry-run", "--upgrade-package", "x"]):
        assert "not several" in small.run("lock", "small", *flags, code=2)


def test_fetch_copies_wheels_that_later_writes_do_not_carry_into_the_store(small):
    wheel = small.write_lock()
    small.run("fetch", "small")
    copy = small.spec.parent / "wheels" / wheel.filename
    with copy.open("ab") as file:
        file.write(b"later")
    assert Digest.of(small.store.path(wheel.sha256).read_bytes()) == wheel.sha256
    small.run("fetch", "small")
    small.run("fetch", "small")
    assert Digest.of(copy.read_bytes()) == wheel.sha256
    assert [path.name for path in copy.parent.iterdir()] == [wheel.filename]


def test_a_stale_lock_is_not_fetched(small):
    small.write_lock()
    small.spec.write_text(small.spec.read_text().replace("4.52.4", "4.53.0"))
    assert "hint: envbuilder lock small" in small.run("fetch", "small", code=5)


def test_lock_check_goes_through_all(small):
    assert small.run("lock", "--check", "--all", code=5).startswith("stale  small: ")
    small.write_lock()
    assert small.run("lock", "--check", "--all") == "fresh  small\n"
    small.run("init", "other")
    said = small.run("lock", "--check", "--all", code=5).splitlines()
    assert [line.split(":")[0] for line in said] == ["stale  other", "fresh  small"]
    small.spec.write_text("nonsense")
    small.run("lock", "--check", "--all", code=5)  # the worst of 3 and 5
    for wrong in (["--all"], ["small", "--check", "--all"]):
        assert "--all goes with --check alone" in small.run("lock", *wrong, code=2)


def test_lock_check_of_nothing_is_no_success(project):
    assert "holds no specs" in project.run("lock", "--check", "--all", code=2)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("outdated small -o json", 5),
        ("outdated small --output json", 5),
        ("outdated small --output=json", 5),
        ("verify x -ojson", 2),
        ("outdated --nope -o json", 2),
    ],
)
def test_errors_are_json_where_results_are(small, line, code):
    small.run("init", "second")
    said = small.run(*line.split(), code=code)
    document = json.loads(said[: said.index("}") + 1])
    assert document.keys() == {"error", "hint", "code"}
    assert document["code"] == code
    assert f"error: {document['error']}" in said


@pytest.mark.parametrize("line", ["outdated small", "render small -o json", "lock x -- -o json"])
def test_errors_are_words_elsewhere(small, line):
    said = small.run(*line.split(), code=2 if "--" in line else 5)
    assert said.startswith("error: ")


def test_lockfiles_are_found_from_below_within_a_checkout(tmp_path, monkeypatch):
    (tmp_path / "lockfiles").mkdir()
    below = tmp_path / "checkout" / "sub" / "deeper"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert options.find_folder() == Path("lockfiles")
    (tmp_path / "checkout" / ".git").touch()
    assert options.find_folder() == Path("lockfiles"), "what lies outside is somebody else's"
    (tmp_path / "checkout" / "lockfiles").mkdir()
    assert options.find_folder() == Path("../../lockfiles")
    (below / "lockfiles").mkdir()
    assert options.find_folder() == Path("lockfiles")


def test_the_shell_completes(small, monkeypatch):
    monkeypatch.chdir(small.folder)
    monkeypatch.setenv("ENVBUILDER_CACHE", str(small.store.root))
    small.store.put_record("registry-blobs", "registry.example.com/app", [])
    shell = ShellComplete(cli, {}, "envbuilder", "_ENVBUILDER_COMPLETE")

    def completed(*words: str, begun: str = "") -> list[str]:
        return [each.value for each in shell.get_completions(list(words), begun)]

    assert completed("build") == ["small"]
    assert completed("build", begun="x") == []
    assert completed("verify", "--lock") == ["small"]
    assert completed("push", "small", begun="reg") == ["registry.example.com/app"]
    assert "sbom" in completed(begun="s")
    assert "--format" in completed("sbom", begun="--f")


def numbers(group: click.Group) -> Iterator[tuple[str, click.ParamType]]:
    """Yield each option of ``group`` and its commands that takes a number, and of what type."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            for each in command.params:
                if isinstance(each.type, click.types.IntParamType | click.types.FloatParamType):
                    yield f"{name} {each.opts[0]}", each.type
            if isinstance(command, click.Group):
                yield from numbers(command)


def test_every_number_of_an_option_has_bounds_for_no_clock_counts_on_for_ever() -> None:
    found = dict(numbers(cli))
    assert "server --server-timeout" in found
    for name, kind in found.items():
        assert isinstance(kind, click.IntRange), name  # floats have no bounds: nan is within all
        assert None not in (kind.min, kind.max), name


@pytest.mark.parametrize(
    "args",
    [
        ("smoke", "--server", "http://127.0.0.1:1", "--server-timeout", "inf"),
        ("smoke", "--server", "http://127.0.0.1:1", "--server-timeout", "nan"),
        ("smoke", "--local", "python3", "--family", "whisper", "--timeout", "99999999999"),
        ("smoke", "--local", "python3", "--family", "whisper", "--memory", "9" * 30),
        ("outdated", "small", "--min-age", "9999999"),
    ],
)
def test_a_number_that_nothing_can_count_to_is_refused(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    assert "is not" in Project(tmp_path).run(*args, code=2)
