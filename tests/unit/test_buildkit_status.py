"""BuildKit's stream becomes steps and errors, however buildx breaks its lines."""

import base64
import json
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.engines.buildkit.status import Watch, step_title
from envbuilder.model.errors import BuildError, NetworkError, ResolutionError

STARTED = {"digest": "sha256:a", "name": "[system 1/2] RUN --mount=type=bind,source=x  ls /y"}
NOW = "2026-01-01T00:00:00Z"


class Recording:
    def __init__(self):
        self.events = []

    @contextmanager
    def step(self, phase, title, **_):
        self.events.append(("open", phase, title))
        yield self
        self.events.append(("close", title))

    def advance(self, amount):
        self.events.append(("advance", amount))

    def note(self, text):
        self.events.append(("note", text))


def stream(*statuses, indent=None):
    return [
        f"{line}\n" for each in statuses for line in json.dumps(each, indent=indent).split("\n")
    ]


def follow(lines, blot=lambda text: text):
    progress = Recording()
    watch = Watch(progress, blot)
    watch.follow(lines)
    return watch, progress.events


@pytest.mark.parametrize("indent", [None, 2])
def test_steps_open_advance_and_close(indent):
    lines = stream(
        {"vertexes": [STARTED]},
        {"vertexes": [STARTED | {"started": NOW}]},
        {"statuses": [{"vertex": "sha256:a", "id": "blob", "current": 5, "timestamp": NOW}]},
        {"statuses": [{"vertex": "sha256:a", "id": "blob", "current": 12, "timestamp": NOW}]},
        {"vertexes": [STARTED | {"started": NOW, "completed": NOW}]},
        indent=indent,
    )
    _, events = follow(lines)
    title = "[system 1/2] RUN ls /y"
    assert events == [
        ("open", "docker", title),
        ("advance", 5),
        ("advance", 7),
        ("close", title),
    ]


def test_open_steps_close_when_the_stream_ends():
    _, events = follow(stream({"vertexes": [STARTED | {"started": NOW}]}))
    assert [event[0] for event in events] == ["open", "close"]


def test_a_failure_names_step_place_and_last_lines():
    text = "".join(f"line {n}\n" for n in range(50)).encode()
    pieces = [base64.b64encode(piece).decode() for piece in (text[:33], text[33:-1], text[-1:])]
    lines = [
        "WARNING: no output specified\n",
        *stream(
            {"vertexes": [STARTED | {"started": NOW}]},
            *({"logs": [{"vertex": "sha256:a", "stream": 1, "data": piece, "timestamp": NOW}]}
              for piece in pieces),
            {"vertexes": [STARTED | {"error": 'process "/bin/sh -c x" did not complete '
             "successfully: exit code: 3", "completed": NOW}]},
            indent=1,
        ),
        "Dockerfile:12\n",
        "ERROR: failed to solve: process x\n",
    ]  # fmt: skip
    watch, _ = follow(lines)
    error = watch.failure()
    assert isinstance(error, BuildError)
    head, *rest = error.message.splitlines()
    assert head == "the step [system 1/2] RUN ls /y (Dockerfile line 12) failed: exit code: 3"
    assert rest == [f"  line {n}" for n in range(10, 50)]


def test_steps_that_were_stopped_do_not_take_the_blame():
    other = {"digest": "sha256:b", "name": "[other] RUN sleep"}
    watch, _ = follow(
        stream(
            {"vertexes": [STARTED | {"error": "exit code: 1"}]},
            {"vertexes": [other | {"error": "Canceled: context canceled"}]},
        )
    )
    assert "[system 1/2]" in watch.failure().message


@pytest.mark.parametrize(
    ("line", "kind", "word"),
    [
        (
            "failed to solve: r.example/b@sha256:00: failed to resolve source metadata for "
            "r.example/b@sha256:00: r.example/b@sha256:00: not found",
            ResolutionError,
            "gone",
        ),
        (
            "failed to receive status: rpc error: code = Unavailable desc = error reading from "
            "server: EOF",
            BuildError,
            "the builder was lost while it built",
        ),
        (
            "failed to solve: Unavailable: error reading from server: EOF",
            BuildError,
            "the builder was lost while it built",
        ),
        (
            'failed to do request: Head "https://r.example": dial tcp: refused',
            NetworkError,
            "reach",
        ),
        ("write /x: no space left on device", BuildError, "no space"),
    ],
)
def test_what_is_no_steps_fault(line, kind, word):
    watch, _ = follow([f"ERROR: {line}\n"])
    error = watch.failure()
    assert isinstance(error, kind)
    assert word in error.message
    assert error.hint


def test_secrets_are_blotted_out_everywhere():
    secret = base64.b64encode(b"password is hunter2\n").decode()
    named = STARTED | {"name": "[a] RUN echo hunter2", "started": NOW}
    lines = stream(
        {"vertexes": [named]},
        {"logs": [{"vertex": "sha256:a", "stream": 1, "data": secret, "timestamp": NOW}]},
        {"vertexes": [named | {"error": "hunter2 is wrong"}]},
    )
    watch, events = follow(lines, lambda text: text.replace("hunter2", "***"))
    assert "hunter2" not in str(events) + watch.failure().message
    assert "***" in watch.failure().message


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("plain", ["{x", "{", "{}}", "}", "{1}\n{\n  2"])
def test_what_only_looks_like_the_stream_is_plain(plain, indent):
    status = stream({"vertexes": [STARTED | {"started": NOW}]}, indent=indent)
    before, after = [f"{line}\n" for line in plain.split("\n")], ["ERROR: it broke\n"]
    watch, events = follow([*before, *status, *after])
    assert [event[0] for event in events] == ["open", "close"]
    watch, events = follow([*status, *after, *before])
    assert [event[0] for event in events] == ["open", "close"]
    assert "it broke" in watch.failure().message


@pytest.mark.parametrize("line", ['{"vertexes": ' + "[" * 100_000, "{" + "1" * 5000])
def test_a_line_that_merely_begins_like_an_object(line):
    watch, events = follow([f"{line}\n"])
    assert not [each for each in events if each[0] == "open"]
    assert watch.failure().message


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("[a 1/2] RUN --mount=type=x,y  --network=none ls /x", "[a 1/2] RUN ls /x"),
        ("[a 1/2] RUN rsync --link-dest=a --from=c", "[a 1/2] RUN rsync --link-dest=a --from=c"),
        ("[runtime 3/4] COPY --link --from=b /x /y", "[runtime 3/4] COPY /x /y"),
    ],
)
def test_titles_lose_the_flags_of_docker_and_no_others(name, title):
    assert step_title(name) == title


@given(st.text())
def test_titles_are_one_short_line(name):
    title = step_title(name)
    assert len(title) <= 90
    assert "\n" not in title
