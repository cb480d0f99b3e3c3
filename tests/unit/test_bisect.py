"""Bisections in a pure world: the guilty are found, in few steps, through kills and skips."""

import json
from collections.abc import Callable
from math import ceil, log2
from pathlib import Path

import pytest

from envbuilder.model.errors import (
    BuildError,
    DiskFullError,
    ResolutionError,
    SmokeError,
    UsageError,
)
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.runtime import Completed
from envbuilder.workflow.bisect.bisect import Found, bisect
from envbuilder.workflow.bisect.intermediate_lock import span
from envbuilder.workflow.bisect.journal import Journal
from envbuilder.workflow.bisect.narrow import between
from envbuilder.workflow.bisect.oracle import by_command, by_smoke
from envbuilder.workflow.bisect.search import TrialResult
from tests.unit.locks import lock, source
from tests.unit.oracle import World

NAMES = [f"package-{number:02}" for number in range(16)]
OLD = lock(dict.fromkeys(NAMES, "1"))
NEW = lock(dict.fromkeys(NAMES, "2"))
INDEX = {name: {"1": "", "2": ""} for name in NAMES}


class Case:
    """A bisection that can be run again on the same journal."""

    def __init__(self, folder: Path, world: World, good: Lock = OLD, bad: Lock = NEW) -> None:
        self.path = folder / "journal.jsonl"
        self.world = world
        stages = world.stages()
        self.span = span(good, bad, good_needs=stages.needs(good), bad_needs=stages.needs(bad))

    def run(self, check: str | None = None, *, fresh: bool = False) -> Found:
        stages = self.world.stages()
        journal = Journal.open(self.path, Silent(), fresh=fresh)
        try:
            judge = by_smoke(stages.build, check=check)
            return bisect(self.span, judge=judge, journal=journal, lines=between(stages))
        finally:
            journal.close()


def world(good: Callable[[dict[str, str]], bool], **more: object) -> World:
    return World(INDEX | more.pop("index", {}), good, **more)


def test_one_guilty_among_sixteen_takes_log2_steps(tmp_path: Path) -> None:
    for guilty in NAMES:
        folder = tmp_path / guilty
        case = Case(folder, world(lambda v, guilty=guilty: v[guilty] == "1"))
        found = case.run()
        assert found.guilty == ((f"{guilty} 1 -> 2",),)
        assert found.changes == 16
        assert len(found.steps) <= 2 + ceil(log2(16)) + 1


def test_what_was_asked_for_is_suspected_first(tmp_path: Path) -> None:
    index = {"app": {"1": "", "2": "package-07>=2"}}
    for guilty, steps in (("app", 2), ("package-03", 1 + 5 + 1)):
        ends = [
            lock({**dict.fromkeys(NAMES, version), "app": version}, pins={"app": f"=={version}"})
            for version in ("1", "2")
        ]
        case = Case(
            tmp_path / guilty, world(lambda v, guilty=guilty: v[guilty] == "1", index=index), *ends
        )
        found = case.run()
        assert found.guilty == ((f"{guilty} 1 -> 2",),)
        assert len(found.steps) <= 2 + steps


def test_two_guilty_only_together(tmp_path: Path) -> None:
    def good(versions: dict[str, str]) -> bool:
        return versions["package-03"] == "1" or versions["package-12"] == "1"

    found = Case(tmp_path, world(good)).run()
    assert sorted(found.guilty) == [("package-03 1 -> 2",), ("package-12 1 -> 2",)]
    assert found.narrowed is None
    assert len(found.steps) <= 2 + 2 * (ceil(log2(16)) + 2)


def test_a_guilty_commit_among_two_hundred(tmp_path: Path) -> None:
    commits = tuple(f"{number:040x}" for number in range(201))
    pin = {"vllm": {"git": "https://example.org/vllm.git", "branch": "main", "commit": commits[0]}}
    ends = [
        lock({"six": "1"}, pins={**pin, "six": "*"}, sources=(source("vllm", commit),))
        for commit in (commits[0], commits[-1])
    ]
    case = Case(
        tmp_path,
        World({"six": {"1": ""}}, lambda v: v["vllm"] < commits[137], history=commits),
        *ends,
    )
    found = case.run()
    assert found.narrowed is not None
    assert (found.narrowed.kind, found.narrowed.package) == ("commit", "vllm")
    assert (found.narrowed.last_good, found.narrowed.first_bad) == (commits[136], commits[137])
    assert len(found.steps) <= 2 + ceil(log2(200))


def test_the_first_bad_version_in_between(tmp_path: Path) -> None:
    versions = {f"4.{minor}": "" for minor in range(20, 60)} | {"4.41rc1": "", "5.0": ""}
    ends = [lock({"transformers": version, "six": "1"}) for version in ("4.25", "4.55")]
    index = {"transformers": versions, "six": {"1": ""}}
    case = Case(tmp_path, World(index, lambda v: float(v["transformers"]) < 4.44), *ends)
    found = case.run()
    assert found.narrowed is not None
    assert (found.narrowed.last_good, found.narrowed.first_bad) == ("4.43", "4.44")


def test_a_downgrade_is_a_line_as_well(tmp_path: Path) -> None:
    index = {"a": {str(number): "" for number in range(1, 20)}}
    case = Case(
        tmp_path, World(index, lambda v: int(v["a"]) > 7), lock({"a": "15"}), lock({"a": "3"})
    )
    found = case.run()
    assert found.narrowed is not None
    assert (found.narrowed.last_good, found.narrowed.first_bad) == ("8", "7")


def test_versions_that_do_not_resolve_are_skipped_and_said_so(tmp_path: Path) -> None:
    index = {"a": {str(number): "missing" if 4 <= number <= 6 else "" for number in range(1, 10)}}
    case = Case(
        tmp_path, World(index, lambda v: int(v["a"]) < 5), lock({"a": "1"}), lock({"a": "9"})
    )
    found = case.run()
    assert found.narrowed is not None
    assert (found.narrowed.last_good, found.narrowed.first_bad) == ("3", "7")
    assert found.narrowed.skipped == ("4", "5", "6")
    assert sum(step.outcome is TrialResult.SKIP for step in found.steps) == 3


def test_companions_are_named_and_not_blamed(tmp_path: Path) -> None:
    index = {
        "transformers": {"1": "", "2": "tokenizers>=2"},
        "tokenizers": {"1": "", "2": ""},
    }
    case = Case(
        tmp_path,
        World(index, lambda v: v["transformers"] == "1"),
        lock({"transformers": "1", "tokenizers": "1"}),
        lock({"transformers": "2", "tokenizers": "2"}),
    )
    found = case.run()
    assert found.guilty == (("transformers 1 -> 2",),)
    assert found.companions == ("tokenizers 1 -> 2",)
    assert all(
        not (built["transformers"] == "2" and built["tokenizers"] == "1")
        for built in case.world.built
    )


def test_a_guilty_base_is_narrowed_to_the_packages_of_one_source(tmp_path: Path) -> None:
    names = [f"lib{letter}-{part}" for letter in "abcdefgh" for part in ("bin", "data")]
    ends = [lock({"six": "1"}, debs=dict.fromkeys(names, version)) for version in ("1", "2")]

    def good(versions: dict[str, str]) -> bool:
        if versions["libb-bin"] != versions["libb-data"]:
            raise BuildError("libb-bin insists on libb-data of its version")
        return versions["libf-data"] == "1"

    case = Case(tmp_path, World({"six": {"1": ""}}, good), *ends)
    found = case.run()
    assert found.guilty == (("base and system",),)
    assert found.debs == (("libf-bin 1 -> 2", "libf-data 1 -> 2"),)
    assert len(found.steps) <= 2 + ceil(log2(8)) + 1
    assert all(step.outcome is not TrialResult.SKIP for step in found.steps)


def test_a_base_whose_spec_changed_is_guilty_as_a_whole(tmp_path: Path) -> None:
    debs = [{"git": "1", "curl": "1"}, {"git": "2", "curl": "2"}]
    ends = [
        lock({"six": "1"}, debs=each, system={"packages": [name]})
        for each, name in zip(debs, ("git", "curl"), strict=True)
    ]
    world = World({"six": {"1": ""}}, lambda v: v["git"] == "1")
    found = Case(tmp_path / "spec", world, *ends).run()
    assert found.guilty == (("base and system",),)
    assert found.debs == ()
    ends = [lock({"six": "1"}, debs={**each, "curl": "1"}) for each in debs]
    assert Case(tmp_path / "one", world, *ends).run().debs == (("git 1 -> 2",),)


@pytest.mark.parametrize(("verdict", "said"), [(True, "bad is good"), (False, "good is bad")])
def test_an_end_that_is_not_what_it_was_said_to_be(
    tmp_path: Path, verdict: bool, said: str
) -> None:
    with pytest.raises(UsageError, match=f"said to be {said}"):
        Case(tmp_path, world(lambda _: verdict)).run()


def test_what_does_not_build_is_skipped(tmp_path: Path) -> None:
    def good(versions: dict[str, str]) -> bool:
        if 3 < sum(version == "2" for version in versions.values()) < 9:
            raise BuildError("out of disk")
        return versions["package-07"] == "1"

    found = Case(tmp_path, world(good)).run()
    assert "package-07 1 -> 2" in found.guilty[0]
    assert any(step.detail == "out of disk" for step in found.steps)


def test_what_could_not_be_made_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    failing = [
        BuildError("a mirror\n  is down"),
        ResolutionError("no index"),
        SmokeError("no room"),
    ]

    def good(versions: dict[str, str]) -> bool:
        if failing and len(set(versions.values())) == 2:
            raise failing.pop()
        return versions["package-07"] == "1"

    case = Case(tmp_path, world(good))
    skipped = [step.detail for step in case.run().steps if step.outcome is TrialResult.SKIP]
    assert skipped == ["no room", "no index", "a mirror … is down"]
    found = case.run()
    assert found.guilty == (("package-07 1 -> 2",),)
    assert all(step.outcome is not TrialResult.SKIP for step in found.steps)


def test_a_full_disk_ends_it_and_is_no_verdict(tmp_path: Path) -> None:
    full = [True]

    def good(versions: dict[str, str]) -> bool:
        if full and len(set(versions.values())) == 2:
            raise DiskFullError("the disk is full")
        return versions["package-07"] == "1"

    case = Case(tmp_path, world(good))
    with pytest.raises(DiskFullError):
        case.run()
    full.clear()
    assert case.run().guilty == (("package-07 1 -> 2",),)


def test_starts_over_where_that_is_asked_for(tmp_path: Path) -> None:
    case = Case(tmp_path, world(lambda v: v["package-07"] == "1"))
    case.run()
    case.world.good = lambda v: v["package-03"] == "1"
    assert case.run().guilty == (("package-07 1 -> 2",),)
    assert case.run(fresh=True).guilty == (("package-03 1 -> 2",),)
    assert case.run().guilty == (("package-03 1 -> 2",),)


def test_resumes_after_a_kill_without_asking_twice(tmp_path: Path) -> None:
    asked = []

    def good(versions: dict[str, str]) -> bool:
        if len(asked) == 4:
            raise KeyboardInterrupt
        asked.append(versions)
        return versions["package-09"] == "1"

    case = Case(tmp_path, world(good))
    with pytest.raises(KeyboardInterrupt):
        case.run()
    with case.path.open("ab") as journal:
        journal.write(b'{"key": "sha')  # as a kill in mid-write leaves it
    before = [*asked]
    case.world.good = lambda v: asked.append(v) or v["package-09"] == "1"
    found = case.run()
    assert found.guilty == (("package-09 1 -> 2",),)
    assert not [versions for versions in asked[len(before) :] if versions in before]
    assert [json.loads(line)["outcome"] for line in case.path.read_text().splitlines()]
    steps = len(asked)
    assert case.run() == found
    assert len(asked) == steps


def test_the_same_bisection_runs_once(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.jsonl", Silent())
    with pytest.raises(UsageError, match="under way"):
        Journal.open(tmp_path / "journal.jsonl", Silent())
    journal.close()
    Journal.open(tmp_path / "journal.jsonl", Silent()).close()


def test_nothing_to_bisect(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not differ"):
        Case(tmp_path, world(lambda _: True), OLD, OLD).run()


def test_judges_by_one_check(tmp_path: Path) -> None:
    guilty = world(lambda v: v["package-00"] == "1")
    for check in ("tokens", "tokens.video"):
        found = Case(tmp_path / check, guilty).run(check=check)
        assert found.guilty == (("package-00 1 -> 2",),)
    with pytest.raises(UsageError) as caught:
        Case(tmp_path / "none", guilty).run(check="token")
    assert caught.value.hint == "it has tokens.video"


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0, TrialResult.GOOD), (125, TrialResult.SKIP), (1, TrialResult.BAD), (137, TrialResult.BAD)],
)
def test_judges_by_a_command(code: int, outcome: TrialResult) -> None:
    done = Completed(exit_code=code, stdout=b"", stderr=b"x\nlast word\n", seconds=1, peak_memory=1)
    verdict = by_command(lambda _: done)(OLD)
    assert verdict.outcome is outcome
    assert verdict.detail == f"exit code {code}: last word"
