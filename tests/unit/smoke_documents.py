"""A document of facts that the probe really wrote, and ways to look into it.

Recorded from Debian trixie's torch 2.6.0 with transformers 4.52.4, and for the engine from
vllm 0.8.5.post1 on the same transformers.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

import envbuilder
from envbuilder.smoke import Expected, ProbedModel, SmokePlan, to_json
from envbuilder.smoke.document import read_document
from envbuilder.smoke.judge import judge
from envbuilder.smoke.report import Check, Report

SCHEMA = Path(envbuilder.__file__).parents[1] / "docs/reference/smoke-report.schema.json"
RECORDED = json.loads(Path(__file__).with_name("data").joinpath("smoke-facts.json").read_text())

PLAN = SmokePlan(
    expected=tuple(
        Expected(
            name=entry["name"],
            version=entry["version"],
            requested=entry["name"] in {"pillow", "transformers"},
        )
        for job in RECORDED["jobs"]
        if job["name"] == "environment"
        for entry in job["facts"]["distributions"]
        if entry["owned"]
    ),
    prefix="/opt/venv",
    models=(
        ProbedModel(family="qwen2_5_omni", tokens={"audio": 750, "image": 16384, "video": 729}),
    ),
)


def stating(tokens: Mapping[str, int], **model: Any) -> SmokePlan:
    """Return the plan of a model that states other ``tokens``."""
    (one,) = PLAN.models
    return replace(PLAN, models=(replace(one, tokens=tokens, **model),))


class Document:
    """A private copy of the recorded facts that a test may spoil."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = copy.deepcopy(RECORDED)

    def job(self, name: str) -> dict[str, Any]:
        return next(job for job in self.value["jobs"] if job["name"] == name)

    def item(self, name: str, label: str) -> dict[str, Any]:
        return next(item for item in self.job(name)["items"] if item["label"] == label)

    def package(self, name: str) -> dict[str, Any]:
        entries = self.job("environment")["facts"]["distributions"]
        return next(entry for entry in entries if entry["name"] == name and entry["active"])

    def drop(self, *names: str) -> None:
        self.value["jobs"] = [job for job in self.value["jobs"] if job["name"] not in names]

    def stop(self, name: str, outcome: str, message: str = "", **more: Any) -> None:
        """Let the job ``name`` end as ``outcome``, with nothing counted."""
        failure = {"kind": outcome, "message": message} if message else None
        self.job(name).update(outcome=outcome, items=[], failure=failure, **more)

    def report(self, plan: SmokePlan = PLAN) -> Report:
        return judge(plan, self.read(), subject="recorded")

    def read(self) -> dict[str, Any]:
        """Read it as what an image prints is read, with the jobs that it holds."""
        wanted = [job["name"] for job in self.value["jobs"]]
        return read_document(json.dumps(self.value).encode(), wanted=wanted)

    def check(self, name: str, plan: SmokePlan = PLAN) -> Check:
        return next(check for check in self.report(plan).checks if check.name == name)


def conform(report: Report) -> None:
    """Check the JSON form of a report against its published schema."""
    schema = Draft202012Validator(json.loads(SCHEMA.read_text()))
    schema.validate(json.loads(to_json(report), parse_constant=_refuse))


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def sound_start() -> dict[str, Any]:
    """Return the job of an image that starts, as the probe writes it."""
    return {
        "name": "start", "outcome": "done", "seconds": 0.1, "finished": True, "failure": None,
        "facts": {
            "args": ["vllm", "serve"],
            "user": {"uid": 1000, "gid": 1000, "name": "app", "problem": ""},
            "home": {"path": "/home/app", "exists": True, "enters": True, "writable": True,
                     "named": True},
            "workdir": {"path": "/srv", "exists": True, "enters": True},
            "limits": {"shm": 67108864, "files": 1048576, "memlock": -1},
            "roots": True,
            "read_roots": [],
        },
        "items": [
            {"role": "the entry point", "program": "vllm", "path": "/opt/venv/bin/vllm",
             "problem": ""},
        ],
    }  # fmt: skip
