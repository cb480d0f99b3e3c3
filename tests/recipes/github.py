"""Run a GitHub workflow's jobs on bare machines, step by step as the hosted runner does.

Actions of others are mapped one by one to what they do for these workflows; one that is not
mapped, and a key of a workflow that is not known here, fails.
"""

import base64
import itertools
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .expressions import filled, value
from .machine import Machine

_WORKSPACE = "/home/runner/work"
_FILES = "/home/runner/files"
_WORKFLOW = {"name", True, "permissions", "concurrency", "jobs"}  # YAML 1.1 reads "on" as true
_JOB = {"needs", "if", "runs-on", "timeout-minutes", "strategy", "outputs", "env", "steps"}
_STEP = {"id", "name", "uses", "with", "run", "env"}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A job that ran to its end: where, what it printed, its exit code and outputs."""

    machine: Machine
    said: str
    code: int
    outputs: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Hosted:
    """What the jobs of a repository find: its git server, and contexts such as ``vars``."""

    origin: str
    known: Mapping[str, Any]
    machine: Callable[[], Machine]

    def run(self, workflow: Path) -> dict[str, list[Ran]]:
        """Run all jobs of a workflow in the order of their needs, each combination by itself."""
        text = yaml.safe_load(workflow.read_text("utf-8"))
        assert set(text) <= _WORKFLOW, f"not known: {set(text) - _WORKFLOW}"
        done: dict[str, list[Ran]] = {}
        for name, job in text["jobs"].items():  # written in the order of their needs
            needed = job.get("needs", [])
            outputs = {
                each: {"outputs": done[each][-1].outputs}
                for each in ([needed] if isinstance(needed, str) else needed)
            }
            known = {**self.known, "needs": outputs}
            done[name] = [
                Job(hosted=self, job=job, known={**known, "matrix": matrix}).run()
                for matrix in _combinations(job, known)
            ]
        return done


def _combinations(job: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    axes = filled(job.get("strategy", {}).get("matrix", {}), known)
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


@dataclass(kw_only=True)
class Job:
    """One job on a machine of its own."""

    hosted: Hosted
    job: Mapping[str, Any]
    known: dict[str, Any]
    said: list[str] = field(default_factory=list)

    def run(self) -> Ran:
        """Run the steps until one fails."""
        assert set(self.job) <= _JOB, f"not known: {set(self.job) - _JOB}"
        assert self.job["runs-on"] == "ubuntu-latest"
        assert value(self.job.get("if", "'yes'"), self.known), f"skipped: {self.job['if']}"
        machine = self.hosted.machine()
        steps: dict[str, dict[str, dict[str, str]]] = {}
        self.known["steps"] = steps
        code = 0
        for step in self.job["steps"]:
            assert set(step) <= _STEP, f"not known: {set(step) - _STEP}"
            code = self._step(machine, step)
            if "id" in step:
                steps[step["id"]] = {"outputs": _pairs(machine.path(f"{_FILES}/output"))}
            if code:
                break
        outputs = {} if code else filled(self.job.get("outputs", {}), self.known)
        return Ran(machine=machine, said="\n".join(self.said), code=code, outputs=outputs)

    def _step(self, machine: Machine, step: Mapping[str, Any]) -> int:
        environ = {**self._environ(), **filled(step.get("env", {}), self.known)}
        if "uses" in step:
            action = ACTIONS[step["uses"]]
            script = action(self.hosted, filled(step.get("with", {}), self.known))
        else:
            script = filled(step["run"], self.known)
        machine.write(f"{_FILES}/output", "")
        machine.write(f"{_FILES}/step.sh", script)
        done = machine.run(
            ["bash", "-e", f"{_FILES}/step.sh"],
            environ={name: str(each) for name, each in environ.items()},
            where=_WORKSPACE,
        )
        self.said.append(f"$ {script}\n{done.stdout}")
        return done.returncode

    def _environ(self) -> dict[str, str]:
        return {
            "CI": "true",
            "GITHUB_WORKSPACE": _WORKSPACE,
            "GITHUB_OUTPUT": f"{_FILES}/output",
            "RUNNER_TEMP": _FILES,
            **filled(self.job.get("env", {}), self.known),
        }


def _pairs(path: Path) -> dict[str, str]:
    lines = path.read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def _checkout(hosted: Hosted, given: Mapping[str, Any]) -> str:
    assert set(given) <= {"fetch-depth", "ref"}
    depth = given.get("fetch-depth", 1)
    deep = f"--depth={depth}" if depth else ""
    branch = shlex.quote(given.get("ref", "main"))
    return f"git clone -q {deep} --branch {branch} {shlex.quote(hosted.origin)} ."


def _login(_hosted: Hosted, given: Mapping[str, Any]) -> str:
    assert set(given) == {"registry", "username", "password"}
    auth = base64.b64encode(f"{given['username']}:{given['password']}".encode()).decode()
    config = json.dumps({"auths": {given["registry"]: {"auth": auth}}})
    return f"mkdir -p ~/.docker && echo {shlex.quote(config)} > ~/.docker/config.json"


ACTIONS: Mapping[str, Callable[[Hosted, Mapping[str, Any]], str]] = {
    "actions/checkout@v4": _checkout,
    "docker/login-action@v3": _login,
}
