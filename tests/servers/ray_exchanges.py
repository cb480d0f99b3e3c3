"""What we ask of Ray's dashboard, asked in turn: status and shape of each answer, to be compared.

``ray_answers.json`` beside it was recorded from a real Ray.
"""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

import requests

RECORDED = Path(__file__).parent / "ray_answers.json"
_MAPS = {"labels", "resources_total", "metadata", "runtime_env"}
_TOLD = {"status", "error_type", "stopped", "deleted", "driver_exit_code", "version"}


def exchanges(url: str) -> dict[str, Any]:
    """Return what the dashboard at ``url`` answered to each request, by the request's name."""
    package, job, bad = f"_ray_pkg_{uuid.uuid4().hex}.zip", uuid.uuid4().hex, uuid.uuid4().hex
    order = {
        "submission_id": job,
        "entrypoint": "cat inside",
        "runtime_env": {"working_dir": f"gcs://{package}"},
        "metadata": {"attempt": "1"},
        "entrypoint_num_cpus": 1,
        "entrypoint_memory": 1 << 20,
    }
    jobs = f"{url}/api/jobs/"

    def ask(method: str, path: str, **more: Any) -> Any:
        return _shape(requests.request(method, path, timeout=60, **more))

    found = {
        "version": ask("GET", f"{url}/api/version"),
        "nodes": ask("GET", f"{url}/api/v0/nodes?detail=1&limit=10000"),
        "no such path": ask("GET", f"{url}/api/nowhere"),
        "package absent": ask("GET", f"{url}/api/packages/gcs/{package}"),
        "package put": ask("PUT", f"{url}/api/packages/gcs/{package}", data=_zip()),
        "package there": ask("GET", f"{url}/api/packages/gcs/{package}"),
        "job absent": ask("GET", jobs + job),
        "submit": ask("POST", jobs, json=order),
        "submit again": ask("POST", jobs, json=order),
        "submit nonsense": ask("POST", jobs, json={**order, "entrypoint_nonsense": 1}),
        "submit wrong type": ask("POST", jobs, json={**order, "entrypoint_memory": "much"}),
    }
    _ended(jobs + job)
    ask("POST", jobs, json={**order, "submission_id": bad, "entrypoint": "exit 3"})
    _ended(jobs + bad)
    return found | {
        "job done": ask("GET", jobs + job),
        "logs": ask("GET", f"{jobs}{job}/logs"),
        "log text": "here" in requests.get(f"{jobs}{job}/logs", timeout=60).json()["logs"].split(),
        "logs absent": ask("GET", f"{jobs}absent/logs"),
        "stop done": ask("POST", f"{jobs}{job}/stop", json={}),
        "stop absent": ask("POST", f"{jobs}absent/stop", json={}),
        "delete": ask("DELETE", jobs + job),
        "delete again": ask("DELETE", jobs + job),
        "job failed": ask("GET", jobs + bad),
    }


def _zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("inside", "here\n")
    return made.getvalue()


def _ended(url: str) -> None:
    for _ in range(600):
        if requests.get(url, timeout=60).json()["status"] in {"SUCCEEDED", "FAILED"}:
            return
        time.sleep(0.2)
    raise RuntimeError(f"the job at {url} does not end")


def _shape(answer: requests.Response) -> Any:
    if answer.headers.get("Content-Type", "").startswith("application/json"):
        return [answer.status_code, _type(json.loads(answer.text))]
    return [answer.status_code, "text"]


def _type(value: Any, name: str = "") -> Any:
    """Return what a value is made of; the value itself where its name says that it counts."""
    if name in _TOLD:
        return value
    if isinstance(value, dict):
        return "map" if name in _MAPS else {key: _type(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_type(value[0])] if value else []
    return type(value).__name__
