"""A running server, over a loopback socket: one that counts rightly, and the ways to be wrong."""

import base64
import io
import json
import struct
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from envbuilder.cli.app import cli
from envbuilder.model.errors import EnvbuilderError, NetworkError, SmokeError, UsageError
from envbuilder.runtime import Completed
from envbuilder.smoke import CheckStatus, LocalPython, Report, SmokePlan
from envbuilder.smoke import ProbedModel as AnyModel
from envbuilder.smoke.media import ITEMS, Item
from envbuilder.smoke.server import Counted, Counts, Server, expectation, smoke_server
from tests.servers.scripted import Call, Scripted, Seen, scripted

pytestmark = pytest.mark.integration

KEY = "sk-not-to-be-seen"
MACHINE = {"python": "3.13.5", "machine": "x86_64", "libc": "glibc-2.41", "cores": 2}
TEXT, AROUND = 9, 3
"""Tokens of the text's prompt, and what the template puts around an item."""


def _pixels(data: bytes) -> int:
    """Return the pixels of a PNG, or of all frames of an AVI, by their headers."""
    if data.startswith(b"\x89PNG"):
        width, height = struct.unpack(">II", data[16:24])
        return int(width * height)
    frames, width, height = (struct.unpack("<I", data[at : at + 4])[0] for at in (48, 64, 68))
    return int(frames * width * height)


def tokens(part: Mapping[str, Any]) -> tuple[str, int]:
    """Count a part as this test's model does: one token per 28x28 px, or per 40 ms."""
    if part["type"] == "input_audio":
        sound = io.BytesIO(base64.b64decode(part["input_audio"]["data"]))
        with wave.open(sound) as file:
            return "audio", file.getnframes() // 640
    kind = part["type"].removesuffix("_url")
    url = part[part["type"]]["url"]
    return kind, _pixels(base64.b64decode(url.partition(",")[2])) // 784


BESIDE = 2
"""What the processor's own prompt puts around an item."""


def _counted(item: Item, *, beside: int | None = BESIDE) -> Counted:
    number = tokens(item.part())[1]
    added = None if beside is None else number + beside
    return Counted(placeholders=number, added=added)


EXPECTED = {(item.modality, item.label): _counted(item) for item in ITEMS}


@dataclass
class Model:
    """A server's behaviour; a test overrides what shall be wrong."""

    count: Callable[[str, int], int] = lambda _, number: number + AROUND
    refuse: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    together: int = 0

    def answer(self, body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        parts = body["messages"][0]["content"]
        found = [tokens(part) for part in parts if part["type"] != "text"]
        for kind, _ in found:
            if kind in self.refuse:
                status, message = self.refuse[kind]
                return status, {"error": {"message": message, "type": "BadRequestError"}}
        prompt = TEXT + sum(self.count(kind, number) for kind, number in found)
        prompt += self.together if len(found) > 1 else 0
        return 200, {"choices": [{}], "usage": {"prompt_tokens": prompt}}


@contextmanager
def served(model: Model) -> Iterator[Scripted]:
    """Serve ``model`` as OpenAI's API is, for whoever has the key."""

    def handle(call: Call, seen: Seen) -> None:
        if call.headers["Authorization"] != f"Bearer {KEY}":
            status, answer = 401, {"error": {"message": f"not {call.headers['Authorization']}"}}
        elif call.path == "/v1/models":
            status, answer = 200, {"object": "list", "data": [{"id": "tiny", "object": "model"}]}
        else:
            status, answer = model.answer(json.loads(seen.body))
        call.answer(status, json.dumps(answer).encode(), Content_Type="application/json")

    with scripted(handle) as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def smoked(model: Model, known: Counts | None = EXPECTED) -> Report:
    with served(model) as server:
        return smoke_server(Server(f"http://{server.host}"), known)


def states(report: Report) -> dict[str, CheckStatus]:
    return {check.name: check.status for check in report.checks}


def why(report: Report, name: str) -> str:
    check = next(check for check in report.checks if check.name == name)
    return " ".join([check.explanation, *check.details.get("findings", ())])


def test_a_server_that_counts_as_the_processor_does_is_green() -> None:
    report = smoked(Model())
    assert report.verdict is CheckStatus.PASS, report.summary
    assert set(states(report)) == {
        "server.audio", "server.image", "server.video", "server.together",
    }  # fmt: skip
    assert all(row.agree and row.engine == row.placeholders for row in report.tokens)
    assert len(report.tokens) == len(ITEMS)
    assert "+1 of its chat template" in why(report, "server.image")


def _frames(item: Item) -> int:
    return item.shape[0] if item.modality == "video" else 0


def test_text_beside_each_frame_is_compared_by_the_models_own_tokenizer() -> None:
    """Qwen3-VL writes a time stamp, InternVL a number: no two lengths have the same."""
    videos = {item.label: item for item in ITEMS if item.modality == "video"}
    stamped = {tokens(item.part())[1]: 6 * _frames(item) for item in videos.values()}

    def count(kind: str, number: int) -> int:
        return number + AROUND + (stamped[number] if kind == "video" else 0)

    known = EXPECTED | {
        ("video", label): _counted(item, beside=BESIDE + 6 * _frames(item))
        for label, item in videos.items()
    }
    tiny = EXPECTED | {
        ("video", label): _counted(item, beside=None) for label, item in videos.items()
    }
    assert smoked(Model(count=count)).verdict is CheckStatus.FAIL
    exact = smoked(Model(count=count), known)
    assert exact.verdict is CheckStatus.PASS
    assert all(row.agree and row.engine == row.placeholders for row in exact.tokens)
    report = smoked(Model(count=count), tiny)
    assert report.verdict is CheckStatus.UNPROVEN  # a name was given to compare with
    assert states(report)["server.video"] is CheckStatus.UNPROVEN
    assert "only the model's own tokenizer tells" in why(report, "server.video")
    assert all(row.agree for row in report.tokens)


@pytest.mark.parametrize(("real", "added"), [(True, [13, 26, 39]), (False, [None] * 3)])
def test_a_tiny_models_text_beside_frames_is_not_expected(
    real: bool, added: list[int | None]
) -> None:
    videos = [item.label for item in ITEMS if item.modality == "video"]
    items = [
        {"modality": "video", "label": label, "placeholders": 10 * at, "added": 13 * at}
        for at, label in enumerate(videos, start=1)
    ]
    items += [
        {"modality": "image", "label": item.label, "placeholders": 100, "added": 102}
        for item in ITEMS
        if item.modality == "image"
    ]
    job = {"name": "sent", "outcome": "done", "seconds": 1, "items": items, "facts": {"real": real}}
    found = expectation(lambda _: _completed(job), SmokePlan(models=(AnyModel(family="internvl"),)))
    assert [found["video", label].added for label in videos] == added
    assert found["image", "280x280"] == Counted(placeholders=100, added=102)
    del items[0]
    with pytest.raises(SmokeError, match=f"{videos[0]} was not counted"):
        expectation(lambda _: _completed(job), SmokePlan(models=(AnyModel(family="internvl"),)))


def test_a_model_of_text_alone_is_nothing_to_compare_with() -> None:
    why = {"kind": "inapplicable", "message": "the model takes text alone: nothing to compare"}
    job = {"name": "sent", "outcome": "inapplicable", "seconds": 1, "items": [], "failure": why}
    plan = SmokePlan(models=(AnyModel(family="internvl"),))
    with pytest.raises(SmokeError) as caught:
        expectation(lambda _: _completed({**job, "facts": {"real": True}}), plan)
    assert caught.value.message == why["message"]
    assert "compared with itself" in caught.value.hint


def test_a_spec_without_a_model_cannot_say_what_is_right() -> None:
    with pytest.raises(SmokeError, match="is not known: no model"):
        expectation(LocalPython(python=sys.executable).run, SmokePlan(timeout=60))


def _completed(job: Mapping[str, Any]) -> Completed:
    said = {**MACHINE, "version": 1, "jobs": [job], "seconds": 1, "peak_memory": 1}
    stdout = json.dumps(said).encode()
    return Completed(exit_code=0, stdout=stdout, stderr=b"", seconds=0.0, peak_memory=None)


def test_without_an_expectation_green_says_that_it_shows_little() -> None:
    report = smoked(Model(), None)
    assert report.verdict is CheckStatus.PASS
    assert report.summary.startswith("agrees with itself (4 checks), compared with nothing")
    assert "that they are right is not shown" in why(report, "server.audio")


def _late_audio(kind: str, number: int) -> int:
    """Forget one token exactly where the classic off-by-one does."""
    edge = EXPECTED["audio", "2.74 s"].placeholders
    return number + AROUND - (kind == "audio" and number == edge)


@pytest.mark.parametrize(
    ("model", "name", "words"),
    [
        pytest.param(
            Model(count=_late_audio), "server.audio",
            "audio 2.74 s: the server adds 70 tokens to the prompt, the processor makes 68",
            id="one token too few for one item",
        ),
        pytest.param(
            Model(count=lambda kind, number: AROUND + min(number, 100 if kind == "video" else 999)),
            "server.video", "video 8 frames 320x240: the server adds 103 tokens",
            id="a cap that the processor does not know",
        ),
        pytest.param(
            Model(count=lambda kind, number: 0 if kind == "image" else number + AROUND),
            "server.image", "the server drops it", id="an item that is dropped",
        ),
        pytest.param(
            Model(refuse={"audio": (400, "At most 0 audio(s) may be provided")}),
            "server.audio", "(400): At most 0 audio(s)", id="a modality that it should take",
        ),
        pytest.param(Model(together=5), "server.together", "one by one", id="all together"),
        pytest.param(
            Model(refuse={"video": (200, "not in the shape of an error")}),
            "server.video", "no usage.prompt_tokens", id="no usage",
        ),
    ],
)  # fmt: skip
def test_a_wrong_count_is_red(model: Model, name: str, words: str) -> None:
    report = smoked(model)
    assert report.verdict is CheckStatus.FAIL
    assert states(report)[name] is CheckStatus.FAIL
    assert words in why(report, name)


def test_an_answer_that_changes_is_red() -> None:
    """A cache that answers wrongly is what the second asking is for."""
    asked: list[int] = []

    def count(_: str, number: int) -> int:
        asked.append(number)
        return number + AROUND + (len(asked) > len(ITEMS))

    assert "then" in why(smoked(Model(count=count), None), "server.image")


def test_a_modality_that_nobody_expected_is_skipped_with_the_servers_reason() -> None:
    refuse = {"audio": (400, "Unknown part type: input_audio")}
    report = smoked(Model(refuse=refuse), None)
    assert states(report)["server.audio"] is CheckStatus.SKIP
    assert "takes no audio (400): Unknown part type" in why(report, "server.audio")
    assert report.verdict is CheckStatus.PASS


def test_a_server_that_takes_nothing_but_text_is_red() -> None:
    refuse = dict.fromkeys(("audio", "image", "video"), (400, "not a multimodal model"))
    assert smoked(Model(refuse=refuse), None).verdict is CheckStatus.FAIL


def test_a_server_that_breaks_is_no_verdict() -> None:
    report = smoked(Model(refuse={"video": (500, "EngineCore encountered an issue")}))
    assert states(report)["server.video"] is CheckStatus.ERROR
    assert "(500): EngineCore" in why(report, "server.video")


def _failure(url: str, *, timeout: float = 5) -> EnvbuilderError:
    with pytest.raises(EnvbuilderError) as caught:
        smoke_server(Server(url, timeout=timeout), None)
    assert KEY not in caught.value.message + caught.value.hint
    return caught.value


def test_a_refused_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Model()) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
        refused = _failure(f"http://{server.host}/v1/")
        monkeypatch.delenv("OPENAI_API_KEY")
        missing = _failure(f"http://{server.host}")
    assert isinstance(refused, NetworkError)
    assert "the key in $OPENAI_API_KEY: it was refused" in refused.message
    assert "sk-another" not in refused.message
    assert "there is no key in $OPENAI_API_KEY" in missing.message


def test_a_key_that_only_the_chat_wants_is_asked_for() -> None:
    def handle(call: Call, _: Any) -> None:
        listed = call.command == "GET"
        call.answer(200 if listed else 401, b'{"data": [{"id": "tiny"}]}' if listed else b"")

    with scripted(handle) as server:
        assert "wants a key (401)" in _failure(f"http://{server.host}").message


def test_a_key_that_cannot_be_one_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one\r\nX-Two: 2")
    with pytest.raises(UsageError) as caught:
        Server("http://127.0.0.1:1")
    assert "sk-one" not in caught.value.message


def test_an_answer_that_breaks_off_is_no_verdict() -> None:
    def handle(call: Call, _: Any) -> None:
        call.raw(b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf")

    with scripted(handle) as server:
        assert "cannot be asked" in _failure(f"http://{server.host}").message


def test_a_key_that_the_server_repeats_is_struck_out() -> None:
    report = smoked(Model(refuse={"image": (400, f"strange request of {KEY}")}))
    assert "strange request of ***" in why(report, "server.image")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"<html>not here</html>", "answered 404: <html>not here</html>"),
        (200, b"<html>welcome</html>", "no OpenAI-compatible server"),
        (200, b'{"data": []}', "names no model"),
        (200, b"[1]", "names no model"),
        (200, b"[" * 200_000, "by its answer: it is nested too deeply"),
        (400, b"[" * 200_000, "answered 400: [[["),
        (302, b"", "answered 302"),
    ],
)
def test_what_is_no_such_server_is_named(status: int, body: bytes, words: str) -> None:
    def handle(call: Call, _: Any) -> None:
        call.answer(status, body, Location="http://127.0.0.1:1/v1/models")

    with scripted(handle) as server:
        failure = _failure(f"http://{server.host}")
    assert isinstance(failure, NetworkError)
    assert words in failure.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 200_000, "no OpenAI-compatible server"),
        (b'{"usage": {"prompt_tokens": 1' + b"0" * 400 + b"}}", "a number of 401 digits"),
        (b'{"usage": {"prompt_tokens": -1}}', "no prompt is that long"),
        (b'{"usage": {"prompt_tokens": 99999999999999999}}', "no prompt is that long"),
    ],
)
def test_a_count_that_is_none_is_named(body: bytes, words: str) -> None:
    def handle(call: Call, _: Any) -> None:
        models = b'{"data": [{"id": "a\\ud800"}]}'
        call.answer(200, models if call.path == "/v1/models" else body)

    with scripted(handle) as server:
        failure = _failure(f"http://{server.host}")
    assert words in failure.message


def test_a_server_that_hangs_or_is_not_there_is_named() -> None:
    seen = threading.Event()
    with scripted(lambda *_: seen.wait(60)) as server:
        failure = _failure(f"http://{server.host}", timeout=0.2)
        seen.set()
    assert "gave no answer within 0.2 s" in failure.message
    assert "cannot be asked" in _failure(f"http://{server.host}").message


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" ", id="a body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", b"x", id="a header"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="interim answers"),
    ],
)
def test_an_answer_in_drops_ends_with_the_time_limit(head: bytes, drop: bytes) -> None:
    ended = threading.Event()

    def handle(call: Call, _: Seen) -> None:
        call.raw(head)
        try:
            for _ in range(3000):  # or until the client hangs up
                call.raw(drop)
                time.sleep(0.01)
        except OSError:
            ended.set()

    with scripted(handle) as server:
        assert "within 0.2 s" in _failure(f"http://{server.host}", timeout=0.2).message
        assert ended.wait(60)  # and so does the connection


def test_after_a_silence_nothing_more_is_sent() -> None:
    seen = threading.Event()

    def handle(call: Call, asked: Seen) -> None:
        if b"image_url" in asked.body:
            seen.wait(60)
        answer = {"data": [{"id": "tiny"}], "usage": {"prompt_tokens": 9 + len(asked.body) // 640}}
        call.answer(200, json.dumps(answer).encode())

    with scripted(handle) as server:
        report = smoke_server(Server(f"http://{server.host}", timeout=2), None)
        seen.set()
        sent = len(server.paths("POST"))
    assert report.verdict is CheckStatus.ERROR
    assert "image 280x280: " in why(report, "server.image")
    assert sent == 1 + 3 + 1  # the text, the sounds, one picture


def test_the_key_goes_to_the_server_and_to_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Model()) as server, served(Model()) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        monkeypatch.delenv("no_proxy", raising=False)
        smoke_server(Server(f"http://{server.host}"), EXPECTED)
    assert server.seen
    assert not proxy.seen


def test_a_server_that_cannot_answer_a_text_is_named() -> None:
    def handle(call: Call, _: Any) -> None:
        if call.command == "GET":
            call.answer(200, b'{"data": [{"id": "tiny"}]}')
        else:
            call.answer(400, b'{"error": {"message": "default chat template is not allowed"}}')

    with scripted(handle) as server:
        failure = _failure(f"http://{server.host}")
    assert isinstance(failure, SmokeError)
    assert "does not answer even a text (400): default chat template" in failure.message


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000", "ftp://x", "http://", "http://[::1", "http://host:http",
        "http://127.0.0.1:1/ü", "http://me:pw@host", "http://:pw@host", "http://me:pw@[::1",
    ],
)  # fmt: skip
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Server(url)
    assert "pw" not in caught.value.message


def test_the_command_line_writes_every_report(tmp_path: Path) -> None:
    reports = [tmp_path / f"report.{kind}" for kind in ("html", "json", "xml")]
    asked = [part for path in reports for part in ("--report", str(path))]
    with served(Model(refuse={"audio": (400, "no sound here")})) as server:
        done = CliRunner().invoke(cli, ["smoke", "--server", f"http://{server.host}", *asked])
    assert done.exit_code == 0, done.output
    assert "agrees with itself" in done.output
    for path in reports:
        text = path.read_text()
        assert "no sound here" in text
        assert KEY not in text


def test_the_command_line_exits_with_8_where_a_count_is_wrong() -> None:
    with served(Model(together=1)) as server:
        done = CliRunner().invoke(cli, ["smoke", "--server", f"http://{server.host}"])
    assert done.exit_code == 8
    assert KEY not in done.output


@pytest.mark.parametrize(
    "args", [["--local", "python3"], ["--family", "llava"], ["omni-gpu", "--local", "python3"]]
)
def test_options_that_do_not_go_together_are_refused(args: list[str]) -> None:
    done = CliRunner().invoke(cli, ["smoke", "--server", "http://127.0.0.1:1", *args])
    assert isinstance(done.exception, UsageError)
