"""A small stand-in for Ray's dashboard: packages, jobs that really run here, logs, and machines.

It answers as Ray 2.60 did (``ray_answers.json``; ``make ray`` compares the real one with that file)
and refuses what Ray refuses. A machine is a folder, some variables, and the ``python`` of its PATH.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .scripted import Call, Scripted, Seen, scripted

_FIELDS = {
    "entrypoint": str,
    "submission_id": str,
    "runtime_env": dict,
    "metadata": dict,
    "entrypoint_num_cpus": (int, float),
    "entrypoint_num_gpus": (int, float),
    "entrypoint_memory": int,
    "entrypoint_resources": dict,
    "entrypoint_label_selector": dict,
}
_GHOSTS = 500  # milliseconds after its end
_ENDED = {"STOPPED", "SUCCEEDED", "FAILED"}


@dataclass(kw_only=True)
class Machine:
    """A machine: what it has, and the variables that its jobs see; ``PATH`` has a ``python``."""

    name: str
    folder: Path
    env: Mapping[str, str]
    gpu: str = ""
    cpus: float = 2
    memory: float = 32 << 30
    alive: bool = True
    running: dict[str, subprocess.Popen] = field(default_factory=dict)

    def plain(self, number: int) -> dict[str, Any]:
        """Return it as Ray's list of nodes has it."""
        resources = {"CPU": self.cpus, "memory": self.memory, "object_store_memory": 1.0}
        resources |= {"GPU": 1.0} if self.gpu else {}
        labels = {"ray.io/node-id": self.name}
        labels |= {"ray.io/accelerator-type": self.gpu} if self.gpu else {}
        return {
            "node_id": self.name,
            "node_ip": f"127.0.0.{number + 2}",
            "is_head_node": number == 0,
            "state": "ALIVE" if self.alive else "DEAD",
            "state_message": None,
            "node_name": self.name,
            "resources_total": resources,
            "labels": labels,
            "start_time_ms": 1,
            "end_time_ms": 0,
        }

    def takes(self, job: Mapping[str, Any]) -> bool:
        """Return whether a job may begin here now."""
        selector = job.get("entrypoint_label_selector") or {}
        return (
            self.alive
            and len(self.running) + job.get("entrypoint_num_cpus", 0) <= self.cpus
            and job.get("entrypoint_memory", 0) <= self.memory
            and job.get("entrypoint_num_gpus", 0) <= (1 if self.gpu else 0)
            and selector.get("ray.io/accelerator-type", self.gpu) == self.gpu
        )

    def log(self, submission: str) -> Path:
        return self.folder / f"job-driver-{submission}.log"


@dataclass(kw_only=True)
class Dashboard:
    """What the cluster knows. While ``hold`` is set, jobs that run do not begin their command."""

    machines: list[Machine]
    token: str = ""
    packages: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    submitted: list[dict[str, Any]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def respond(self, call: Call, request: Seen) -> None:
        """Answer one request."""
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            missing = "Authorization" not in request.headers
            text = b"Unauthorized: Missing" if missing else b"Forbidden: Invalid"
            call.answer(401 if missing else 403, text + b" authentication token")
            return
        parts = [unquote(part) for part in urlsplit(request.path).path.split("/")[1:]]
        with self.lock:
            match request.method, parts:
                case "GET", ["api", "version"]:
                    _json(
                        call,
                        {
                            "version": "4",
                            "ray_version": "2.60.0",
                            "ray_commit": "0",
                            "session_name": "s",
                        },
                    )
                case "GET", ["api", "v0", "nodes"]:
                    self._nodes(call)
                case "GET", ["api", "packages", "gcs", name]:
                    call.answer(200 if name in self.packages else 404)
                case "PUT", ["api", "packages", "gcs", name]:
                    self.packages[name] = request.body
                    call.answer(200)
                case "POST", ["api", "jobs", ""]:
                    self._submit(call, json.loads(request.body))
                case method, ["api", "jobs", submission, *rest] if submission:
                    self._job(call, method, submission, rest)
                case _:
                    call.answer(404, b"404: Not Found")

    def _nodes(self, call: Call) -> None:
        nodes = [machine.plain(number) for number, machine in enumerate(self.machines)]
        count = {
            "total": len(nodes),
            "num_after_truncation": len(nodes),
            "num_filtered": len(nodes),
        }
        result = {**count, "result": nodes, "partial_failure_warning": "", "warnings": None}
        _json(call, {"result": True, "msg": "", "data": {"result": result}})

    def _submit(self, call: Call, job: dict[str, Any]) -> None:
        for name, value in job.items():
            if name not in _FIELDS or not isinstance(value, _FIELDS[name]):
                call.answer(400, f"Traceback\nTypeError: unexpected {name!r}".encode())
                return
        submission = job["submission_id"]
        if submission in self.jobs:
            call.answer(500, b"Traceback\nRuntimeError: Job with that id already exists")
            return
        self.submitted.append(job)
        self.jobs[submission] = {
            "type": "SUBMISSION", "job_id": None, "submission_id": submission, "driver_info": None,
            "status": "PENDING", "entrypoint": job["entrypoint"], "message": "not yet",
            "error_type": None, "start_time": int(time.time() * 1000), "end_time": None,
            "metadata": job.get("metadata"), "runtime_env": job.get("runtime_env"),
            "driver_agent_http_address": None, "driver_node_id": None, "driver_exit_code": None,
        }  # fmt: skip
        threading.Thread(target=self._run, args=(submission, job), daemon=True).start()
        _json(call, {"job_id": submission, "submission_id": submission})

    def _job(self, call: Call, method: str, submission: str, rest: list[str]) -> None:
        job = self.jobs.get(submission)
        if job is None:
            call.answer(404, f"Job {submission} does not exist".encode())
            return
        machine = next((each for each in self.machines if each.name == job["driver_node_id"]), None)
        ended = job["status"] in _ENDED
        match method, rest:
            case "GET", []:
                _json(call, job)
            case "GET", ["logs"] if machine is None:
                _json(call, {"logs": ""})
            case "GET", ["logs"] if machine.alive:
                _json(call, {"logs": machine.log(submission).read_text()})
            case "GET", ["logs"]:
                call.answer(500, b"Traceback\nClientConnectorError: Cannot connect to host")
            case "POST", ["stop"]:
                self._stop(job, machine)
                _json(call, {"stopped": not ended})
            case "DELETE", [] if ended:
                self._forget(submission)
                _json(call, {"deleted": True})
            case _:
                call.answer(500, b"Traceback\nRuntimeError: in a non-terminal state")

    def _forget(self, submission: str) -> None:
        """Drop a job from the list; one that has just ended comes back, as it does in Ray."""
        job = self.jobs.pop(submission)
        soon = time.time() * 1000 - (job["end_time"] or 0) < _GHOSTS
        if soon and "attempt" in (job["metadata"] or {}) and submission.startswith("envbuilder-"):
            ghost = {"metadata": None, "status": "FAILED", "entrypoint": "Entrypoint not found."}
            self.jobs[submission] = {**job, **ghost, "error_type": "JOB_SUPERVISOR_ACTOR_DIED"}

    def _stop(self, job: dict[str, Any], machine: Machine | None) -> None:
        if job["status"] not in _ENDED:
            job["status"] = "STOPPED"
            if machine is not None:
                _end(machine.running.get(job["submission_id"]))

    def kill(self, machine: Machine) -> None:
        """Let a machine fail, with all that runs there."""
        with self.lock:
            machine.alive = False
            for job in self.jobs.values():
                if job["driver_node_id"] == machine.name and job["status"] not in _ENDED:
                    job |= {"status": "FAILED", "message": "Job supervisor actor died",
                            "error_type": "JOB_SUPERVISOR_ACTOR_DIED"}  # fmt: skip
            for process in machine.running.values():
                _end(process)

    def _run(self, submission: str, job: dict[str, Any]) -> None:
        """Wait for a machine, run the job there as Ray does, and note how it ended."""
        record = self.jobs[submission]
        machine = self._place(record, job)
        if machine is None:
            return
        while self.hold.is_set() and record["status"] == "RUNNING":
            time.sleep(0.02)
        with self.lock:
            if record["status"] != "RUNNING":
                machine.running.pop(submission, None)
                return
            process = self._start(machine, submission, job)
            machine.running[submission] = process
        code = process.wait()
        with self.lock:
            del machine.running[submission]
            if record["status"] == "RUNNING":
                good = {"status": "SUCCEEDED", "message": "Job finished successfully."}
                bad = {"status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR",
                       "message": f"Job entrypoint command failed with code {code}"}  # fmt: skip
                record |= {**(bad if code else good), "driver_exit_code": code,
                           "end_time": int(time.time() * 1000)}  # fmt: skip

    def _place(self, record: dict[str, Any], job: Mapping[str, Any]) -> Machine | None:
        while record["status"] == "PENDING":
            with self.lock:
                machine = next((each for each in self.machines if each.takes(job)), None)
                if machine is not None:
                    record |= {"status": "RUNNING", "driver_node_id": machine.name,
                               "driver_agent_http_address": "http://127.0.0.2:1"}  # fmt: skip
                    return machine
            time.sleep(0.02)
        return None

    def _start(self, machine: Machine, submission: str, job: Mapping[str, Any]) -> subprocess.Popen:
        place = Path(tempfile.mkdtemp(prefix=f"{submission}-", dir=machine.folder))
        if uri := (job.get("runtime_env") or {}).get("working_dir"):
            package = self.packages[uri.removeprefix("gcs://")]
            zipfile.ZipFile(io.BytesIO(package)).extractall(place)
        with machine.log(submission).open("a") as log:  # a later attempt's goes behind, as in Ray
            return subprocess.Popen(
                job["entrypoint"],
                shell=True,
                cwd=place,
                env={**os.environ, **machine.env},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextlib.contextmanager
def ray_jobs(machines: list[Machine], *, token: str = "") -> Iterator[tuple[Dashboard, Scripted]]:
    """Serve the stand-in with its ``machines``; end what still runs at the end."""
    dashboard = Dashboard(machines=machines, token=token)
    with scripted(dashboard.respond) as server:
        try:
            yield dashboard, server
        finally:
            dashboard.hold.clear()
            for machine in machines:
                dashboard.kill(machine)


def _json(call: Call, value: object) -> None:
    call.answer(200, json.dumps(value).encode(), Content_Type="application/json")


def _end(process: subprocess.Popen | None) -> None:
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
