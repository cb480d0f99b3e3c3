"""What the documentation says is true: commands parse, specs load, links lead somewhere."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from envbuilder.cli.app import cli
from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.spec import schema
from envbuilder.model.spec_file import load
from tests.pages import PAGES as PAGES_FROM_CODE
from tests.pages import REFERENCE

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = re.compile(r"^\s*\$ ((?:make|envbuilder) .+)$", re.MULTILINE)
COMMANDS = [
    pytest.param(page, line, id=f"{page.relative_to(ROOT)}: {line}")
    for page in PAGES
    for line in SHELL.findall(page.read_text(encoding="utf-8"))
]


HOST_CODE = [
    path
    for path in (ROOT / "envbuilder").rglob("*.py")
    if "probe" not in path.relative_to(ROOT).parts
    and not path.name.startswith("hook_")  # those run elsewhere
]


def variables(code):
    """Find the names that ``code`` looks up in an environment: environ.get, [], or ``in``."""
    if "environ" not in code:  # a look at the tree of every module takes seconds
        return
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Call(func=ast.Attribute(attr="get", value=where), args=[ast.Constant(), *_]):
                key = node.args[0]
            case ast.Subscript(value=where, slice=ast.Constant() as key):
                pass
            case ast.Compare(left=ast.Constant() as key, comparators=[where]):
                pass
            case _:
                continue
        named = where.attr if isinstance(where, ast.Attribute) else getattr(where, "id", "")
        if named == "environ" and re.fullmatch(r"[A-Z][A-Z_]*[A-Z]", str(key.value)):
            yield key.value


def test_variables_are_found_in_code():
    code = 'a = os.environ.get("ONE"); b = environ["TWO"]; c = "THREE" in environ; d = x["NO"]'
    assert set(variables(code)) == {"ONE", "TWO", "THREE"}


def parse(group, args):
    """Let click parse ``args`` as it would, without running anything."""
    with group.make_context("envbuilder", list(args), resilient_parsing=False) as context:
        if isinstance(group, click.Group):
            _, command, rest = group.resolve_command(
                context, [*context._protected_args, *context.args]
            )
            parse(command, rest)


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_exist_and_take_these_arguments(page, line):
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in words[1:]:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: no target {target}"
    elif words[0] == "envbuilder":
        parse(cli, words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_spec_of_the_readme_loads(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "omni-gpu.yaml").write_text(block)
    shown = load(tmp_path / "omni-gpu.yaml")
    assert shown == load(ROOT / "lockfiles" / "omni-gpu.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "lockfiles").glob("*.yaml")), ids=lambda p: p.stem)
def test_our_own_specs_load_and_are_named_after_their_files(path):
    assert load(path).name == path.stem


def test_errors_have_the_exit_codes_that_the_readme_lists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## Commands and exit codes")
    listed = {int(code) for code in re.findall(r"(?:^|[·.]\s)(\d+) [a-z]", section, re.MULTILINE)}
    codes = {error.exit_code for error in EnvbuilderError.__subclasses__()}
    assert listed == {0, EnvbuilderError.exit_code} | codes


def test_the_reference_has_every_exit_code_and_every_variable_of_ours():
    text = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    codes = {str(error.exit_code) for error in EnvbuilderError.__subclasses__()}
    assert codes <= set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE))
    code = "".join(path.read_text("utf-8") for path in (ROOT / "envbuilder").rglob("*.py"))
    ours = set(re.findall(r"\bENVBUILDER_[A-Z_]+\b", code))
    ours.discard("ENVBUILDER_INDEXES")  # passes between us and a step of a build, no user sets it
    assert {"ENVBUILDER_CACHE"} <= ours == set(re.findall(r"\bENVBUILDER_[A-Z_]+\b", text))


def test_the_reference_has_every_variable_of_others_that_the_code_asks_for():
    text = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([A-Z][A-Z_]+)`", text))
    asked = {name for path in HOST_CODE for name in variables(path.read_text(encoding="utf-8"))}
    assert asked <= told, f"{sorted(asked - told)} are heeded, but the page does not name them"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write the pages in a process of its own: click remembers how a command was called here."""
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([sys.executable, "-m", "tests.pages", folder], cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize("name", PAGES_FROM_CODE)
def test_a_page_made_from_the_code_says_what_the_code_says(name, written):
    found = (REFERENCE / name).read_text(encoding="utf-8")
    assert found == (written / name).read_text("utf-8"), "write it anew: python -m tests.pages"


def keys_of(part):
    """Find the names of all keys that a schema knows, at any depth."""
    if isinstance(part, dict):
        yield from part.get("properties", {})
        for value in part.values():
            yield from keys_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from keys_of(value)


def test_the_page_on_the_spec_has_every_key():
    text = (REFERENCE / "spec.md").read_text(encoding="utf-8")
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text))))
    known = set(keys_of(schema()))
    assert len(known) > 40
    assert known <= told, f"spec.md does not explain {sorted(known - told)}"
