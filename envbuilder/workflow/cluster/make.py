"""Environments made on a cluster, and written into the project as if they had been made here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from envbuilder.model.codec import MisfitError, from_plain
from envbuilder.model.errors import EnvbuilderError, NetworkError, UsageError
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import parse_lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import platforms_at
from envbuilder.resolve.context import Context
from envbuilder.runtime import Completed
from envbuilder.smoke import Report
from envbuilder.smoke.touched import parse_touched
from envbuilder.storage import ledger
from envbuilder.storage.ledger import LedgerEntry
from envbuilder.workflow.bisect.oracle import SKIP_CODE
from envbuilder.workflow.build import BuildResult, build_elsewhere
from envbuilder.workflow.bump.bump import bump
from envbuilder.workflow.bump.pins import parse_pin
from envbuilder.workflow.bump.regenerate import Make, bump_summary
from envbuilder.workflow.bump.stages import Stages, real_stages
from envbuilder.workflow.lock import current_lock
from envbuilder.workflow.make import engine_for

from .jobs import Jobs
from .needs import Need
from .order import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltThere(BuildResult):
    """What a job built: ``entry`` is the ledger's line as its machine wrote it, ``gpu`` its type.

    ``others`` are the lines of the same build on other types of GPU.
    """

    entry: LedgerEntry
    gpu: str | None
    others: tuple[LedgerEntry, ...] = ()


def maker(
    context: Context, jobs: Jobs, pins: Sequence[str], *, allow_unproven: bool = False
) -> Make:
    """Return what makes an environment on the cluster, or bumps ``pins`` in it if there are any."""
    wishes = [parse_pin(pin) for pin in pins]

    def built(path: Path) -> tuple[int, str]:
        engine = engine_for(path)
        outcomes: list[BuiltThere] = []

        def build(lock: Lock) -> Iterator[tuple[BuiltThere, LedgerEntry]]:
            for outcome, entry in _outcomes(jobs, lock, folder=path.parent, engine=engine):
                outcomes.append(outcome)
                yield outcome, entry

        build_elsewhere(context, path, build)
        good = all(each.passes(allow_unproven=allow_unproven) for each in outcomes)
        return (0 if good else 8), "; ".join(map(_line, outcomes))

    def moved(path: Path) -> tuple[int, str]:
        engine = engine_for(path)
        stages = cluster_stages(context, jobs, folder=path.parent, engine=engine)
        done = bump(context, path, wishes, stages=stages, allow_unproven=allow_unproven)
        parts = () if done.built is None or done.failed else done.built.parts.values()
        for part in parts:
            assert isinstance(part, BuiltThere)  # noqa: S101 - the stages made it
            for entry in part.others:
                ledger.append(ledger.ledger_path(path), entry)
        return (8 if done.failed else 0), bump_summary(done)

    make = moved if wishes else built

    def one_platform(path: Path) -> tuple[int, str]:
        if len(platforms_at(path)) > 1:
            raise UsageError(
                f"{path} is for several platforms, and --cluster makes one",
                hint="regenerate it on one machine, without --cluster",
            )
        return make(path)

    return one_platform


def stopper(context: Context, jobs: Jobs) -> Make:
    """Return what stops the jobs of an environment."""

    def stopped(path: Path) -> tuple[int, str]:
        lock = current_lock(context, path, locked=True)
        count = jobs.stop(lock, folder=path.parent, engine=engine_for(path))
        return 0, f"{count} stopped" if count else "no job is running"

    return stopped


def cluster_stages(context: Context, jobs: Jobs, *, folder: Path, engine: str) -> Stages:
    """Return the stages of a bump or bisection whose images are made and run on the cluster.

    On several types of GPU the worst counts.
    """

    def build(lock: Lock) -> BuildResult:
        found = [each for each, _ in _outcomes(jobs, lock, folder=folder, engine=engine)]
        worst = min(found, key=_goodness)
        others = tuple(each.entry for each in found if each is not worst)
        return replace(worst, others=others)

    def run(lock: Lock, args: tuple[str, ...]) -> Completed:
        answers = jobs.answers(lock, folder=folder, engine=engine, args=args)
        return max((_ran(answer) for _, answer in answers), key=_failure)

    def entry(outcome: BuildResult) -> LedgerEntry:
        assert isinstance(outcome, BuiltThere)  # noqa: S101 - build above made it
        return outcome.entry

    here = real_stages(context, folder=folder, engine=engine)
    return replace(here, build=build, run=run, entry=entry)


def _outcomes(
    jobs: Jobs, lock: Lock, *, folder: Path, engine: str
) -> Iterator[tuple[BuiltThere, LedgerEntry]]:
    for need, answer in jobs.answers(lock, folder=folder, engine=engine):
        outcome = outcome_of(answer, need)
        yield outcome, outcome.entry


def outcome_of(answer: Answer, need: Need) -> BuiltThere:
    """Return what a job built as values of ours; raise NetworkError if it does not hang together.

    The layers are the seal's, which says more of them than an image does. If the smoke has not
    asked the GPU for its name, it is of the type that the job asked for.
    """
    built = answer.built
    try:
        if built is None:
            raise MisfitError("there is no build in it")
        lock, report = parse_lock(built.lock), from_plain(built.report, Report)
        if built.start:
            report = replace(report, touched=parse_touched(built.start.encode())[1])
        seal = lock.seal
        if seal is None or not seal.manifest == Digest.of(built.manifest) == built.entry.image:
            raise MisfitError("its image is not the one that it sealed")
    except (MisfitError, EnvbuilderError) as error:
        raise NetworkError(f"the answer of a job cannot be used: {error}") from error
    image = Image(manifest=built.manifest, config=built.config, layers=seal.layers)
    host = structs.replace(built.entry.host, gpu=built.entry.host.gpu or need.gpu or "")
    entry = structs.replace(built.entry, host=host)
    return BuiltThere(lock=lock, image=image, report=report, entry=entry, gpu=need.gpu)


def _ran(answer: Answer) -> Completed:
    if answer.ran is None:
        raise NetworkError("the answer of a job cannot be used: nothing ran")
    return answer.ran


def _goodness(outcome: BuildResult) -> int:
    """Return 0 for a red build, 1 for an unproven and 2 for a green one."""
    return outcome.passes(allow_unproven=True) + outcome.good


def _failure(done: Completed) -> int:
    """Return how bad an exit code is: nothing, cannot tell, or anything else."""
    return {0: 0, SKIP_CODE: 1}.get(done.exit_code, 2)


def _line(outcome: BuiltThere) -> str:
    summary = "" if outcome.report is None else outcome.report.summary
    return f"{outcome.gpu}: {summary}" if outcome.gpu else summary
