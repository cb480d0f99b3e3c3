"""Jobs that are lost, stopped or forgotten, and their turns: with a dashboard made of a script."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from envbuilder.engines.remote_layers import wheel_keys
from envbuilder.model.codec import to_json
from envbuilder.model.errors import (
    BuildError,
    MissingToolError,
    NetworkError,
    ResolutionError,
)
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.storage.store import Store
from envbuilder.workflow.cluster import jobs as module
from envbuilder.workflow.cluster import start, turns
from envbuilder.workflow.cluster.jobs import Jobs
from envbuilder.workflow.cluster.jobs_api import JobState, Node
from envbuilder.workflow.cluster.order import Answer
from envbuilder.workflow.cluster.turns import Turns
from tests.contexts import context
from tests.unit.locks import lock

HERE = Node(node_id="here", node_ip="h", state="ALIVE", resources_total={"CPU": 4, "memory": 1e12})
GOOD = Answer(code=0)
End = Callable[[str], tuple[JobState | None, str | NetworkError]]


def answered(answer: Answer = GOOD) -> End:
    state = JobState(status="SUCCEEDED", driver_node_id="here")
    return lambda attempt: (state, start.frame(attempt, to_json(answer)))


def failed(kind: str | None, log: str | NetworkError = "", node: str = "here") -> End:
    state = JobState(status="FAILED", message="so", error_type=kind, driver_node_id=node)
    return lambda _: (state, log)


@dataclass
class Script:
    """A dashboard: each submission ends as the next of ``ends`` says."""

    ends: list[End]
    address: str = "http://h:1"
    attempts: list[str] = field(default_factory=list)
    there: dict[str, tuple[JobState, str | NetworkError]] = field(default_factory=dict)
    away: int = 0
    bare: int = 0
    """How often the cluster has no machine, once a job was submitted."""
    late: int = 0
    """How often a log is read before all of it is there."""

    def nodes(self) -> tuple[Node, ...]:
        if self.attempts and self.bare:
            self.bare -= 1
            return ()
        return (HERE,)

    def has_package(self, _: str) -> bool:
        return True

    def submit(self, job: dict[str, Any]) -> bool:
        self.attempts.append(job["metadata"]["attempt"])
        state, log = self.ends.pop(0)(self.attempts[-1])
        if state is not None:
            self.there[job["submission_id"]] = (state, log)
        return True

    def job(self, submission: str) -> JobState | None:
        if self.away and self.attempts:
            self.away -= 1
            raise NetworkError("away")
        found = self.there.get(submission)
        return found and found[0]

    def log(self, submission: str) -> str:
        log = self.there[submission][1]
        if isinstance(log, NetworkError):
            raise log
        if self.late:
            self.late -= 1
            return log[: len(log) // 2]
        return log

    def delete(self, submission: str) -> None:
        del self.there[submission]


class Notes(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def run(tmp_path, script: Script, **smoke: object) -> tuple[list[Answer], list[str]]:
    notes = Notes()
    work = context(Store(tmp_path / "store"), notes)
    ours = Jobs(api=script, context=work, turns=Turns(work), runtime="auto", pause=0)  # type: ignore[arg-type]
    found = ours.answers(lock({"six": "1.0"}, smoke=smoke), folder=tmp_path, engine="embedded")
    try:
        return [answer for _, answer in found], notes.texts
    finally:
        ours.forget()


def lost_told(notes: list[str]) -> list[str]:
    return [note for note in notes if note.startswith("warning")]


def test_an_answer_is_given_and_the_job_forgotten(tmp_path):
    script = Script([answered()])
    assert run(tmp_path, script)[0] == [GOOD]
    assert script.there == {}


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (failed("JOB_SUPERVISOR_ACTOR_DIED"), "its machine was lost"),
        (failed("RUNTIME_ENV_SETUP_FAILURE", "noise"), "its machine could not unpack it"),
        (lambda _: (None, ""), "the cluster knows nothing of it any more"),
        (failed(None, NetworkError("x"), node="gone"), "its machine is gone"),
        (failed(None, ""), "its machine is gone"),
    ],
)
def test_what_is_lost_is_submitted_again_three_times_at_most(tmp_path, end, why):
    script = Script([end, end, answered()])
    answers, notes = run(tmp_path, script)
    assert answers == [GOOD]
    assert [why in note for note in lost_told(notes)] == [True, True]
    assert len(set(script.attempts)) == 3, "each attempt has a name of its own"
    with pytest.raises(NetworkError, match=f"was lost 3 times; the last time {why}"):
        run(tmp_path, Script([end, end, end]))


def test_a_machine_that_was_lost_may_come_back(tmp_path, monkeypatch):
    lost = failed("JOB_SUPERVISOR_ACTOR_DIED")
    assert run(tmp_path, Script([lost, answered()], bare=5))[0] == [GOOD]
    monkeypatch.setattr(module, "_PATIENCE", 0)
    with pytest.raises(MissingToolError, match="no machine of the cluster"):
        run(tmp_path, Script([lost, answered()], bare=5))


def test_who_waits_as_long_as_ray_lets_it_waits_on(tmp_path):
    waited = failed("JOB_SUPERVISOR_ACTOR_START_TIMEOUT")
    assert run(tmp_path, Script([waited] * 7 + [answered()]))[0] == [GOOD]


def test_a_result_that_its_machine_does_not_give_out_is_not_made_again(tmp_path):
    script = Script([failed(None, NetworkError("the agent has no port"))])
    with pytest.raises(NetworkError, match="the agent has no port"):
        run(tmp_path, script)
    assert len(script.attempts) == 1


def test_a_log_whose_end_comes_late_is_read_again(tmp_path):
    script = Script([answered()], late=2)
    assert run(tmp_path, script)[0] == [GOOD]
    with pytest.raises(BuildError, match="ended without an answer"):
        run(tmp_path, Script([answered()], late=3))


def test_an_answer_of_an_earlier_attempt_does_not_count(tmp_path):
    old = start.frame("0" * 16, to_json(GOOD))
    with pytest.raises(BuildError, match="ended without an answer: so"):
        run(tmp_path, Script([failed("JOB_ENTRYPOINT_COMMAND_ERROR", old)]))


def test_a_job_that_somebody_stopped_is_told(tmp_path):
    with pytest.raises(BuildError, match="was stopped in the cluster"):
        run(tmp_path, Script([lambda _: (JobState(status="STOPPED"), "")]))


def test_the_head_may_be_away_for_a_while(tmp_path, monkeypatch):
    assert run(tmp_path, Script([answered()], away=5))[0] == [GOOD]
    monkeypatch.setattr(module, "_PATIENCE", 0)
    with pytest.raises(NetworkError, match="away"):
        run(tmp_path, Script([answered()], away=5))


def test_an_error_of_the_work_is_raised_and_may_be_tried_again(tmp_path):
    script = Script([answered(Answer(code=4, error="no such version", hint="look"))])
    with pytest.raises(ResolutionError, match="no such version"):
        run(tmp_path, script)
    assert script.there == {}


class Shared:
    """A shared place that has ``keys``."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def find(self, keys):
        return {key: () for key in keys if key in self.keys}


def both(tmp_path, monkeypatch, first: Lock, second: Lock, do) -> list[str]:
    """Let ``second`` take its turn while ``first`` has its own; ``do`` happens in between."""
    monkeypatch.setattr(turns, "_PAUSE", 0.02)
    place, order = Shared(), []
    who = Turns(context(Store(tmp_path / "store"), remote=place))
    entered = threading.Event()

    def other() -> None:
        with who.taken(second):
            order.append("second")
            entered.set()

    with who.taken(first) as begun:
        begun()
        thread = threading.Thread(target=other)
        thread.start()
        do(place, entered)
        order.append("first ends")
    thread.join()
    return order


def test_a_turn_waits_for_layers_that_another_makes(tmp_path, monkeypatch):
    first, second = lock({"one": "1", "two": "2"}), lock({"two": "2", "three": "3"})
    wait: Callable = lambda _, entered: entered.wait(0.3)  # noqa: E731
    assert both(tmp_path, monkeypatch, first, second, wait) == ["first ends", "second"]


def test_a_turn_goes_on_when_the_layers_are_there(tmp_path, monkeypatch):
    first, second = lock({"one": "1", "two": "2"}), lock({"two": "2", "three": "3"})

    def put(place: Shared, entered: threading.Event) -> None:
        place.keys |= turns_keys(first) & turns_keys(second)
        assert entered.wait(60)

    assert both(tmp_path, monkeypatch, first, second, put) == ["second", "first ends"]


def test_turns_without_a_common_layer_do_not_wait(tmp_path, monkeypatch):
    first = lock({"one": "1"}, base={"image": "example.org/a"})
    second = lock({"three": "3"}, base={"image": "example.org/b"})
    monkeypatch.setattr(turns, "base_key", lambda _: None)  # of images' own layers
    go: Callable = lambda _, entered: entered.wait(60)  # noqa: E731
    assert both(tmp_path, monkeypatch, first, second, go) == ["second", "first ends"]


def test_a_place_that_fails_holds_nobody_up(tmp_path, monkeypatch):
    def away(_: object, __: object) -> None:
        raise NetworkError("away")

    monkeypatch.setattr(Shared, "find", away)
    go: Callable = lambda _, entered: entered.wait(60)  # noqa: E731
    both_need = lock({"one": "1", "two": "2"})
    assert both(tmp_path, monkeypatch, both_need, both_need, go) == ["second", "first ends"]


def test_of_those_that_wait_the_largest_begins_first(tmp_path, monkeypatch):
    monkeypatch.setattr(turns, "_PAUSE", 0.02)
    place, order, never = Shared(), [], threading.Event()
    who = Turns(context(Store(tmp_path / "store"), remote=place))
    named = {size: lock({"one": "1", **dict.fromkeys("abc"[:size], "1")}) for size in (1, 3, 2)}

    def other(size: int) -> None:
        with who.taken(named[size]) as begun:
            order.append(size)
            place.keys |= turns_keys(named[size])
            never.wait(0.1)
            order.append(size)
            begun()

    threads = [threading.Thread(target=other, args=(size,)) for size in named]
    with who.taken(lock({"one": "1"})) as begun:
        for thread in threads:
            thread.start()
        place.keys |= turns_keys(named[3])
        never.wait(0.3)
        assert order == [], "the first one is not on its way yet"
        begun()
        for thread in threads:
            thread.join()
    assert order == [3, 3, 2, 2, 1, 1], "each follows the one that is on its way"


def turns_keys(of: Lock) -> set[str]:
    base = turns.base_key(of)
    return {*wheel_keys(of), *([base] if base else [])}
