"""A guilty commit among two hundred, in a real repository behind a real git server."""

from dataclasses import replace
from math import ceil, log2

import pytest

from envbuilder.model.errors import UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.model.spec import from_builtins, to_builtins
from envbuilder.storage.store import Store
from envbuilder.workflow.bisect.bisect import bisect
from envbuilder.workflow.bisect.intermediate_lock import span
from envbuilder.workflow.bisect.journal import Journal
from envbuilder.workflow.bisect.narrow import between
from envbuilder.workflow.bisect.oracle import OracleAnswer
from envbuilder.workflow.bisect.search import TrialResult
from envbuilder.workflow.bump.stages import real_stages
from tests.contexts import context
from tests.servers.git import git_http
from tests.servers.git_repositories import Origin
from tests.unit.locks import lock, source

pytestmark = pytest.mark.integration

COMMITS = 200
GUILTY = 137


@pytest.fixture
def origin(tmp_path):
    return Origin.create(tmp_path / "served" / "proj")


@pytest.fixture
def server(tmp_path, origin):  # noqa: ARG001 - what it serves
    with git_http(tmp_path / "served") as running:
        yield running


def resolved(spec, previous, _release):
    """Resolve a spec whose only package comes from git by full commit id."""
    pin = spec.sources["proj"]
    fresh = replace(source("proj", pin.commit), repository=pin.git)
    return replace(previous, spec=spec, sources=(fresh,))


def ends(url: str, old: str, new: str) -> list[Lock]:
    pin = {"proj": {"git": url, "branch": "main", "commit": old}}
    first = lock({}, pins=pin)
    plain = to_builtins(first.spec)
    plain["packages"]["proj"]["commit"] = new
    return [resolved(spec, first, ()) for spec in (first.spec, from_builtins(plain))]


def search(tmp_path, url, old, new, is_bad):
    """Bisect between two commits; the judge looks at nothing but the commit."""
    stages = real_stages(context(Store(tmp_path / "store")), folder=tmp_path)
    stages = replace(stages, resolve=resolved)
    good, bad = ends(url, old, new)
    between_ends = span(good, bad, good_needs={}, bad_needs={})
    journal = Journal.open(tmp_path / "journal.jsonl", Silent())

    def judge(candidate: Lock) -> OracleAnswer:
        outcome = TrialResult.BAD if is_bad(candidate.sources[0].commit) else TrialResult.GOOD
        return OracleAnswer(outcome=outcome, detail="")

    try:
        return bisect(between_ends, judge=judge, journal=journal, lines=between(stages))
    finally:
        journal.close()


def test_a_guilty_commit_among_two_hundred(tmp_path, origin, server):
    commits = origin.history({"n": str(number)} for number in range(COMMITS + 1))
    bad = set(commits[GUILTY:])
    found = search(tmp_path, server.address("proj"), commits[0], commits[-1], bad.__contains__)
    assert found.narrowed.last_good == commits[GUILTY - 1]
    assert found.narrowed.first_bad == commits[GUILTY]
    assert found.narrowed.mended_by is None
    assert len(found.steps) <= 2 + ceil(log2(COMMITS))


def test_a_good_end_that_is_newer_names_the_commit_that_mended_it(tmp_path, origin, server):
    """Red at the old commit, green at the new one: which commit made it green?"""
    commits = origin.history({"n": str(number)} for number in range(COMMITS + 1))
    bad = set(commits[:GUILTY])
    found = search(tmp_path, server.address("proj"), commits[-1], commits[0], bad.__contains__)
    assert found.narrowed.mended_by == commits[GUILTY] == found.narrowed.last_good
    assert found.narrowed.first_bad == commits[GUILTY - 1]
    assert len(found.steps) <= 2 + ceil(log2(COMMITS))


def test_a_merge_is_one_step_of_the_main_line(tmp_path, origin, server):
    start = origin.commit({"a": "0"})
    origin.git("switch", "--quiet", "-c", "side")
    side = [origin.commit({"b": str(number)}) for number in range(5)]
    origin.git("switch", "--quiet", "main")
    main = [origin.commit({"a": str(number)}) for number in range(1, 4)]
    origin.git("merge", "--quiet", "--no-ff", "-m", "merge", "side")
    merge = origin.git("rev-parse", "HEAD")
    last = origin.commit({"a": "last"})
    bad = {side[2], side[3], side[4], merge, last}
    found = search(tmp_path, server.address("proj"), start, last, bad.__contains__)
    assert (found.narrowed.last_good, found.narrowed.first_bad) == (main[-1], merge)
    inside = search(tmp_path / "two", server.address("proj"), side[0], last, bad.__contains__)
    assert inside.narrowed.first_bad == side[2]


def test_ends_that_share_no_line_are_not_narrowed(tmp_path, origin, server):
    start = origin.commit({"a": "0"})
    origin.git("switch", "--quiet", "-c", "side")
    side = origin.commit({"b": "1"})
    origin.git("switch", "--quiet", "main")
    main = origin.commit({"a": "1"})
    found = search(tmp_path, server.address("proj"), side, main, {main}.__contains__)
    assert found.narrowed is None
    assert len(found.guilty) == 1
    with pytest.raises(UsageError, match="do not differ"):
        search(tmp_path / "two", server.address("proj"), start, start, {main}.__contains__)
