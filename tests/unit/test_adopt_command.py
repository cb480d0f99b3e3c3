"""``envbuilder init --from``, as a user types it."""

import pytest

from envbuilder.model.spec_file import load
from tests.unit.test_cli import Project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_a_spec_is_written_with_origins_and_what_is_left(project):
    (project.folder / "requirements.txt").write_text("torch==2.6.0\nnumpy>=1.25\n-e .\n")
    said = project.run("init", "mine", "--from", "requirements.txt", "--python", "3.13")
    assert "requirements.txt:3: -e .\n    not taken: " in said
    assert "2 of 3 statements came in" in said
    assert "not pinned, so that `lock` chooses: numpy\n" in said
    path = project.folder / "lockfiles" / "mine.yaml"
    text = path.read_text("utf-8")
    assert 'torch: "==2.6.0" # requirements.txt:1\n' in text
    assert 'numpy: ">=1.25" # requirements.txt:2; not pinned\n' in text
    assert "# requirements.txt:3: -e .\n#   " in text
    spec = load(path)
    assert (spec.python, spec.base.debian) == ("3.13", "trixie")
    assert "is a valid spec" in project.run("lock", "mine", "--dry-run")


def test_a_spec_that_is_there_stays_without_force(project):
    (project.folder / "requirements.txt").write_text("torch==2.6.0\n")
    project.run("init", "mine")
    path = project.folder / "lockfiles" / "mine.yaml"
    before = path.read_bytes()
    said = project.run("init", "mine", "--from", "requirements.txt", code=2)
    assert "--force" in said
    assert path.read_bytes() == before
    project.run("init", "mine", "--from", "requirements.txt", "--force")
    assert load(path).packages == {"torch": "==2.6.0"}


def test_paths_of_wheels_count_from_the_spec(project):
    wheel = "aa-1.0-py3-none-any.whl"
    (project.folder / "requirements.txt").write_text(f"./dist/{wheel}\n")
    project.run("init", "mine", "--from", "requirements.txt")
    spec = load(project.folder / "lockfiles" / "mine.yaml")
    assert spec.direct["aa"].path == f"../dist/{wheel}"


def test_a_dockerfile_takes_its_arguments_and_a_stage(project):
    text = (
        "ARG T\nFROM debian:bookworm AS one\nARG T\nRUN pip install torch==$T\nFROM one\nUSER x\n"
    )
    (project.folder / "Dockerfile").write_text(text)
    said = project.run(
        "init", "mine", "--from", "Dockerfile", "--build-arg", "T=2.6.0", "--target", "one"
    )
    assert "4 of" not in said
    spec = load(project.folder / "lockfiles" / "mine.yaml")
    assert (spec.packages, spec.user) == ({"torch": "==2.6.0"}, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "requirements.txt", "--pin"], "does not hold the version of numpy"),
        (["--from", "none.txt"], "there is no none.txt"),
        (["--from", "junk"], "UTF-8"),
        (["--from", "big.txt"], "larger than"),
        (["--from", "requirements.txt", "--python", "3"], "is no Python"),
        (["--from", "requirements.txt", "--platform", "linux/riscv64"], "no platform"),
        (["--from", "Dockerfile", "--build-arg", "X"], "expected NAME=VALUE"),
        (["--from", "Dockerfile", "--target", "none"], "no stage"),
        (["--pin"], "go with --from"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(project, arguments, message):
    folder = project.folder
    (folder / "requirements.txt").write_text("numpy>=1.25\n")
    (folder / "junk").write_bytes(bytes(range(128, 256)))
    (folder / "big.txt").write_bytes(b"a==1\n" * (1 << 20))
    (folder / "Dockerfile").write_text("FROM debian:trixie\n")
    assert message in project.run("init", "mine", *arguments, code=2)
    assert not (folder / "lockfiles").exists()


def test_a_folder_that_only_looks_like_an_environment_is_told(project):
    site = project.folder / "v" / "lib" / "python3.12" / "site-packages"
    site.mkdir(parents=True)
    (project.folder / "v" / "pyvenv.cfg").mkdir()
    said = project.run("init", "mine", "--from", "v", code=2)
    assert "holds nothing" in said


def test_what_is_written_holds_whatever_a_source_says(project):
    """Quotes, colons, hashes, other scripts and control characters come through YAML unchanged."""
    value = r"""a: "b" #c 'd' {e} [f] \n g — ü"""
    (project.folder / "Dockerfile").write_text(
        f"FROM debian:trixie\nENV A='{value.replace(chr(39), '')}' B=yes C=1.0 D=null E=\n"
        'CMD ["\\u0007"]\n'
    )
    project.run("init", "mine", "--from", "Dockerfile")
    spec = load(project.folder / "lockfiles" / "mine.yaml")
    assert spec.env == {"A": value.replace("'", ""), "B": "yes", "C": "1.0", "D": "null", "E": ""}
    assert spec.cmd == ("\a",)


def test_pinned_what_was_installed_may_be_built_anew_and_a_lock_says_itself_what_is(project):
    path = project.folder / "lockfiles" / "mine.yaml"
    (project.folder / "frozen.txt").write_text("aa==1.0\n")
    (project.folder / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "aa"\nversion = "1.0"\n'
        '[[packages.wheels]]\nname = "aa-1.0-py3-none-any.whl"\n'
        'url = "https://files.example.com/aa-1.0-py3-none-any.whl"\nhashes = {sha256 = "00"}\n'
    )
    project.run("init", "mine", "--from", "frozen.txt", "--pin")
    assert load(path).build.sdists == "all"
    assert "sdists: all # --pin; what has no wheel was built there, too" in path.read_text()
    (project.folder / "wheels.txt").write_text("--only-binary :all:\naa==1.0\n")
    (project.folder / "more.txt").write_text("-r wheels.txt\n")
    (project.folder / "some.txt").write_text("--only-binary=bb,cc\naa==1.0\n")
    (project.folder / "again.txt").write_text("-r wheels.txt\n--only-binary=:none:\n")
    for name in ("some.txt", "again.txt"):
        project.run("init", "mine", "--force", "--from", name, "--pin")
        assert load(path).build.sdists == "all"
    for arguments in (
        ["frozen.txt"],
        ["pylock.toml", "--pin"],
        ["wheels.txt", "--pin"],
        ["more.txt", "--pin"],
    ):
        project.run("init", "mine", "--force", "--from", *arguments)
        assert load(path).build.sdists == ()
