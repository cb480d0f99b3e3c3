"""What a step of a bisection says it will take."""

from pathlib import Path

import pytest

from envbuilder.model.lock import GitSource, Lock, Wheel
from envbuilder.resolve.git.recipe import Built, Recipe, remember, remember_duration
from envbuilder.storage.store import Store
from envbuilder.workflow.bisect.cost import cost, duration, telling
from envbuilder.workflow.bisect.oracle import OracleAnswer
from envbuilder.workflow.bisect.search import TrialResult
from tests.unit import locks

COMMIT = "729feed3e" + "0" * 31
SOURCE = GitSource(
    name="vllm", version="0.8.5", repository="https://git.example.org/vllm.git",
    requested="main", commit=COMMIT, tree=COMMIT,
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def lock(**wheels: str) -> Lock:
    pins = {"vllm": {"git": SOURCE.repository, "branch": "main"}}
    return locks.lock(wheels, sources=(SOURCE,), pins=pins)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 0 s"),
        (119, "1 min 59 s"),
        (3600, "1 h 0 min"),
        (6750, "1 h 52 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_source_without_a_wheel_is_to_be_built(store: Store) -> None:
    assert cost(lock(), store) == "to build: vllm at 729feed3e000 (never built here)"
    remember_duration(store, SOURCE, 6750)
    assert cost(lock(), store).endswith("(the last one took 1 h 52 min)")


def test_a_wheel_that_is_here_costs_nothing(store: Store) -> None:
    digest = store.add(b"wheel")
    wheel = Wheel(name="vllm", version="0.8.5", filename="v.whl", size=5, sha256=digest)
    made = lock()
    remember(store, Recipe.of(made, SOURCE).key, Built(wheel=wheel, contents={}))
    assert cost(made, store) == "all wheels are here"
    store.discard(digest)
    assert "to build" in cost(made, store)


def test_what_has_to_be_fetched(store: Store) -> None:
    assert cost(lock(six="1.17.0"), store).endswith("; to fetch: 1 wheel, 0 MB")
    both = lock(six="1.17.0", tqdm="4.67.1")
    assert cost(both, store).endswith("; to fetch: 2 wheels, 0 MB")


def test_it_is_said_before_the_step_begins(store: Store) -> None:
    said: list[str] = []

    def judge(_: object) -> OracleAnswer:
        said.append("judged")
        return OracleAnswer(outcome=TrialResult.GOOD, detail="")

    telling(judge, store, said.append)(lock())
    assert [each.strip()[:8] for each in said] == ["to build", "judged"]
