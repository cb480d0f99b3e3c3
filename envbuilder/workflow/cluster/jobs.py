"""Jobs from their order to their answer, past machines that are lost and drivers that are killed.

A job's id says its environment, its type of GPU and the hash of all that goes into it. So whoever
asks for the same again, after a kill or on another machine, finds the job that runs, or what it
gave. When all results lie in the project, the cluster is told to forget the jobs.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import envbuilder
from envbuilder.evidence.remote_layers import RemoteSettings
from envbuilder.model.errors import BuildError, EnvbuilderError, MissingToolError, NetworkError
from envbuilder.model.lock import Lock
from envbuilder.model.plan import LAYOUT_VERSION
from envbuilder.model.progress import Step, Telling
from envbuilder.model.pylock import dump_lock
from envbuilder.resolve.context import Context

from .jobs_api import LOST, JobsApi, JobState, Node
from .needs import Need, check_fits, needs_of
from .order import Answer, Order, error_of, read_answer
from .package import pack, place_of
from .task import Task
from .turns import Turns

_WAITED = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
_MOST_LOSSES = 3
_PATIENCE = 300.0
"""Seconds for which the cluster's head may be away, or the only machine that is fit and was lost:
as when they are started anew."""
_LOOKS = 3
"""How often a log is read in which there is no answer."""
_TAIL = 15
"""Lines of a log that are shown where there is no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """A cluster to make environments on; see :func:`open_jobs`.

    ``runtime`` is the name of what runs the images there. ``growing``: machines that a job needs
    may be yet to come. ``pause`` is how often a job is asked for (seconds). ``done`` are the ids
    whose answers are dealt with; see :meth:`forget`.
    """

    api: JobsApi
    context: Context
    turns: Turns
    runtime: str
    remote: RemoteSettings | None = None
    growing: bool = False
    pause: float = 2.0
    done: list[str] = field(default_factory=list)

    def answers(
        self, lock: Lock, *, folder: Path, engine: str, args: tuple[str, ...] = ()
    ) -> Iterator[tuple[Need, Answer]]:
        """Yield what each job gives for ``lock``, one for each type of GPU that it is smoked on.

        The spec lies in ``folder``. An answer counts as dealt with when the next one is asked for.
        What fails is raised after all others have come.
        """
        with (
            self._tasks(lock, folder, engine, args) as tasks,
            ThreadPoolExecutor(len(tasks)) as pool,
        ):
            asked = {pool.submit(self._in_turn, task): task for task in tasks}
            failed: list[EnvbuilderError] = []
            try:
                for future in as_completed(asked):
                    try:
                        answer, submission = future.result()
                    except EnvbuilderError as error:
                        failed.append(error)
                        continue
                    yield asked[future].need, answer
                    self.done.append(submission)
            except KeyboardInterrupt:
                self.context.stop.set()
                raise
        for further in failed[1:]:
            self.context.progress.note(f"warning: {further.message}")
        if failed:
            raise failed[0]

    def stop(self, lock: Lock, *, folder: Path, engine: str) -> int:
        """Stop the jobs that :meth:`answers` would find for ``lock``; return how many ran."""
        with self._tasks(lock, folder, engine, ()) as tasks:
            known = [each for task in tasks for each in self._known(task)]
        running = [submission for submission, state in known if not state.ended]
        for submission in running:
            self.api.stop(submission)
        return len(running)

    def forget(self) -> None:
        """Let the cluster forget the jobs whose answers are dealt with.

        Ray 2.60 now and then lists a job as failed that it was told to forget right after its end.
        So they are looked for twice.
        """
        try:
            for submission in self.done * 2:
                if submission == self.done[0]:
                    self.context.stop.wait(self.pause)
                if self.api.job(submission) is not None:
                    self.api.delete(submission)
        except NetworkError as error:
            self.context.progress.note(f"warning: jobs stay on Ray's list: {error.brief}")

    @contextmanager
    def _tasks(
        self, lock: Lock, folder: Path, engine: str, args: tuple[str, ...]
    ) -> Iterator[list[Task]]:
        """Lend the jobs of ``lock``, with their package on disk."""
        needs = needs_of(lock.spec)
        order = Order(
            envbuilder=envbuilder.__version__,
            layout=LAYOUT_VERSION,
            name=lock.spec.name,
            lock=dump_lock(lock),
            folder=place_of(lock.spec),
            engine=engine,
            runtime=self.runtime,
            gpus=needs[0].gpus,
            args=args,
        )
        store = self.context.store
        with store.scratch() as scratch:
            package = pack(
                order, lock, folder=folder, store=store, remote=self.remote, into=scratch / "zip"
            )
            yield [Task(name=order.name, lock=lock, need=need, package=package) for need in needs]

    def _in_turn(self, task: Task) -> tuple[Answer, str]:
        with self.turns.taken(task.lock) as begun:
            return self._answer(task, begun)

    def _answer(self, task: Task, begun: Callable[[], None]) -> tuple[Answer, str]:
        """Run one job, or find it, and return its answer and id; again where it was lost.

        ``begun`` is called each time that it is on its way.
        Raises what the answer tells of a failure, NetworkError if the cluster is away or loses it
        again and again, BuildError for a job that was stopped or ended without an answer.
        """
        losses = 0
        while True:
            submission, attempt = self._join(task, patience=_PATIENCE if losses else 0)
            begun()
            state = self._wait(task, submission)
            log, answer = ("", None) if state is None else self._told(submission, state, attempt)
            if answer is not None and not answer.error:
                return answer, submission
            self.done.append(submission)
            if answer is not None:
                raise error_of(answer, f"{task.title}: " if task.need.gpu else "")
            reason = _why_again(task, state, log)
            losses += state is None or state.error_type != _WAITED
            if losses == _MOST_LOSSES:
                raise NetworkError(
                    f"the job of {task.title} was lost {losses} times; the last time {reason}",
                    hint=f"look at {self.api.address}; the same command tries again",
                )
            self.context.progress.note(f"warning: {task.title}: {reason}; it is submitted again")

    def _told(self, submission: str, state: JobState, attempt: str) -> tuple[str, Answer | None]:
        """Return what an ended job printed, and the answer in it, if there is a whole one.

        A busy machine may show the end of a log only after the end of its job.
        """
        for _ in range(_LOOKS):
            log = self._log(submission, state)
            answer = read_answer(log, attempt)
            if answer is not None or self.context.stop.wait(self.pause):
                break
        return log, answer

    def _log(self, submission: str, state: JobState) -> str:
        """Return what a job printed; nothing if its machine is gone, and what it printed there.

        Raises NetworkError if it is there, but cannot be asked: another job would not be better.
        """
        try:
            return self.api.log(submission)
        except NetworkError:
            if any(node.node_id == state.driver_node_id for node in self.api.nodes()):
                raise
            return ""

    def _join(self, task: Task, *, patience: float) -> tuple[str, str]:
        """Find the job, or submit it; return its id and the name of its attempt.

        ``patience`` is for how long (seconds) no machine may be fit to run it.
        """
        known = list(self._known(task))
        for submission, state in reversed(known):
            attempt = (state.metadata or {}).get("attempt", "")
            if submission not in self.done and attempt and state.may_answer:
                self.context.progress.note(f"{task.title}: found job {submission}")
                return submission, attempt
        submission, attempt = task.submission(len(known) + 1), secrets.token_hex(8)
        nodes = self._nodes(task, patience=patience)
        if not self._submit(task, submission, attempt, nodes):
            return self._join(task, patience=patience)  # somebody was faster, with the same
        self.context.progress.note(f"{task.title}: job {submission}")
        return submission, attempt

    def _known(self, task: Task) -> Iterator[tuple[str, JobState]]:
        """Yield the submissions of a job that the cluster knows, the oldest first."""
        for number in count(1):
            state = self.api.job(task.submission(number))
            if state is None:
                return
            yield task.submission(number), state

    def _nodes(self, task: Task, *, patience: float) -> Sequence[Node]:
        """Return the machines of the cluster, one of which is fit; a lost one may come back."""
        until = time.monotonic() + patience
        while True:
            nodes = self.api.nodes()
            try:
                if not self.growing:
                    check_fits(task.need, nodes, name=task.name, cluster=self.api.address)
            except MissingToolError:
                if time.monotonic() >= until or self.context.stop.wait(self.pause):
                    raise
            else:
                return nodes

    def _submit(self, task: Task, submission: str, attempt: str, nodes: Sequence[Node]) -> bool:
        if not self.api.has_package(task.package.name):
            self.api.put_package(task.package.name, task.package.file)
        job: Mapping[str, Any] = {
            "submission_id": submission,
            "entrypoint": f"python start.py {attempt}",
            "runtime_env": {"working_dir": f"gcs://{task.package.name}"},
            "metadata": {"envbuilder": task.title, "attempt": attempt},
            **task.need.asked(nodes),
        }
        return self.api.submit(job)

    def _wait(self, task: Task, submission: str) -> JobState | None:
        """Wait until the job has ended; return how, or None if the cluster has forgotten it."""
        seen = time.monotonic()
        with self.context.progress.step("cluster", task.title, unit="items") as step:
            while True:
                try:
                    state = self.api.job(submission)
                    seen = time.monotonic()
                except NetworkError:
                    if time.monotonic() - seen > _PATIENCE:
                        raise
                else:
                    if state is None or state.ended:
                        return state
                    _tell(step, state)
                if self.context.stop.wait(self.pause):
                    raise BuildError(f"{task.title}: given up; its job goes on")


@contextmanager
def open_jobs(
    address: str,
    context: Context,
    *,
    runtime: str = "auto",
    remote: RemoteSettings | None = None,
    growing: bool = False,
) -> Iterator[Jobs]:
    """Lend the cluster at ``address``, once it has answered; see :class:`Jobs`.

    Whoever interrupts this leaves the jobs alone, and is told so. Raises UsageError for an address
    that is none and NetworkError if no Ray answers there.
    """
    with JobsApi.from_environment(address) as api:
        api.ray_version()
        if remote is None:
            context.progress.note(
                "warning: no remote store (docs/how-to/share-layers.md): each machine of the "
                "cluster downloads and layers every wheel for itself"
            )
        jobs = Jobs(
            api=api,
            context=context,
            turns=Turns(context),
            runtime=runtime,
            remote=remote,
            growing=growing,
        )
        try:
            yield jobs
        except EnvbuilderError:
            jobs.forget()
            raise
        except KeyboardInterrupt:
            context.progress.note(
                "the jobs go on in the cluster: the same command collects what they give; "
                "`ray job stop ID`, or regenerate with --stop, ends them"
            )
            raise
        jobs.forget()


def _why_again(task: Task, state: JobState | None, log: str) -> str:
    """Return why a job without an answer is tried again; raise if its end was its own."""
    if state is None:
        return "the cluster knows nothing of it any more"
    if state.status == "STOPPED":
        raise BuildError(
            f"the job of {task.title} was stopped in the cluster",
            hint="the same command begins anew",
        )
    if state.error_type in LOST:
        return LOST[state.error_type]
    if not log:
        return "its machine is gone, and what it had found"
    tail = "\n".join(f"  {line}" for line in log.strip().splitlines()[-_TAIL:])
    raise BuildError(
        f"the job of {task.title} ended without an answer: {state.message}\nit said last:\n{tail}",
        hint="`python` there must be the one that has envbuilder; docs/how-to/run-on-ray.md",
    )


def _tell(step: Step, state: JobState) -> None:
    if isinstance(step, Telling):
        step.say("waits for a machine" if state.status == "PENDING" else "runs")
