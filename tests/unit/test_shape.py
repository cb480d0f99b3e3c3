"""The shape of the house: short functions, one context, nothing made far from where it is owned."""

import ast
import statistics
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "envbuilder"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def trees() -> list[tuple[str, ast.Module]]:
    return [
        (str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


@cache
def functions() -> list[tuple[str, Function]]:
    return [
        (f"{path}:{node.lineno} {node.name}", node)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, Function)
    ]


def lines(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def arguments(function: Function) -> set[str]:
    given = function.args
    return {each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)}


def is_command(function: Function) -> bool:
    """Return whether click reads the function: its arguments are the declaration."""
    called = (each.func for each in function.decorator_list if isinstance(each, ast.Call))
    return any(isinstance(each, ast.Attribute) and each.attr == "command" for each in called)


def test_functions_are_short():
    sizes = sorted(lines(each) for _, each in functions())
    assert statistics.median(sizes) <= 8
    assert sizes[len(sizes) * 9 // 10] <= 22


def test_no_function_is_long_but_what_declares_a_command():
    long = {name: size for name, each in functions() if (size := lines(each)) > 60}
    commands = {name for name, each in functions() if is_command(each)}
    assert long.keys() <= commands, long


def test_what_travels_together_travels_in_a_context():
    both = [name for name, each in functions() if {"store", "progress"} <= arguments(each)]
    assert len(both) <= 15, both


@pytest.mark.parametrize("name", ["builder", "offline"])
def test_only_the_edge_takes_what_a_context_holds(name):
    """``builder`` and ``offline`` go into a context where it is opened, but for a git mirror's."""
    takes = [path for path, each in functions() if {"store", name} <= arguments(each)]
    below = [path for path in takes if not path.startswith("__init__.py")]
    assert len(below) <= 1, below


def calls(tree: ast.Module) -> set[str]:
    found = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {ast.unparse(each) for each in found}


@pytest.mark.parametrize("made", ["Store.default", "Client.from_environment"])
def test_stores_and_registries_are_opened_at_the_edge(made):
    """By a command, or by the library's ``open_context``; every room below takes them."""
    makers = {path for path, tree in trees() if made in calls(tree)}
    assert makers, "nobody makes it: has it another name now?"
    assert {path.partition("/")[0] for path in makers} <= {"cli", "__init__.py"}


def test_no_test_has_to_clear_a_cache():
    """What was asked of the outside belongs to a client, which ends with its context."""
    tests = PACKAGE.parent / "tests"
    named = "cache_" + "clear"
    assert [path for path in tests.rglob("*.py") if named in path.read_text("utf-8")] == []
