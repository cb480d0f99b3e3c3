"""Searches for the guilty: right, and with few questions."""

from collections.abc import Callable
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.workflow.bisect.search import TrialResult, first_bad, smallest_guilty

GOOD, BAD, SKIP = TrialResult.GOOD, TrialResult.BAD, TrialResult.SKIP


class Counting:
    """An oracle that remembers what it was asked."""

    def __init__(self, answer: Callable[..., TrialResult]) -> None:
        self.answer = answer
        self.asked: list[object] = []

    def __call__(self, question: object) -> TrialResult:
        self.asked.append(question)
        return self.answer(question)


@given(last=st.integers(1, 5000), data=st.data())
def test_finds_the_first_bad_step_in_log2_tests(last: int, data: st.DataObject) -> None:
    guilty = data.draw(st.integers(1, last))
    oracle = Counting(lambda step: BAD if step >= guilty else GOOD)
    assert first_bad(last, oracle) == (guilty - 1, guilty)
    assert len(set(oracle.asked)) <= ceil(log2(last))


def test_a_guilty_commit_among_two_hundred() -> None:
    oracle = Counting(lambda commit: BAD if commit >= 137 else GOOD)
    assert first_bad(200, oracle) == (136, 137)
    assert len(set(oracle.asked)) <= 8


@given(last=st.integers(2, 60), data=st.data())
def test_skipped_steps_widen_the_answer_and_nothing_else(last: int, data: st.DataObject) -> None:
    guilty = data.draw(st.integers(1, last))
    skipped = data.draw(st.sets(st.integers(1, last - 1)))
    oracle = Counting(lambda n: SKIP if n in skipped else BAD if n >= guilty else GOOD)
    lo, hi = first_bad(last, oracle)
    assert lo < guilty <= hi
    assert lo not in skipped
    assert hi not in skipped
    assert set(range(lo + 1, hi)) <= skipped


def test_tries_far_from_a_stretch_of_skipped_steps() -> None:
    oracle = Counting(lambda n: SKIP if 400 <= n < 600 else BAD if n >= 900 else GOOD)
    assert first_bad(1000, oracle) == (899, 900)
    assert len(set(oracle.asked)) < 20


@given(count=st.integers(1, 300), data=st.data())
def test_a_single_culprit_takes_log2_tests_and_one(count: int, data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, count - 1))
    oracle = Counting(lambda changes: BAD if culprit in changes else GOOD)
    assert smallest_guilty(count, oracle) == (frozenset({culprit}),)
    assert len(set(oracle.asked)) <= ceil(log2(count)) + 1


@given(weights=st.lists(st.integers(1, 1000), min_size=1, max_size=60), data=st.data())
def test_a_likely_culprit_takes_fewer(weights: list[int], data: st.DataObject) -> None:
    culprit = data.draw(st.integers(0, len(weights) - 1))
    oracle = Counting(lambda changes: BAD if culprit in changes else GOOD)
    assert smallest_guilty(len(weights), oracle, weights) == (frozenset({culprit}),)
    assert len(set(oracle.asked)) <= log2(sum(weights) / weights[culprit]) + 3


@given(count=st.integers(1, 40), data=st.data())
def test_culprits_guilty_only_together(count: int, data: st.DataObject) -> None:
    culprits = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=4))
    oracle = Counting(lambda changes: BAD if culprits <= changes else GOOD)
    groups = smallest_guilty(count, oracle)
    assert sorted(n for group in groups for n in group) == sorted(culprits)
    assert len(set(oracle.asked)) <= len(culprits) * (ceil(log2(count)) + 2)


@given(count=st.integers(1, 8), seed=st.integers(0, 2**32))
def test_any_oracle_gets_a_bad_set_that_no_group_can_leave(count: int, seed: int) -> None:
    """Good and bad at random, with skips: effects that cancel out, tests that say nothing."""
    everything = frozenset(range(count))

    def answer(changes: frozenset[int]) -> TrialResult:
        if changes == everything:
            return BAD
        if not changes:
            return GOOD
        return list(TrialResult)[hash((seed, tuple(sorted(changes)))) % 3]

    groups = smallest_guilty(count, answer)
    guilty = frozenset().union(*groups)
    assert answer(guilty) is BAD
    assert sum(len(group) for group in groups) == len(guilty)


def test_what_cannot_be_told_apart_is_guilty_as_one_group() -> None:
    """4 and 5 only resolve together."""
    oracle = Counting(
        lambda changes: SKIP if (4 in changes) != (5 in changes) else BAD if 5 in changes else GOOD
    )
    assert smallest_guilty(16, oracle) == (frozenset({4, 5}),)


def test_a_bystander_is_dropped() -> None:
    """2 hides 0 unless 1 is there: {0, 1} is bad, {0} too, {0, 2} is not."""

    def answer(changes: frozenset[int]) -> TrialResult:
        if changes == {2, 0}:
            return GOOD
        return BAD if 0 in changes else GOOD

    groups = smallest_guilty(3, answer)
    assert answer(frozenset().union(*groups)) is BAD
    assert groups == (frozenset({0}),)


@pytest.mark.parametrize("count", [1, 2])
def test_small_counts(count: int) -> None:
    oracle = Counting(lambda changes: BAD if len(changes) == count else GOOD)
    assert sum(map(len, smallest_guilty(count, oracle))) == count
