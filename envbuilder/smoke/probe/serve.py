"""Start what the image starts, with the model, and ask for an item of every modality.

The server is stopped at the end by its process id, whatever happened; what it printed last is told
if it did not serve. Nothing leaves the container: the address is loopback.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any, Iterator

from .facts import Emitter, Facts, describe
from .model import Subject, opened
from .programs import find
from .samples import Sample
from .start import TAIL, tail
from .tokens import placeholders
from .touched import of_session

HERE = "127.0.0.1"
PAUSE = 0.25
"""Seconds between two looks whether the server is ready."""
PATIENCE = 120
"""Seconds for one answer: the first request compiles what the others use."""
GRACE = 10
"""Seconds that a server has to end when it is asked to."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TEXT = {"type": "text", "text": "Describe."}
UNFIT = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError)
"""What comes of an answer that is none, is no HTTP, breaks off, or lacks what is looked for."""


class Silent(Exception):  # noqa: N818 - a state
    """The server ended, or was not ready in time; the message says which."""


def run(request: Facts, emit: Emitter) -> None:
    """Emit how long the server took, then one item per request: the text alone, each modality."""
    start = request["start"]
    emit(doing="loading the model's processor")
    with opened(request) as subject, tempfile.TemporaryFile() as output:
        _with_weights(subject)
        args = [part.replace("{model}", subject.directory) for part in start["serve"]]
        emit(facts={"args": args, "port": start["port"]}, doing=f"starting {' '.join(args)}")
        base = f"http://{HERE}:{start['port']}"
        began = time.monotonic()
        try:
            with _started(args, start["workdir"], output) as server:
                _await(server, base + start["ready"], start["within"])
                emit(facts={"ready": round(time.monotonic() - began, 3)})
                for item in _answers(base, subject, request["parts"], emit):
                    emit(item=item)
                emit(facts={"touched": of_session(server.pid)})
        except (Silent, OSError) as reason:
            emit(facts={"silent": str(reason), "output": tail(output)})


def _with_weights(subject: Subject) -> None:
    """Put the random weights of a tiny model where a server looks for them."""
    if not subject.weights and not subject.bare:
        with tempfile.TemporaryDirectory() as scratch:
            subject.model.save_pretrained(scratch)
            for path in Path(scratch).glob("*.safetensors"):
                os.rename(path, Path(subject.directory, path.name))


@contextlib.contextmanager
def _started(args: list[str], folder: str, output: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``args`` in ``folder`` as long as the block lasts; all that it starts ends with it."""
    server = subprocess.Popen(
        [find(args[0], folder) or args[0], *args[1:]],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd=folder if os.path.isdir(folder) else "/",
        start_new_session=True,
    )
    try:
        yield server
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(GRACE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # workers that outlive it
        server.wait()


def _await(server: subprocess.Popen[bytes], url: str, within: float) -> None:
    """Return when ``url`` answers with 200; raise Silent if the server ends or time is up (s)."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        code = server.poll()
        if code is not None:
            raise Silent(f"it {_ending(code)} before it was ready")
        left = max(1.0, until - time.monotonic())
        with contextlib.suppress(*UNFIT), _OPENER.open(url, timeout=left) as answer:
            if answer.status == 200:
                return
        time.sleep(PAUSE)
    raise Silent(f"{url} did not answer within {within:g} s")


def _ending(code: int) -> str:
    """Say how a process ended, by its exit code as :mod:`subprocess` has it."""
    if code >= 0:
        return f"ended with exit code {code}"
    known = {one.value: one.name for one in signal.Signals}  # the real-time ones lack names
    return f"was killed by {known.get(-code, f'signal {-code}')}"


def _answers(base: str, subject: Subject, parts: list[Facts], emit: Emitter) -> Iterator[Facts]:
    """Yield what the server says to a text, and to one item of each modality of the model."""
    name = _name(base + "/v1/models")
    emit(facts={"model": name}, doing="asking for a text")
    alone = _answer(base, name, [TEXT])
    yield {"label": "text", **alone}
    for entry in parts:
        if entry["modality"] not in subject.family.modalities or "prompt" not in alone:
            continue
        emit(doing=f"asking for {entry['modality']} {entry['label']}")
        answer = _answer(base, name, [entry["part"], TEXT])
        if "prompt" in answer:
            answer["added"] = answer["prompt"] - alone["prompt"]
        item = {"label": entry["label"], "modality": entry["modality"], **answer}
        yield {**item, "placeholders": _placeholders(subject, entry)}


def _name(url: str) -> str:
    """Return what the server calls its first model; raise Silent if ``url`` does not say it."""
    try:
        return str(_ask(url, None)["data"][0]["id"])
    except UNFIT as error:
        raise Silent(f"{url} names no model: {_complaint(error)}") from error


def _placeholders(subject: Subject, entry: Facts) -> int:
    """Return what the processor itself makes of the item."""
    sample = Sample(entry["modality"], "small", entry["shape"], entry["label"])
    inputs = subject.family.take(subject.processor, sample)
    return placeholders(subject, inputs)[entry["modality"]]


def _answer(base: str, model: str, content: list[Facts]) -> Facts:
    """Return the length of the prompt and the answer, or how the server declined."""
    started = time.monotonic()
    message = {"role": "user", "content": content}
    body = {"model": model, "messages": [message], "max_tokens": 2, "temperature": 0}
    try:
        answer = _ask(base + "/v1/chat/completions", body)
        found = {
            "prompt": int(answer["usage"]["prompt_tokens"]),
            "text": str(answer["choices"][0]["message"]["content"])[:200],
        }
    except UNFIT as error:
        found = {"error": _complaint(error)}
    return {**found, "seconds": round(time.monotonic() - started, 3)}


def _ask(url: str, body: Any) -> Any:
    data = None if body is None else json.dumps(body).encode()
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, kind)  # noqa: S310 - http, on loopback
    with _OPENER.open(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def _complaint(error: Exception) -> str:
    """Return what a server says with an error, or what went wrong instead of an answer."""
    if isinstance(error, urllib.error.HTTPError):
        said = error.read(TAIL).decode("utf-8", "replace")
        return f"{error.code}: {' '.join(said.split())}"[:500]
    return describe(error)
