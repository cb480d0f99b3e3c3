"""The library: its names, what importing it costs, and that the command line stands on it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import envbuilder
from tests.pages import _EXAMPLE
from tests.rooms import PACKAGE, imports, modules

FUNCTIONS = [name for name in envbuilder.__all__ if name[0].islower()]


@pytest.mark.parametrize("name", envbuilder.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    value = getattr(envbuilder, name)
    assert value.__doc__
    assert name in dir(envbuilder)


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = envbuilder.nothing


def test_importing_it_imports_no_room():
    code = "import sys, envbuilder; print([n for n in sys.modules if n.startswith('envbuilder.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_command_line_stands_on_it(name):
    """What the library offers is what the commands call, so that the two cannot come apart.

    Or what they do for each platform of a spec, which a caller may do for the only one.
    """
    home = envbuilder._HOME_OF.get(name)
    wanted = f"envbuilder.{home}.{name}" if home else "envbuilder"
    homes = {"platforms", "publish_platforms"}
    above = [path for path in modules() if path.parts[-2] == "cli" or path.stem in homes]
    used = set().union(*map(imports, above))
    assert wanted in used or name == "lock_environment"  # beside those that lock several


def test_types_ship_with_it():
    assert (PACKAGE / "py.typed").is_file()


def test_the_example_calls_what_there_is():
    """Its calls are checked against the signatures, without running them."""
    lines = _EXAMPLE.splitlines()
    code = "\n".join(line for line in lines if not line.startswith("```"))
    compile(code, "example", "exec")
    for name in set(re.findall(r"envbuilder\.(\w+)", code)):
        assert name in envbuilder.__all__, name


def test_a_context_is_what_was_asked_for(tmp_path: Path):
    with envbuilder.open_context(store=tmp_path / "store", offline=True) as context:
        assert context.offline
        assert context.store.root == tmp_path / "store"
        with pytest.raises(envbuilder.SpecError):
            envbuilder.load(tmp_path / "none.yaml")
