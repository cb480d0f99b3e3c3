"""Signals at random moments, to every command and both engines."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time

from tests.siege.field import Attack, Field
from tests.siege.judge import Running
from tests.siege.testbed import NAME

COLD = ("blobs", "records", "trees", "trees-0", "compiled", "git")
"""What a store is without: everything is fetched and made anew."""
ON_DOCKER = ("build", NAME, "--engine", "docker", "--no-smoke")
ON_DEBIAN = "base: {debian: trixie}\nsystem: {packages: [python3]}"


def commands(host: str) -> tuple[tuple[str, ...], ...]:
    """Return every command of the line, as a user would call it here."""
    return (
        ("init", "other"),
        ("lock", NAME, "--upgrade"),
        ("lock", NAME, "--check"),
        ("render", NAME),
        ("fetch", NAME),
        ("build", NAME, "--no-smoke", "--output-image", "oci:out"),
        ("build", NAME, "--no-smoke", "--output-image", "out.tar"),
        ("build", NAME, "--report", "report.html"),
        ("build", NAME, "--no-smoke", "--push", f"{host}/other:1"),
        ("smoke", "run", NAME),
        ("wheels", "build", NAME),
        ("wheels", "export", NAME, "wheels"),
        ("inspect", f"{host}/pushed:1"),
        ("outdated", NAME),
        ("bump", NAME, "alpha==1.0"),
        ("bump", NAME, "--all"),
        ("history", NAME),
        ("rollback", NAME, "1"),
        ("bisect", NAME, "--good", "1", "--bad", "2"),
        ("regenerate", NAME),
        ("matrix", NAME, "--axis", "alpha==1.0 alpha==2.0"),
        ("push", NAME, f"{host}/pushed:2", "--key", "key.key"),
        ("promote", NAME, f"{host}/pushed:3"),
        ("verify", f"{host}/pushed:1"),
        ("diff", NAME, f"{host}/pushed:1"),
        ("keys", "new", "another"),
        ("doctor",),
        ("cache", "ls"),
        ("cache", "verify"),
        ("cache", "repair"),
        ("cache", "prune"),
        ("schema",),
    )


def kill_any(field: Field) -> None:
    """SIGKILL a command, or it and what it started, and look whether all is well after."""
    _strike(field, field.random.choice(commands(field.bed.host)), signal.SIGKILL)


def kill_cold(field: Field) -> None:
    """The same with a store that has nothing of what the command needs."""
    warm = ("build", NAME, "--no-smoke", "--output-image", "oci:out")
    arguments = field.random.choice(((*warm,), ("fetch", NAME), ("smoke", "run", NAME)))
    for name in COLD:
        if field.random.random() < 0.6:
            shutil.rmtree(field.checkout.store / name, ignore_errors=True)
    _strike(field, arguments, signal.SIGKILL, slower=2.0)


def interrupt(field: Field) -> None:
    """SIGINT, SIGTERM or SIGHUP: the command itself clears up."""
    number = field.random.choice((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    _strike(field, field.random.choice(commands(field.bed.host)), number)


def kill_docker(field: Field) -> None:
    """SIGKILL while the Docker engine builds or smokes for us."""
    build_on_docker(field)
    arguments = field.random.choice(
        (
            (*ON_DOCKER, "--output-image", "oci:out"),
            ("smoke", "run", NAME, "--runtime", "docker"),
        )
    )
    _strike(field, arguments, signal.SIGKILL, build=("--no-smoke", "--engine", "docker"))
    left = subprocess.run(["docker", "ps", "--quiet"], capture_output=True, text=True, check=True)
    if left.stdout:
        field.tally.fault("leftover", f"a container of Docker after the next run: {left.stdout}")


def build_on_docker(field: Field) -> None:
    """Let the field's environment stand on Debian, as Docker can build it, if it does not yet."""
    checkout = field.checkout
    spec = checkout.spec.read_text()
    if ON_DEBIAN in spec:
        return
    spec = re.sub("(?m)^base: .*", ON_DEBIAN, spec)
    checkout.spec.write_text(re.sub("(?m)^python: .*", 'python: "3.13"', spec))
    checkout.lock.unlink()
    done = subprocess.run(
        checkout.command(*ON_DOCKER, "-o", "json"), cwd=checkout.folder,
        env=checkout.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    field.judge.expected = json.loads(done.stdout)["image"]


def _strike(
    field: Field,
    arguments: tuple[str, ...],
    number: signal.Signals,
    *,
    slower: float = 1.0,
    build: tuple[str, ...] | None = None,
) -> None:
    judge, random = field.judge, field.random
    length = field.length(*arguments) * slower
    with judge.as_it_was():
        running = judge.start(*arguments)
        time.sleep(random.uniform(0, length))
        whole = number == signal.SIGKILL and random.random() < 0.3
        send(running, number, whole=whole)
        outcome = judge.finish(running, arguments, sent=number)
        if number != signal.SIGKILL:
            judge.leftovers()
        checked = judge.run("lock", NAME, "--check")
        if checked.code:
            judge.tally.fault("recovery", f"after {arguments} ({outcome.code}): {checked.stderr}")
    smoked = () if random.random() < 0.2 else ("--no-smoke",)
    judge.settle(build=smoked if build is None else build)


def send(running: Running, number: signal.Signals, *, whole: bool = False) -> None:
    """Send a signal to the command if it still runs; ``whole``: to its process group."""
    pid = running.process.pid  # a zombie until the judge waits for it: the number is still ours
    os.killpg(pid, number) if whole else os.kill(pid, number)


def no_engine() -> str:
    done = subprocess.run(["docker", "info"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "no Docker Engine answers (make engine)"


ATTACKS = (
    Attack(name="SIGKILL, all commands", run=kill_any, weight=3),
    Attack(name="SIGKILL, cold store", run=kill_cold, share=0),
    Attack(name="SIGKILL, Docker engine", run=kill_docker, share=0, weight=2, missing=no_engine),
    Attack(name="SIGINT, SIGTERM, SIGHUP", run=interrupt, share=0),
)
