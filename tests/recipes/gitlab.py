"""Run a job of a GitLab pipeline on a bare machine, as a runner with containers does.

Which jobs a pipeline has is decided by the rules' conditions, read as GitLab reads them; a keyword
or a condition that is not known here fails.
"""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .github import Ran
from .machine import Machine

_BUILDS = "/builds/project"
_SCRIPT = "/builds/script.sh"
_GLOBAL = {"workflow", "variables"}
_JOB = {
    "extends", "image", "before_script", "script", "rules", "timeout", "variables",
    "resource_group", "environment",
}  # fmt: skip
_IMAGE = "debian:trixie"
_CONDITION = re.compile(r'\$(\w+)\s*(==|=~)\s*(?:"([^"]*)"|\$(\w+)|/((?:[^/\\]|\\.)*)/)')
_VARIABLE = re.compile(r"\$(\w+)")


def holds(condition: str, variables: Mapping[str, str]) -> bool:
    """Evaluate a rule's ``if``: comparisons and matches, joined by ``&&``."""
    return all(_compare(part.strip(), variables) for part in condition.split("&&"))


def _compare(part: str, variables: Mapping[str, str]) -> bool:
    found = _CONDITION.fullmatch(part)
    assert found, f"a condition that these tests do not know: {part}"
    left, operator, text, name, pattern = found.groups()
    if operator == "=~":
        return re.search(pattern.replace("\\/", "/"), variables.get(left, "")) is not None
    right = text if text is not None else variables.get(name)
    return variables.get(left) == right


@dataclass(frozen=True, kw_only=True)
class Project:
    """What the jobs of a project find: its git server and variables."""

    origin: str
    variables: Mapping[str, str]
    files: Mapping[
        str, Mapping[str, str]
    ]  # variables of type file, by the environment that sees them
    machine: Callable[[], Machine]

    def run(self, pipeline: Path, **event: str) -> dict[str, Ran]:
        """Run the jobs that a pipeline for ``event`` (predefined variables) has."""
        text = yaml.safe_load(pipeline.read_text("utf-8"))
        variables = {**self.variables, **event}
        rules = text["workflow"]["rules"]
        assert any(holds(each["if"], variables) for each in rules), "there is no pipeline"
        return {
            name: self._run(job, {**text["variables"], **variables})
            for name, job in _jobs(text)
            if any(holds(each["if"], variables) for each in job["rules"])
        }

    def _run(self, job: Mapping[str, Any], variables: Mapping[str, str]) -> Ran:
        assert job["image"] == _IMAGE
        machine = self.machine()
        known = dict(variables)
        for name, content in self.files.get(job.get("environment", ""), {}).items():
            known[name] = f"{_BUILDS}.tmp/{name}"
            machine.write(known[name], content)
        for name, given in job.get("variables", {}).items():
            known[name] = _VARIABLE.sub(lambda match: known[match[1]], given)
        branch = known.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", known["CI_DEFAULT_BRANCH"])
        depth = known.get("GIT_DEPTH", "20")
        deep = [] if depth == "0" else [f"--depth={depth}"]
        clone = ["git", "clone", "-q", *deep, f"--branch={branch}", self.origin]
        subprocess.run([*clone, machine.path(_BUILDS)], check=True)
        subprocess.run(
            ["git", "-C", machine.path(_BUILDS), "checkout", "-q", "--detach"], check=True
        )
        lines = "\n".join([*job["before_script"], *job["script"]])
        machine.write(_SCRIPT, f"set -eo pipefail\n{lines}\n")
        done = machine.run(["bash", _SCRIPT], environ=known, where=_BUILDS)
        return Ran(machine=machine, said=done.stdout, code=done.returncode, outputs={})


def _jobs(text: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in text.items():
        if name in _GLOBAL or name.startswith("."):
            continue
        whole = {**text[job["extends"]], **job} if "extends" in job else dict(job)
        assert set(whole) <= _JOB, f"not known: {set(whole) - _JOB}"
        yield name, whole
