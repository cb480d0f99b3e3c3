"""Run the matching tests against each mutation, in copies of the tree, several at a time."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from .mutate import Mutation

_SLOWER = 4
"""A mutant that takes this many times as long as the sound module runs in circles."""


class BrokenTestsError(Exception):
    """The tests fail without any mutation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a mutation: ``killed`` by its tests, or not; ``seconds`` of their time."""

    mutation: Mutation
    killed: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A copy of the project: mutations are written into ``package``, tests lie in ``unit``."""

    root: Path
    package: str = "envbuilder"
    unit: str = "tests/unit"

    def test(self, files: Sequence[str], *, limit: float) -> bool:
        """Return whether the tests in ``files`` pass within ``limit`` seconds."""
        environment = os.environ | {
            "PYTHONPATH": str(self.root),  # before what is installed
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they start slowly, and unit tests want none
            "PYTHONDONTWRITEBYTECODE": "1",  # two mutations in one second look alike to Python
            "ENVBUILDER_CACHE": str(self.root / "store"),
        }
        options = ("-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(self.root / "temp"))
        paths = (f"{self.unit}/{name}" for name in files)
        with subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *paths],
            cwd=self.root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                return process.wait(limit) == 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)  # the tests start processes of their own
                return False

    def write(self, module: str, text: bytes) -> None:
        """Put ``text`` in the place of a module."""
        (self.root / self.package / module).write_bytes(text)


def copies(project: Path, names: Iterable[str], folder: Path, count: int) -> list[Tree]:
    """Copy what the tests need (``names`` in ``project``) ``count`` times."""
    trees = [Tree(root=folder / str(number)) for number in range(count)]
    ignored = shutil.ignore_patterns("__pycache__")
    for tree in trees:
        tree.root.mkdir()
        for name in names:
            source, target = project / name, tree.root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored, symlinks=True)
            else:
                shutil.copy(source, target)
    return trees


def outcomes(
    trees: Sequence[Tree],
    mutations: Sequence[Mutation],
    tests: Mapping[str, Sequence[str]],
    *,
    until: float,
    report: Callable[[Outcome], None],
) -> list[Outcome]:
    """Try each mutation on one of ``trees``; begin none after ``until`` (``time.monotonic``).

    ``tests`` names the files for each module. Raises BrokenTestsError if they fail as they are.
    """
    if time.monotonic() > until:
        return []
    free: SimpleQueue[Tree] = SimpleQueue()
    for tree in trees:
        free.put(tree)

    def measured(files: Sequence[str]) -> float:
        tree, start = free.get(), time.monotonic()
        passed = tree.test(files, limit=3600)
        free.put(tree)
        if not passed:
            raise BrokenTestsError(f"without any mutation these fail: {', '.join(files)}")
        return time.monotonic() - start

    def tried(mutation: Mutation) -> Outcome | None:
        tree, start = free.get(), time.monotonic()
        if start > until:
            free.put(tree)
            return None
        files = tuple(tests[mutation.module])
        sound = (tree.root / tree.package / mutation.module).read_bytes()
        tree.write(mutation.module, mutation.apply(sound))
        passed = tree.test(files, limit=30 + _SLOWER * usual[files])
        tree.write(mutation.module, sound)
        free.put(tree)
        outcome = Outcome(mutation=mutation, killed=not passed, seconds=time.monotonic() - start)
        report(outcome)
        return outcome

    with ThreadPoolExecutor(len(trees)) as pool:
        groups = sorted({tuple(tests[each.module]) for each in mutations})
        usual = dict(zip(groups, pool.map(measured, groups), strict=True))
        return [each for each in pool.map(tried, mutations) if each is not None]
