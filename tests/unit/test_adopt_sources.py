"""Specs from what people have: each kind of source, as files that the tools of today write."""

import os
import socket
import time
from pathlib import Path

import pytest

from envbuilder.model.errors import UsageError
from envbuilder.workflow.adopt.fold import Target, fold
from envbuilder.workflow.adopt.installed import Held, held_statements
from envbuilder.workflow.adopt.locks import read_pylock, read_uv_lock
from envbuilder.workflow.adopt.pyproject import Choice, read_pyproject
from envbuilder.workflow.adopt.requirements import read_requirements_file
from envbuilder.workflow.adopt.sources import Kind, find_source
from envbuilder.workflow.adopt.statements import At
from envbuilder.workflow.adopt.venv import read_venv
from envbuilder.workflow.adopt.writer import write_spec

HERE = Path()


def spec_of(statements, folder=HERE, **target):
    found = fold(statements, Target(folder=folder, **target))
    return found.spec, {f"{each.at.place} {each.at.text}": each.left for each in found.left}


def lines(tmp_path, text, **target):
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    return spec_of(read_requirements_file(path), tmp_path, **target)


def test_lines_of_requirements_come_in(tmp_path):
    text = """\
# a comment
torch==2.6.0 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb
numpy >= 1.25, <3  # why
Pillow
ray[default,serve]==2.47.1
old==1; python_version < "3.9"
uvloop==0.21; sys_platform == "linux"
win==1; sys_platform == "win32"
odd==1; os_name ~= "posix"
patched==1; python_full_version >= "3.12.1"
-i https://index.example.com/simple
--extra-index-url=https://whl.example.com/cu124
--only-binary=:all:
"""
    spec, left = lines(tmp_path, text, python="3.12")
    assert spec["packages"] == {
        "numpy": "<3,>=1.25",
        "patched": '==1; python_full_version >= "3.12.1"',
        "Pillow": "*",
        "ray[default,serve]": "==2.47.1",
        "torch": "==2.6.0",
        "uvloop": "==0.21",
    }
    assert spec["index"] == {
        "url": "https://index.example.com/simple",
        "extra_urls": ["https://whl.example.com/cu124"],
    }
    assert not left


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("git+https://g.example.com/a.git@v1.2#egg=aa",
         {"git": "https://g.example.com/a.git", "tag": "v1.2"}),
        ("aa @ git+https://g.example.com/a@main",
         {"git": "https://g.example.com/a", "branch": "main"}),
        ("-e git+ssh://git@g.example.com/a.git@" + "a" * 40 + "#egg=aa&subdirectory=py",
         {"git": "ssh://git@g.example.com/a.git", "commit": "a" * 40, "subdirectory": "py"}),
        ("https://f.example.com/aa-1-py3-none-any.whl#sha256=00", {"url": "https://f.example.com/aa-1-py3-none-any.whl"}),
        ("aa @ https://f.example.com/aa-1%2Bc-py3-none-any.whl", {"url": "https://f.example.com/aa-1%2Bc-py3-none-any.whl"}),
        ("https://f.example.com/aa-1.0.tar.gz", {"url": "https://f.example.com/aa-1.0.tar.gz"}),
        ("aa @ https://f.example.com/main.zip", {"url": "https://f.example.com/main.zip"}),
        ("-e ./project", {"path": "project"}),
        ("./project", {"path": "project"}),
        ("./dist/aa-1.0-py3-none-any.whl", {"path": "dist/aa-1.0-py3-none-any.whl"}),
    ],
)  # fmt: skip
def test_places_of_packages_come_in(tmp_path, line, expected):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text('[project]\nname = "aa"\n')
    spec, left = lines(tmp_path, line)
    assert spec["packages"] == {"aa": expected}
    assert not left


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("./project ; python_version < '3.10'", {}),
        ("./project;python_version >= '3.10'", {"aa": {"path": "project"}}),
        ("./project[x] ; python_version >= '3.10'", {"aa[x]": {"path": "project"}}),
        ("aa @ ./project ; sys_platform == 'darwin'", {}),
        ("-e ./project ; sys_platform == 'darwin'", {}),
        ("-e './project' ", {"aa": {"path": "project"}}),
        ("./dist/aa-1.0-py3-none-any.whl; sys_platform == 'darwin'", {}),
        ("https://f.example.com/a;b/aa-1-py3-none-any.whl",
         {"aa": {"url": "https://f.example.com/a;b/aa-1-py3-none-any.whl"}}),
        ("https://f.example.com/aa-1-py3-none-any.whl; sys_platform == 'darwin'", {}),
    ],
)  # fmt: skip
def test_markers_of_places_count(tmp_path, line, expected):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text('[project]\nname = "aa"\n')
    spec, left = lines(tmp_path, line, python="3.12")
    assert spec["packages"] == expected
    assert not left


@pytest.mark.parametrize(
    ("ref", "kind", "name", "sure"),
    [
        ("refs/heads/1.0", "branch", "1.0", True),
        ("refs/tags/release", "tag", "release", True),
        ("a" * 40, "commit", "a" * 40, True),
        ("abcdef0", "commit", "abcdef0", False),
        ("v1.2", "tag", "v1.2", False),
        ("main", "branch", "main", False),
    ],
)
def test_a_bare_ref_is_guessed_and_that_is_told(tmp_path, ref, kind, name, sure):
    path = tmp_path / "requirements.txt"
    path.write_text(f"aa @ git+https://g.example.com/aa@{ref}\n")
    found = fold(read_requirements_file(path), Target(folder=tmp_path))
    assert found.spec["packages"] == {"aa": {"git": "https://g.example.com/aa", kind: name}}
    origin = found.origins["packages", "aa"]
    assert (f"taken for a {kind} by its looks" in origin) is not sure


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("-r requirements.txt", "includes itself"),
        ("-r none.txt", "cannot read"),
        ("git+https://g.example.com/a.git#egg=a", "floats"),
        ("git+https://user:hunter2@g.example.com/a.git@v1#egg=a", "login"),
        ("-i https://user:hunter2@i.example.com/simple", "login"),
        ("hg+https://g.example.com/a@1", "only git"),
        ("https://f.example.com/archive/main.zip", "does not say which package"),
        ("-e .", "no pyproject.toml"),
        ("./project", "no pyproject.toml"),
        ("-f https://f.example.com/links.html", "url:"),
        ("${HOME}/x", "variable"),
        ("two words", "not a requirement"),
        ("--pre", "pinned by its version"),
        ("--frobnicate", "has no key"),
    ],
)
def test_what_a_line_cannot_say_is_left_with_its_reason(tmp_path, line, why):
    spec, left = lines(tmp_path, f"# first\ntqdm\n{line}\n")
    assert spec["packages"] == {"tqdm": "*"}
    ((place, reason),) = left.items()
    assert place.startswith("requirements.txt:3")
    assert why in reason
    assert "hunter2" not in reason


def test_files_that_include_each_other_end(tmp_path):
    (tmp_path / "a.txt").write_text("-r requirements.txt\n-c c.txt\naa\n")
    (tmp_path / "c.txt").write_text("numpy<2\n-r d.txt\n")
    (tmp_path / "d.txt").write_text("scipy<2\n")
    spec, left = lines(tmp_path, "-r a.txt\nnumpy\n")
    assert spec["packages"] == {"aa": "*", "numpy": "*"}
    assert spec["constraints"] == {"numpy": "<2", "scipy": "<2"}
    assert list(left.values()) == ["requirements.txt includes itself"]


def test_two_lines_about_one_package_narrow_each_other_and_a_later_pin_counts(tmp_path):
    spec, _ = lines(tmp_path, "a>=1\nA[x]<3\nb==1\nb==2\n")
    assert spec["packages"] == {"a[x]": "<3,>=1", "b": "==2"}


def test_a_wheel_for_one_python_says_which(tmp_path):
    spec, _ = lines(tmp_path, "https://f.example.com/aa-1.0-cp312-cp312-linux_x86_64.whl\n")
    assert spec["python"] == "3.12"
    assert spec["base"] == {"debian": "trixie"}
    assert "python3" not in spec["system"]["packages"], "a standalone build is the interpreter"


def test_what_the_spec_refuses_is_left_in_its_own_words(tmp_path):
    spec, left = lines(tmp_path, "tqdm\n-i ftp://i.example.com/simple\n")
    assert "index" not in spec
    (reason,) = left.values()
    assert "is not an index URL" in reason


def test_a_project_with_its_extras_indexes_and_sources(tmp_path):
    (tmp_path / "pyproject.toml").write_text("""
[project]
name = "Mine"
requires-python = ">=3.12,<3.13"
dependencies = ["torch>=2", "lib", "local", "spaced"]
[project.optional-dependencies]
all = ["mine[one]", "two"]
one = ["one==1"]
docs = ["docs"]
[[tool.uv.index]]
name = "cu124"
url = "https://whl.example.com/cu124"
explicit = true
[[tool.uv.index]]
name = "cpu"
url = "https://whl.example.com/cpu"
explicit = true
[[tool.uv.index]]
url = "https://more.example.com/simple"
[tool.uv.sources]
torch = [
    {index = "cu124", marker = "sys_platform == 'linux'"},
    {index = "cpu", marker = "sys_platform == 'darwin'"},
]
lib = {git = "https://g.example.com/lib", tag = "v1"}
local = {path = "../local"}
spaced = {workspace = true}
[tool.uv]
override-dependencies = ["numpy==2.2.6"]
constraint-dependencies = ["scipy<2"]
exclude-newer = "2025-07-01T00:00:00Z"
index-strategy = "unsafe-best-match"
""")
    found = read_pyproject(
        tmp_path / "pyproject.toml", pin=False, choice=Choice(extras=frozenset({"all"}))
    )
    spec, left = spec_of(found, tmp_path)
    assert spec["python"] == "3.12"
    assert spec["packages"] == {
        "lib": {"git": "https://g.example.com/lib", "tag": "v1"},
        "one": "==1",
        "torch": {"version": ">=2", "index": "cu124"},
        "two": "*",
    }
    assert spec["overrides"] == {"numpy": "==2.2.6"}
    assert spec["constraints"] == {"scipy": "<2"}
    assert spec["index"] == {
        "extra_urls": ["https://more.example.com/simple"],
        "exclude_newer": "2025-07-01T00:00:00Z",
        "strategy": "best-match",
        "named": {"cu124": "https://whl.example.com/cu124"},
    }
    assert [each.split()[1] for each in left] == ["local", "spaced", "optional-dependencies.docs"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.poetry.dependencies]\nx = '^1'\n", "no table"),
        ("[project]\nname = 'x'\ndependencies = 'torch'\n", "PEP 621"),
        ("not toml", "not TOML"),
        ("[project]\nname = 'x'\n", "no extra 'none'"),
    ],
)
def test_a_project_that_cannot_be_read_is_refused(tmp_path, text, message):
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        list(read_pyproject(path, pin=False, choice=Choice(extras=frozenset({"none"}))))


def test_a_uv_lock_holds_versions_with_the_markers_of_its_forks(tmp_path):
    (tmp_path / "uv.lock").write_text("""
version = 1
requires-python = ">=3.11"
[[package]]
name = "mine"
version = "0"
source = { editable = "." }
[[package]]
name = "torch"
version = "2.6.0"
source = { registry = "https://whl.example.com/cu124" }
resolution-markers = ["sys_platform == 'linux'"]
[[package]]
name = "torch"
version = "2.5.0"
source = { registry = "https://whl.example.com/cpu" }
resolution-markers = ["sys_platform == 'darwin'", "sys_platform == 'win32'"]
[[package]]
name = "both"
version = "1"
source = { registry = "https://index.example.com/simple" }
sdist = { url = "https://f.example.com/both-1.tar.gz", hash = "sha256:00", size = 1 }
wheels = [{ url = "https://f.example.com/both-1-py3-none-any.whl", hash = "sha256:00", size = 1 }]
[[package]]
name = "source"
version = "2"
source = { registry = "https://index.example.com/simple" }
sdist = { url = "https://f.example.com/source-2.tar.gz", hash = "sha256:00", size = 1 }
""")
    spec, left = spec_of(read_uv_lock(tmp_path / "uv.lock"))
    assert spec["constraints"] == {"both": "==1", "source": "==2", "torch": "==2.6.0"}
    assert spec["build"] == {"sdists": ["source"]}
    assert not left


def test_a_foreign_lock_comes_in_with_the_index_that_is_not_the_usual_one(tmp_path):
    path = tmp_path / "pylock.toml"
    path.write_text("""
lock-version = "1.0"
requires-python = ">=3.12"
[[packages]]
name = "aa"
version = "1.0"
index = "https://usual.example.com/simple"
dependencies = [{name = "bb"}]
wheels = [{url = "https://f.example.com/aa-1.0-py3-none-any.whl", hashes = {sha256 = "00"}}]
[[packages]]
name = "bb"
version = "2.0"
index = "https://usual.example.com/simple"
wheels = [{url = "https://f.example.com/bb-2.0-py3-none-any.whl", hashes = {sha256 = "00"}}]
[[packages]]
name = "torch"
version = "2.6.0+cu124"
index = "https://whl.example.com/cu124"
wheels = [{url = "https://f.example.com/torch-2.6.0-py3-none-any.whl", hashes = {sha256 = "00"}}]
[[packages]]
name = "vcs"
vcs = {type = "git", url = "https://g.example.com/vcs", commit-id = "abcdef0"}
[[packages]]
name = "archive"
archive = {url = "https://f.example.com/archive-1-py3-none-any.whl", hashes = {sha256 = "00"}}
[[packages]]
name = "folder"
directory = {path = "."}
[[packages]]
name = "source"
version = "1"
sdist = {url = "https://f.example.com/source-1.tar.gz", hashes = {sha256 = "00"}}
""")
    spec, left = spec_of(read_pylock(path, pin=True))
    assert spec["packages"] == {
        "aa": "==1.0",
        "archive": {"url": "https://f.example.com/archive-1-py3-none-any.whl"},
        "torch": {"version": "==2.6.0+cu124", "index": "cu124"},
        "source": "==1",
        "vcs": {
            "git": "https://g.example.com/vcs",
            "commit": "abcdef0",
        },
    }
    assert spec["constraints"] == {"bb": "==2.0"}
    assert [each.split()[1] for each in left] == ["folder"]
    assert spec["build"] == {"sdists": ["source"]}
    path.write_text("lock-version = 1\n")
    with pytest.raises(UsageError, match="not a lock that is read"):
        list(read_pylock(path, pin=False))


def held(name, *requires, asked=False):
    at = At(place=name, text=name)
    return Held(at=at, name=name, version="1", requires=requires, asked=asked)


@pytest.mark.parametrize(
    ("packages", "asked"),
    [
        ([held("a", "b"), held("b"), held("c")], {"a", "c"}),
        ([held("a", "b", asked=True), held("b"), held("c", asked=True)], {"a", "c"}),
        ([held("a", "b"), held("b", asked=True), held("c", asked=True)], {"a", "b", "c"}),
        ([held("a", "b"), held("b"), held("pip", asked=True), held("setuptools", asked=True)],
         {"a", "setuptools"}),  # `python -m venv` marks these, Poetry nothing
        ([held("a", "b", asked=True), held("b", "c"), held("c"), held("d", "e"), held("e", "d")],
         {"a", "d"}),
        ([held("a", "b", asked=True), held("b", asked=True), held("setuptools")],
         {"a", "setuptools"}),  # uv, beside what its venv was seeded with
        ([held("a", "b", asked=True), held("b", asked=True)], {"a"}),  # uv marks all of them
        ([held("a", "b"), held("b", "a"), held("c")], {"a", "c"}),  # a ring has no beginning
        ([held("pip"), held("a")], {"a"}),
    ],
)  # fmt: skip
def test_what_nobody_else_needs_was_asked_for(packages, asked):
    spec, _ = spec_of(held_statements(packages, pin=False))
    assert spec["packages"].keys() == asked
    assert "constraints" not in spec
    spec, _ = spec_of(held_statements(packages, pin=True))
    rest = {each.name for each in packages} - asked - {"pip"}
    assert spec.get("constraints", {}).keys() == rest


def dist(site, name, version, *, files=(), requires=()):
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    )
    for file, text in files:
        (folder / file).write_text(text)


def test_a_virtual_environment_says_where_its_packages_came_from(tmp_path):
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    (tmp_path / "pyvenv.cfg").parent.mkdir(exist_ok=True)
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = true\nversion = 3.12.1\n")
    dist(site, "Aa", "1.0", requires=["bb>=1", "cc; extra == 'x'", "bad bad"])
    dist(site, "bb", "2.0")
    dist(site, "cc", "3.0+cu124")
    git = '{"url": "https://g.example.com/d", "vcs_info": {"vcs": "git", "commit_id": "abcdef0"}}'
    dist(site, "dd", "1", files=[("direct_url.json", git)])
    dist(
        site,
        "ee",
        "1",
        files=[("direct_url.json", '{"url": "file:///src/ee", "dir_info": {"editable": true}}')],
    )
    wheel = '{"url": "https://f.example.com/ff-1-py3-none-any.whl", "archive_info": {}}'
    dist(site, "ff", "1", files=[("direct_url.json", wheel)])
    dist(site, "gg", "1", files=[("direct_url.json", "{")])
    dist(site, "hh", "not a version")
    for name, origin in {
        "ii": "[" * 100_000,
        "jj": "1" * 5000,
        "kk": '{"url": "https://[x"}',
    }.items():
        dist(site, name, "1", files=[("direct_url.json", origin)])
    spec, left = spec_of(read_venv(tmp_path, pin=True))
    assert spec["python"] == "3.12"
    assert spec["packages"] == {
        "aa": "==1.0",
        "cc": "==3.0+cu124",
        "dd": {"git": "https://g.example.com/d", "commit": "abcdef0"},
        "ff": {"url": "https://f.example.com/ff-1-py3-none-any.whl"},
    }
    assert spec["constraints"] == {"bb": "==2.0"}
    assert len(left) == 7


def test_what_pip_left_behind_is_no_package_and_metadata_has_any_encoding(tmp_path):
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    dist(site, "numpy", "2.0")
    dist(site, "~umpy", "1.26.3")
    dist(site, "old", "1.0", requires=["numpy"])
    dist(site, "half", "1.0")
    (site / "half-1.0.dist-info" / "METADATA").unlink()
    (tmp_path / "pyvenv.cfg").write_bytes("home = /usr/bin\nprompt = M\xfcller\n".encode("latin-1"))
    with (site / "old-1.0.dist-info" / "METADATA").open("ab") as stream:
        stream.write("Author: J\xf6rg\n".encode("latin-1"))
    spec, left = spec_of(read_venv(tmp_path, pin=True))
    assert spec["packages"] == {"old": "==1.0"}
    assert spec["constraints"] == {"numpy": "==2.0"}
    assert not left


def test_metadata_of_a_venv_that_are_too_long_or_no_file(tmp_path):
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    (site / "demo-1.dist-info").mkdir(parents=True)
    (tmp_path / "pyvenv.cfg").write_text("")
    metadata = site / "demo-1.dist-info" / "METADATA"
    with metadata.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match=r"METADATA is larger than 4,194,304 bytes"):
        list(read_venv(tmp_path, pin=False))
    metadata.unlink()
    os.mkfifo(metadata)  # to read it would never end
    assert not any("demo" in str(each) for each in read_venv(tmp_path, pin=False))


def test_a_virtual_environment_without_packages_is_refused(tmp_path):
    (tmp_path / "pyvenv.cfg").write_text("")
    with pytest.raises(UsageError, match="site-packages"):
        list(read_venv(tmp_path, pin=False))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("requirements-dev.in", "", Kind.REQUIREMENTS),
        ("frozen", "torch==2.6.0\n", Kind.REQUIREMENTS),
        ("frozen", "# pip freeze\n-e git+https://g.example.com/a@v1#egg=a\n", Kind.REQUIREMENTS),
        ("pyproject.toml", "", Kind.PYPROJECT),
        ("uv.lock", "", Kind.PYPROJECT),
        ("pylock.serve.toml", "", Kind.PYLOCK),
        ("some.lock", 'lock-version = "1.0"\n', Kind.PYLOCK),
        ("Dockerfile", "", Kind.DOCKERFILE),
        ("Dockerfile.cuda", "", Kind.DOCKERFILE),
        ("serve.Dockerfile", "", Kind.DOCKERFILE),
        ("Containerfile", "", Kind.DOCKERFILE),
        ("build", "# syntax=x\n\nfrom debian\n", Kind.DOCKERFILE),
        ("build", "# one\u2028torch==1\nFROM debian\n", Kind.DOCKERFILE),
    ],
)
def test_the_kind_of_a_file_is_told_by_its_name_and_then_by_its_text(tmp_path, name, content, kind):
    (tmp_path / name).write_text(content)
    assert find_source(str(tmp_path / name)).kind is kind


def test_a_folder_is_what_it_holds(tmp_path):
    with pytest.raises(UsageError, match="holds nothing"):
        find_source(str(tmp_path))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("")
    assert find_source(str(tmp_path)).kind is Kind.VENV
    (tmp_path / "pyproject.toml").write_text("")
    found = find_source(f"{tmp_path}[serve, audio]")
    assert (found.kind, found.extras) == (Kind.PYPROJECT, {"serve", "audio"})
    (tmp_path / "Dockerfile").write_text("")
    with pytest.raises(UsageError, match="holds several"):
        find_source(str(tmp_path))


@pytest.mark.parametrize("name", ["oci:dir", "docker:x", "image.tar", "registry.example.com/a/b:1"])
def test_images_are_told_by_their_names(name):
    assert find_source(name).kind is Kind.IMAGE


@pytest.mark.parametrize("name", ["requirments.txt", "./none", "word", "/nowhere/x"])
def test_what_is_not_there_is_told_with_what_could_be_named(name):
    with pytest.raises(UsageError, match="there is no") as told:
        find_source(name)
    assert "docker:NAME" in told.value.hint


@pytest.mark.parametrize(
    "content", [b"{}\n", b"[section]\n", b"key: value\n", b"\x00\x01", b"\xff\xfe"]
)
def test_what_is_no_known_kind_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UsageError):
        find_source(str(tmp_path / "x"))


def test_a_socket_and_a_pipe_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        for name in ("pipe", "s"):
            with pytest.raises(UsageError, match="neither a file nor a folder"):
                find_source(str(tmp_path / name))


def test_many_packages_are_written_in_a_time_that_their_number_explains(tmp_path):
    path = tmp_path / "requirements.txt"
    path.write_text("".join(f"a{number}\n" for number in range(8000)))
    found = fold(read_requirements_file(path), Target(folder=tmp_path))
    start = time.process_time()
    assert "\n  a7999: " in write_spec("x", "y", found)
    assert time.process_time() - start < 2  # it took eight
