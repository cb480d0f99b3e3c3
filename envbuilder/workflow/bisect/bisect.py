"""A bisection from end to end: check both ends, find the guilty changes, then narrow them down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.lock_diff import artifacts, package_versions
from envbuilder.model.pylock import lock_checksum

from .base_packages import deb_groups, deb_text, with_debs
from .intermediate_lock import BASE, Atom, Span
from .journal import Journal, Trial
from .narrow import Line, Lines, Narrowed, narrow
from .oracle import Judge
from .search import TrialResult, smallest_guilty

_WITHOUT = "without the guilty change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a bisection found.

    ``guilty`` are groups of changes that turn good into bad together; changes of one group could
    not be told apart. A change with several packages (joined by +) is of those that only fit
    together. ``companions`` had to move along, and are not to blame by themselves. ``narrowed`` is
    the first bad version or commit, where one package is guilty. ``debs`` are the guilty among the
    .deb packages, in groups as above, where a Debian base is guilty and only its packages drifted.
    """

    changes: int
    guilty: tuple[tuple[str, ...], ...]
    companions: tuple[str, ...]
    narrowed: Narrowed | None
    debs: tuple[tuple[str, ...], ...]
    steps: tuple[Trial, ...]


def bisect(span: Span, *, judge: Judge, journal: Journal, lines: Lines) -> Found:
    """Find the smallest set of changes in ``span`` that turns good into bad.

    Raises UsageError if nothing differs, or if an end is not what it was said to be.
    """
    if not span.atoms:
        raise UsageError("the two ends do not differ in anything that shows in an image")
    search = _Search(span, judge, journal)
    search.check_ends()
    groups = smallest_guilty(len(span.atoms), search.test, span.weights)
    guilty = frozenset[int]().union(*groups)
    companions = span.close(guilty) - guilty
    return Found(
        changes=len(span.atoms),
        guilty=tuple(search.texts(group) for group in groups),
        companions=search.texts(companions),
        narrowed=search.narrow(guilty, companions, lines),
        debs=search.narrow_base(guilty, companions),
        steps=tuple(journal.asked.values()),
    )


class _Search:
    """One bisection's questions, put to the judge by way of the journal."""

    def __init__(self, span: Span, judge: Judge, journal: Journal) -> None:
        self._span = span
        self._judge = judge
        self._journal = journal
        self._old, self._new = (package_versions(each) for each in (span.good, span.bad))

    def check_ends(self) -> None:
        """Test both ends: a bisection between ends that are not what they seem proves nothing."""
        everything = frozenset(range(len(self._span.atoms)))
        for chosen, said in ((frozenset[int](), TrialResult.GOOD), (everything, TrialResult.BAD)):
            step = self._ask(f"the {said} end", self._span.mix(chosen))
            if step.outcome is not said:
                raise UsageError(
                    f"the end that was said to be {said} is {_word(step.outcome)}: {step.detail}",
                    hint="choose other ends, or another --check; envbuilder history lists builds",
                )

    def test(self, chosen: frozenset[int]) -> TrialResult:
        """Test the good end with these changes, and what they need, from the bad one."""
        closed = self._span.close(chosen)
        parts = sorted(self._span.parts(closed))
        tried = f"{len(closed)} of {len(self._span.atoms)} changes: {_shown(parts)}"
        return self._ask(tried, self._span.mix(closed)).outcome

    def texts(self, chosen: frozenset[int]) -> tuple[str, ...]:
        """Say what each of these atoms changes."""
        atoms = (self._span.atoms[number] for number in sorted(chosen))
        return tuple(" + ".join(self._text(part) for part in atom.parts) for atom in atoms)

    def narrow(
        self, guilty: frozenset[int], companions: frozenset[int], lines: Lines
    ) -> Narrowed | None:
        """Find the first bad version or commit of the one package that is guilty."""
        if len(guilty) != 1:
            return None
        part = _leader(self._span, self._span.atoms[next(iter(guilty))])
        if part is None:
            return None
        context = self._span.mix(companions)
        if self._ask(_WITHOUT, context).outcome is not TrialResult.GOOD:
            return None
        line = lines(part, context, self._span.mix(guilty | companions))
        if line is None:
            return None
        return narrow(line, test=partial(self._test_step, line))

    def narrow_base(
        self, guilty: frozenset[int], companions: frozenset[int]
    ) -> tuple[tuple[str, ...], ...]:
        """Find the .deb packages that make a base guilty, where it alone is and that can be."""
        if self._span.parts(guilty) != {BASE}:
            return ()
        good, bad = self._span.mix(companions), self._span.mix(guilty | companions)
        sources = deb_groups(good, bad)
        if not sources or self._ask(_WITHOUT, good).outcome is not TrialResult.GOOD:
            return ()

        def names(chosen: frozenset[int]) -> tuple[str, ...]:
            return tuple(name for number in sorted(chosen) for name in sources[number])

        def test(chosen: frozenset[int]) -> TrialResult:
            tried = f"{len(chosen)} of {len(sources)} Debian sources: {_shown(names(chosen))}"
            return self._ask(tried, with_debs(good, bad, names(chosen))).outcome

        groups = smallest_guilty(len(sources), test)
        return tuple(tuple(deb_text(good, bad, name) for name in names(group)) for group in groups)

    def _text(self, part: str) -> str:
        if part not in self._old and part not in self._new:
            return part
        return f"{part} {self._old.get(part, '(none)')} -> {self._new.get(part, '(gone)')}"

    def _ask(self, tried: str, lock: Lock) -> Trial:
        return self._journal.ask(tried, lock, self._judge)

    def _test_step(self, line: Line, position: int) -> TrialResult:
        """Test one version or commit."""
        step = line.steps[position]
        key = f"{lock_checksum(line.context)} {line.package} {step}"
        tried = f"{line.package} {step}"
        made_and_judged = lambda: self._judge(line.make(position))  # noqa: E731
        return self._journal.remember(tried, key, made_and_judged).outcome


def _leader(span: Span, atom: Atom) -> str | None:
    """Name the package of an atom that the others only follow: the one that the spec names."""
    both = artifacts(span.good).keys() & artifacts(span.bad).keys()
    packages = [part for part in atom.parts if part in both]
    if len(atom.parts) == 1:
        return packages[0] if packages else None
    named = [part for part in packages if part in span.bad.spec.requested]
    return named[0] if len(named) == 1 else None


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])}, …"


def _word(outcome: TrialResult) -> str:
    return "not to be judged" if outcome is TrialResult.SKIP else str(outcome)
