"""Specs from projects: where uv takes a dependency from, groups of dependencies, keys of uv."""

from pathlib import Path

import pytest

from envbuilder.model.errors import UsageError
from envbuilder.workflow.adopt.fold import Target, fold
from envbuilder.workflow.adopt.pyproject import Choice, read_groups, read_pyproject

GROUPS = """
[dependency-groups]
dev = ["pytest", {include-group = "lint"}]
lint = ["ruff"]
Serve_It = ["uvicorn==0.30", {include-group = "metrics"}, {include-group = "metrics"}]
metrics = ["prometheus-client", {include-group = "serve-it"}]
wrong = [{include-group = "none"}, {other = "x"}, "two words"]
itself = ["mine[extra]"]
"""


def write(tmp_path, text, project='name = "mine"\ndependencies = ["base"]'):
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[project]\n{project}\n{text}")
    return path


def spec_of(statements, **target):
    found = fold(statements, Target(folder=Path(), **target))
    return found.spec, {each.at.text: each.left for each in found.left}


def read(tmp_path, text, *, python="3.12", project='dependencies = ["idna>=3"]', **choice):
    path = write(tmp_path, text, f'name = "mine"\n{project}')
    return spec_of(read_pyproject(path, choice=Choice(**choice)), python=python)


GIT = {"git": "https://g.example.com/idna", "tag": "v3"}


@pytest.mark.parametrize(
    ("marker", "python", "expected"),
    [
        ("sys_platform == 'darwin'", "3.12", ">=3"),
        ("sys_platform == 'linux'", "3.12", GIT),
        ("python_version < '3.11'", "3.12", ">=3"),
        ("python_version < '3.11'", "3.10", GIT),
        ("platform_machine == 'aarch64'", "3.12", ">=3"),
        ("python_full_version >= '3.12.1'", "3.12", GIT),
    ],
)
def test_a_source_whose_marker_does_not_hold_leaves_it_to_the_index(
    tmp_path, marker, python, expected
):
    text = f'[tool.uv.sources]\nIdna = {{git = "{GIT["git"]}", tag = "v3", marker = "{marker}"}}\n'
    spec, left = read(tmp_path, text, python=python)
    assert spec["packages"] == {"idna": expected}
    assert not left


def test_the_markers_of_a_dependency_and_of_its_source_both_count(tmp_path):
    text = (
        '[tool.uv.sources]\nidna = [{url = "https://f.example.com/idna-3-py3-none-any.whl", '
        "marker = \"sys_platform == 'linux'\"}]\n"
    )
    project = "dependencies = [\"idna; python_version < '3.10'\"]"
    assert read(tmp_path, text, project=project)[0]["packages"] == {}
    spec, _ = read(tmp_path, text, project=project, python="3.9")
    assert spec["packages"] == {"idna": {"url": "https://f.example.com/idna-3-py3-none-any.whl"}}


@pytest.mark.parametrize(
    ("said", "kind", "sure"),
    [
        ('branch = "2025"', "branch", True), ('tag = "main"', "tag", True),
        ('branch = "abcdef0"', "branch", True), ('rev = "abcdef0"', "commit", True),
        ('rev = "main"', "branch", False), ('rev = "refs/tags/main"', "tag", True),
    ],
)  # fmt: skip
def test_a_source_of_git_says_the_kind_of_its_ref(tmp_path, said, kind, sure):
    text = f'[tool.uv.sources]\nidna = {{git = "https://g.example.com/idna", {said}}}\n'
    path = write(tmp_path, text, 'name = "mine"\ndependencies = ["idna"]')
    found = fold(read_pyproject(path), Target(folder=tmp_path))
    ref = said.split('"')[1].removeprefix("refs/tags/")
    table = {"git": "https://g.example.com/idna", kind: ref}
    assert found.spec["packages"] == {"idna": table}
    assert ("looks" in found.origins["packages", "idna"]) is not sure


CHIPS = """
[[tool.uv.index]]
name = "cpu"
url = "https://whl.example.com/cpu"
explicit = true
[[tool.uv.index]]
name = "gpu"
url = "https://whl.example.com/gpu"
explicit = true
[tool.uv.sources]
torch = [{index = "cpu", extra = "cpu"}, {index = "gpu", group = "On_GPU"}]
[dependency-groups]
on-gpu = ["torch>=2.6"]
"""


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, "<3"),
        ({"extras": frozenset({"cpu"})}, {"version": "<3", "index": "cpu"}),
        ({"groups": frozenset({"on-gpu"})}, {"version": "<3,>=2.6", "index": "gpu"}),
    ],
)
def test_a_source_of_an_extra_or_a_group_counts_where_that_is_read(tmp_path, choice, expected):
    project = 'dependencies = ["torch<3"]\n[project.optional-dependencies]\ncpu = ["torch"]\n'
    spec, _ = read(tmp_path, CHIPS, project=project, **choice)
    assert spec["packages"] == {"torch": expected}


@pytest.mark.parametrize("source", ['{git = "x", marker = "bad"}', '"text"', '{index = "none"}'])
def test_a_source_that_cannot_be_read_is_left(tmp_path, source):
    spec, left = read(tmp_path, f"[tool.uv.sources]\nidna = {source}\n")
    assert left.keys() == {"idna>=3"}
    assert spec["packages"] == {}


def test_what_development_needs_is_left_unless_it_is_asked_for(tmp_path):
    spec, left = spec_of(read_pyproject(write(tmp_path, GROUPS)))
    assert spec["packages"] == {"base": "*"}
    assert len(left) == 6
    assert "nobody asked for" in left["dependency-groups.dev"]
    spec, left = spec_of(
        read_pyproject(write(tmp_path, GROUPS), choice=Choice(groups=frozenset({"dev"})))
    )
    assert spec["packages"].keys() == {"base", "pytest", "ruff"}
    assert "dependency-groups.lint" not in left


def test_groups_include_others_and_rings_end(tmp_path):
    path = write(tmp_path, GROUPS + '[tool.uv]\ndefault-groups = ["serve-it", "wrong"]\n')
    spec, left = spec_of(read_pyproject(path))
    assert spec["packages"] == {"base": "*", "uvicorn": "==0.30", "prometheus-client": "*"}
    assert "no group is named 'none'" in left["dependency-groups.wrong"]
    assert "neither a requirement" in left["dependency-groups.wrong"]
    assert "not a requirement" in left["two words"]
    choice = Choice(default_groups=False, groups=frozenset({"nowhere"}))
    spec, left = spec_of(read_pyproject(path, choice=choice))
    assert spec["packages"] == {"base": "*"}
    assert left["dependency-groups.nowhere"] == "no group has this name"


def test_all_groups_but_one_and_extras_that_groups_name(tmp_path):
    path = write(
        tmp_path, GROUPS + '[tool.uv]\ndev-dependencies = ["old"]\n',
        'name = "mine"\n[project.optional-dependencies]\nextra = ["more"]\n',
    )  # fmt: skip
    choice = Choice(all_groups=True, without=frozenset({"lint", "wrong"}))
    spec, left = spec_of(read_pyproject(path, choice=choice))
    names = {"pytest", "ruff", "old", "uvicorn", "prometheus-client", "more"}
    assert spec["packages"].keys() == names
    assert not left
    spec, _ = spec_of(read_pyproject(path, choice=Choice(all_extras=True)))
    assert spec["packages"] == {"more": "*"}


def test_a_long_chain_of_groups_is_read(tmp_path):
    chain = "".join(f'g{n} = [{{include-group = "g{n + 1}"}}]\n' for n in range(3000))
    path = write(tmp_path, f'[dependency-groups]\n{chain}g3000 = ["end"]\n')
    spec, left = spec_of(read_groups(path, ["g0"], sources=True))
    assert spec["packages"] == {"end": "*"}
    assert not left


def test_groups_alone_need_no_project(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(GROUPS)
    spec, _ = spec_of(read_groups(path, ["serve_it"], sources=False))
    assert spec["packages"].keys() == {"uvicorn", "prometheus-client"}
    path.write_text("dependency-groups = 1\n")
    with pytest.raises(UsageError, match="PEP 621"):
        list(read_groups(path, ["dev"], sources=False))


def test_keys_of_uv_that_say_what_is_installed_are_left_and_those_of_uv_itself_are_not(tmp_path):
    text = """
[tool.uv]
find-links = ["https://f.example.com/links"]
no-index = true
no-binary = false
environments = ["sys_platform == 'linux'"]
prerelease = "allow"
torch-backend = "cu128"
no-build-isolation-package = ["x"]
some-new-key = 1
link-mode = "copy"
required-version = ">=0.5"
managed = true
[[tool.uv.index]]
url = "https://f.example.com/flat"
format = "flat"
"""
    spec, left = read(tmp_path, text)
    assert left.keys() == {
        "tool.uv.find-links", "tool.uv.no-index", "tool.uv.environments", "tool.uv.prerelease",
        "tool.uv.torch-backend", "tool.uv.some-new-key",
        "tool.uv.index https://f.example.com/flat",
    }  # fmt: skip
    assert "index" not in spec


@pytest.mark.parametrize(
    ("head", "said", "built"),
    [
        ("", "", False),
        ("", "package = true", True),
        ("[build-system]\nrequires = []\n", "", True),
        ("[build-system]\nrequires = []\n", "package = false", False),
    ],
)
def test_a_project_is_a_package_as_uv_takes_it(tmp_path, head, said, built):
    spec, _ = read(tmp_path, f"{head}[tool.uv]\n{said}\n")
    assert ("mine" in spec["packages"]) is built


def test_what_a_project_requires_and_groups_alone(tmp_path):
    path = write(tmp_path, f"[build-system]\nrequires = []\n{GROUPS}")
    spec, _ = spec_of(read_pyproject(path, choice=Choice(project="dependencies")))
    assert spec["packages"] == {"base": "*"}
    choice = Choice(project="nothing", groups=frozenset({"lint"}))
    spec, _ = spec_of(read_pyproject(path, choice=choice))
    assert spec["packages"] == {"ruff": "*"}
