"""Find what turns good into bad with few tests: over a line of steps, or over sets of changes.

Both searches only call ``test`` and know nothing of what a step is. What they ask depends on the
answers alone, so a search whose answers are remembered resumes by running again. They may ask the
same twice: ``test`` should remember.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate


class TrialResult(enum.StrEnum):
    """What a test said; SKIP (exit code 125 of ``git bisect run``) says nothing either way."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


def first_bad(
    last: int, test: Callable[[int], TrialResult], weights: Sequence[float] | None = None
) -> tuple[int, int]:
    """Find neighbours ``(lo, hi)`` on the line 0..last, ``lo`` good and ``hi`` bad.

    0 is known to be good and ``last`` to be bad; they are not tested. Steps between ``lo`` and
    ``hi`` all are skipped ones. Takes ceil(log2(last)) tests if none is skipped. ``weights`` say
    how likely each of the steps 1..last is to be the first bad one: of weight w in a sum of W, it
    is found in about log2(W / w) tests.
    """
    sums = [0.0, *accumulate(weights or [1.0] * last)]
    lo, hi = 0, last
    midpoints = _midpoints(lo, hi, sums)
    while (middle := next(midpoints, None)) is not None:
        match test(middle):
            case TrialResult.SKIP:
                continue
            case TrialResult.GOOD:
                lo = middle
            case TrialResult.BAD:
                hi = middle
        midpoints = _midpoints(lo, hi, sums)
    return lo, hi


def smallest_guilty(
    count: int,
    test: Callable[[frozenset[int]], TrialResult],
    weights: Sequence[float] | None = None,
) -> tuple[frozenset[int], ...]:
    """Find a smallest set among the changes 0..count-1 that turns good into bad.

    The empty set is known to be good and all of them together to be bad; they are not tested. The
    result is a tuple of groups that are guilty together: one change each, or several that skipped
    tests could not tell apart. A single culprit takes ceil(log2(count)) + 1 tests, each further
    one about as many again. Earlier numbers are tried first, so put what others need in front.
    ``weights`` say how likely each change is to be guilty.
    """
    likely = weights or [1.0] * count
    guilty: list[frozenset[int]] = []
    pool = list(range(count))
    while True:
        found = frozenset[int]().union(*guilty)

        def prefix(
            length: int, found: frozenset[int] = found, pool: list[int] = pool
        ) -> TrialResult:
            return test(found | frozenset(pool[:length]))

        lo, hi = first_bad(len(pool), prefix, [likely[number] for number in pool])
        guilty.append(frozenset(pool[lo:hi]))
        pool = pool[:lo]
        if not pool or test(found | guilty[-1]) is TrialResult.BAD:
            return _without_bystanders(guilty, test)


def _without_bystanders(
    guilty: list[frozenset[int]], test: Callable[[frozenset[int]], TrialResult]
) -> tuple[frozenset[int], ...]:
    """Drop each group without which the rest is still bad; found only where effects cancel out."""
    for group in guilty[:-1]:
        others = [other for other in guilty if other is not group]
        if test(frozenset[int]().union(*others)) is TrialResult.BAD:
            guilty = others
    return tuple(guilty)


def _midpoints(lo: int, hi: int, sums: Sequence[float]) -> Iterator[int]:
    """Yield all between ``lo`` and ``hi``, the middle first, then the middles of both halves.

    The middle is where the weights on both sides, of which ``sums`` are the sums, differ least.
    Neighbours of a skipped step tend to be skipped too, so the next try goes far away from it.
    """
    spans = deque([(lo, hi)])
    while spans:
        lo, hi = spans.popleft()
        if hi - lo > 1:
            half = (sums[lo] + sums[hi]) / 2
            middle = min(range(lo + 1, hi), key=lambda step: abs(sums[step] - half))
            yield middle
            spans += [(lo, middle), (middle, hi)]
