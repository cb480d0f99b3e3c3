"""``python -m tests.mutants [ROOM/MODULE…]``: mutate the core a little; who notices?

A sample, the same for the same ``--seed``; ``--all`` tries every mutation (hours). Exit code 1 if
more than ``--most`` survive; without ``--most`` the table is the whole result.
"""

import argparse
import os
import random
import tempfile
import time
from pathlib import Path

from .equivalent import EQUIVALENT
from .matching import matching_tests, modules
from .mutate import Mutation, mutations
from .run import Outcome, copies, outcomes

ROOT = Path(__file__).parents[2]
PACKAGE, UNIT = ROOT / "envbuilder", ROOT / "tests" / "unit"
NEEDED = ("envbuilder", "tests", "templates", "lockfiles", "docs", "pyproject.toml", "README.md",
          "Makefile", "LICENSE")  # fmt: skip


def main() -> int:
    asked = _arguments()
    found = _found(asked.modules)
    chosen = found if asked.all else _sample(found, asked.number, asked.seed)
    tests = {each.module: matching_tests(Path(each.module), UNIT) for each in chosen}
    untested = sorted(module for module, files in tests.items() if not files)
    if untested:
        raise SystemExit(f"no unit tests match {', '.join(untested)}: add them in matching.py")
    print(f"{len(chosen)} of {len(found)} mutations, seed {asked.seed}", flush=True)
    until = time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = copies(ROOT, NEEDED, Path(folder), asked.jobs)
        done = outcomes(trees, chosen, tests, until=until, report=_show)
    return _summary(done, len(chosen), asked.most)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", help="only these, like model/plan or smoke/judge")
    parser.add_argument("--all", action="store_true", help="every mutation, not a sample")
    parser.add_argument("--number", type=int, default=100, help="how many to sample (100)")
    parser.add_argument("--seed", type=int, default=0, help="which sample (0)")
    parser.add_argument("--minutes", type=float, default=30, help="begin none after these (30)")
    parser.add_argument("--most", type=int, help="exit code 1 if more survive")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    return parser.parse_args()


def _found(asked: list[str]) -> list[Mutation]:
    """List the mutations of the modules that are asked for, but for the equivalent ones."""
    names = [each.removesuffix(".py") for each in asked]
    chosen = [
        module
        for module in modules(PACKAGE)
        if not names or any(module.with_suffix("").as_posix().startswith(name) for name in names)
    ]
    if not chosen:
        raise SystemExit(f"no module that is mutated is called {' or '.join(asked)}")
    texts = {module.as_posix(): (PACKAGE / module).read_bytes() for module in chosen}
    return [
        each
        for module, text in texts.items()
        for each in mutations(module, text)
        if (module, *each.shown(text)) not in EQUIVALENT
    ]


def _sample(found: list[Mutation], number: int, seed: int) -> list[Mutation]:
    return random.Random(seed).sample(found, min(number, len(found)))


def _show(outcome: Outcome) -> None:
    mutation = outcome.mutation
    before, after = mutation.shown((PACKAGE / mutation.module).read_bytes())
    word = "killed" if outcome.killed else "SURVIVED"
    place = f"{mutation.module}:{mutation.line}"
    print(f"{word:8} {outcome.seconds:4.0f} s  {place}  {before}  ->  {after}", flush=True)


def _summary(done: list[Outcome], chosen: int, most: int | None) -> int:
    survivors = [each for each in done if not each.killed]
    print(f"\n{len(done) - len(survivors)} killed, {len(survivors)} survived", end="")
    print(f", {chosen - len(done)} not tried for want of time" * (len(done) < chosen))
    for module in sorted({each.mutation.module for each in survivors}):
        mine = [each for each in survivors if each.mutation.module == module]
        tried = sum(each.mutation.module == module for each in done)
        print(f"  {module}: {len(mine)} of {tried} survived")
    return int(most is not None and len(survivors) > most)


if __name__ == "__main__":
    raise SystemExit(main())
