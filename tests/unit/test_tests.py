"""Programs that tests write as text: whatever they import is there."""

import ast
import importlib
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

TESTS = Path(__file__).parents[1]
_IMPORT = re.compile(r"(?m)^from (envbuilder[\w.]*) import (\w+(?:, *\w+)*)(?: *;| *$)")


def imports(text: str) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of each import in a text that stands in a test's source."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for module, names in _IMPORT.findall(node.value):
                yield from ((module, name.strip()) for name in names.split(","))


def test_what_a_program_in_a_text_imports_is_there() -> None:
    found = [
        (path, *each) for path in sorted(TESTS.rglob("*.py")) for each in imports(path.read_text())
    ]
    assert len(found) > 10
    assert [each for each in found if not is_there(*each[1:])] == []


def is_there(module: str, name: str) -> bool:
    """Return whether ``from module import name`` finds something, be it a module not yet loaded."""
    loaded = importlib.import_module(module)
    if hasattr(loaded, name):
        return True
    return hasattr(loaded, "__path__") and find_spec(f"{module}.{name}") is not None
