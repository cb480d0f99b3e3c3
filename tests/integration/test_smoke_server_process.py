"""How the probe starts, asks and ends a server: real processes and requests, no model."""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envbuilder.smoke.probe import serve

pytestmark = pytest.mark.integration

SERVER = """
import json, os, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
mode, port, note = sys.argv[1], int(sys.argv[2]), sys.argv[3]
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(note, "w").write(f"{os.getpid()} {worker.pid}")
print("loading", flush=True)
if mode == "dies":
    sys.exit("RuntimeError: no kernel image")
begun = time.monotonic()
if mode == "starves":
    os.kill(os.getpid(), 9)
class Handler(BaseHTTPRequestHandler):
    def send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        if mode == "garbled":
            return self.wfile.write(b"no HTTP at all\\n")
        if self.path == "/ready":
            late = mode == "late" or time.monotonic() < begun + 0.5
            return self.send(503 if late else 200, {})
        if mode == "elsewhere":
            return self.send(404, {"detail": "Not Found"})
        self.send(200, {"data": [] if mode == "nameless" else [{"id": "m"}]})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        items = len(body["messages"][0]["content"]) - 1
        if mode == "refuses" and items:
            return self.send(400, {"error": {"message": "no images here"}})
        usage = {"prompt_tokens": 9 + 102 * items}
        if mode == "mute":
            usage = {}
        if mode == "breaks off":
            self.send_response(200)
            self.send_header("Content-Length", "4096")
            self.end_headers()
            return self.wfile.write(b'{"usage": ')
        choice = {"message": {"role": "assistant", "content": "a picture"}}
        self.send(200, {"usage": usage, "choices": [choice]})
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets the job serve in a mode: facts, items, and pids that it had."""
    (tmp_path / "server.py").write_text(SERVER)
    family = SimpleNamespace(modalities={"image": None})
    subject = SimpleNamespace(directory=str(tmp_path), weights=True, bare=False, family=family)
    monkeypatch.setattr(serve, "_placeholders", lambda *_: 100)

    @contextlib.contextmanager
    def opened(_: Any) -> Iterator[Any]:
        yield subject

    monkeypatch.setattr(serve, "opened", opened)

    def run(mode: str, within: float = 20) -> tuple[dict[str, Any], list[Any], list[int]]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        note = tmp_path / "pids"
        args = [sys.executable, "{model}/server.py", mode, str(port), str(note)]
        start = {"serve": args, "port": port, "ready": "/ready", "within": within}
        parts = [
            {"modality": kind, "label": "280x280", "shape": [280, 280], "part": {"type": kind}}
            for kind in ("audio", "image")
        ]
        facts: dict[str, Any] = {}
        items: list[Any] = []

        def emit(**line: Any) -> None:
            facts.update(line.get("facts", {}))
            items.extend([line["item"]] if "item" in line else [])

        serve.run({"start": {**start, "workdir": "/"}, "parts": parts}, emit)
        json.dumps([facts, items])
        return facts, items, [int(pid) for pid in note.read_text().split()]

    return run


def _gone(pids: list[int]) -> bool:
    until = time.monotonic() + 10
    while any(Path("/proc", str(pid)).exists() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_a_server_is_awaited_asked_and_ended_with_its_workers(served: Any) -> None:
    facts, items, pids = served("well")
    assert facts["ready"] >= 0.5
    assert facts["model"] == "m"
    text, image = items
    assert (text["label"], text["prompt"]) == ("text", 9)
    assert (image["modality"], image["added"], image["placeholders"]) == ("image", 102, 100)
    assert image["text"] == "a picture"
    assert _gone(pids)


def test_a_server_that_dies_says_its_last_words(served: Any) -> None:
    facts, items, pids = served("dies")
    assert facts["silent"] == "it ended with exit code 1 before it was ready"
    assert facts["output"].splitlines() == ["loading", "RuntimeError: no kernel image"]
    assert items == []
    assert _gone(pids)


def test_a_server_that_is_killed_says_by_what(served: Any) -> None:
    facts, _, pids = served("starves")
    assert facts["silent"] == "it was killed by SIGKILL before it was ready"
    assert facts["output"].splitlines() == ["loading"]
    assert _gone(pids)


def test_a_server_that_never_gets_ready_is_given_up_and_ended(served: Any) -> None:
    facts, _, pids = served("late", within=2)
    assert facts["silent"].endswith("/ready did not answer within 2 s")
    assert _gone(pids)


def test_what_speaks_no_http_is_never_ready(served: Any) -> None:
    facts, _, pids = served("garbled", within=2)
    assert facts["silent"].endswith("/ready did not answer within 2 s")
    assert _gone(pids)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("elsewhere", '/v1/models names no model: 404: {"detail": "Not Found"}'),
        ("nameless", "/v1/models names no model: IndexError: list index out of range"),
    ],
)
def test_a_server_that_names_no_model_is_asked_for_nothing(
    served: Any, mode: str, words: str
) -> None:
    facts, items, pids = served(mode)
    assert facts["silent"].endswith(words)
    assert items == []
    assert _gone(pids)


def test_an_answer_that_breaks_off_is_an_error(served: Any) -> None:
    _, items, _ = served("breaks off")
    assert [item["label"] for item in items] == ["text"]
    assert items[0]["error"].startswith("IncompleteRead: ")


def test_what_a_server_refuses_is_told_in_its_words(served: Any) -> None:
    _, items, _ = served("refuses")
    assert items[1]["error"] == '400: {"error": {"message": "no images here"}}'


def test_an_answer_without_a_count_is_an_error_and_nothing_more_is_asked(served: Any) -> None:
    _, items, _ = served("mute")
    assert [item["label"] for item in items] == ["text"]
    assert items[0]["error"] == "KeyError: 'prompt_tokens'"


def test_a_program_that_is_not_there_is_silent(tmp_path: Path, monkeypatch: Any) -> None:
    subject = SimpleNamespace(directory=str(tmp_path), weights=True, bare=False)
    opened = contextlib.nullcontext(subject)
    monkeypatch.setattr(serve, "opened", lambda _: opened)
    start = {"serve": ["no-such"], "port": 9, "ready": "/", "within": 2, "workdir": "/"}
    facts: dict[str, Any] = {}
    emit = lambda **line: facts.update(line.get("facts", {}))  # noqa: E731
    serve.run({"start": start, "parts": []}, emit)
    assert "No such file or directory: 'no-such'" in facts["silent"]
