"""A real browser for tests: headless Chromium, spoken to over a pipe (DevTools protocol).

No driver, no socket: ``--remote-debugging-pipe`` takes JSON messages on descriptor 3 and answers on
4, each ended by a zero byte. Source: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import fcntl
import json
import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 60
"""Seconds after which a silent browser has hung up."""
FLAGS = (
    "--headless",
    "--no-sandbox",  # CI runs as root; the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)


@contextmanager
def open_browser(profile: Path) -> Iterator["Browser"]:
    """Start Chromium with its state in ``profile``; it ends with the block."""
    to_read, ours_out = os.pipe()
    ours_in, to_write = os.pipe()

    def place() -> None:
        """Put the pipes where Chromium expects them, neither on top of the other."""
        pair = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]
        for end, wanted in zip(pair, (3, 4), strict=True):
            os.dup2(end, wanted)

    process = subprocess.Popen(
        ["chromium", *FLAGS, f"--user-data-dir={profile}"],
        env={**os.environ, "TMPDIR": str(profile)},  # it leaves folders there
        pass_fds=[3, 4],
        preexec_fn=place,  # noqa: PLW1509 - makes two system calls, takes no lock
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    with os.fdopen(ours_out, "wb") as out, os.fdopen(ours_in, "rb", buffering=0) as answers:
        try:
            yield Browser(out, answers)
        finally:
            process.terminate()
            process.wait(timeout=20)


class Browser:
    """One page, at any width; ``seen`` are the events that it caused, as (method, parameters)."""

    def __init__(self, out: Any, answers: Any) -> None:
        self._out = out
        self._answers = answers
        self._read = b""
        self._number = 0
        self._session: str | None = None
        self.seen: list[tuple[str, dict[str, Any]]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; events on the way are kept in ``seen``."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._receive()).get("id") != self._number:
            self.seen.append((answer["method"], answer["params"]))
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path, *, width: int, height: int = 800) -> None:
        """Load the file ``page`` in a window of ``width`` by ``height`` CSS px and wait for it."""
        phone = {"mobile": width < 600, "deviceScaleFactor": 2 if width < 600 else 1}
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, **phone)
        self.seen.clear()
        self.send("Page.navigate", url=page.absolute().as_uri())
        while not any(method == "Page.loadEventFired" for method, _ in self.seen):
            event = self._receive()
            self.seen.append((event["method"], event["params"]))

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript ``expression`` in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"]["value"]

    def screenshot(self, target: Path) -> None:
        """Write a picture (PNG) of the whole page."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        target.write_bytes(base64.b64decode(shot["data"]))

    def print(self, target: Path) -> None:
        """Write the page as it comes out of a printer (PDF, A4)."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False}
        target.write_bytes(base64.b64decode(self.send("Page.printToPDF", **paper)["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert ready, f"the browser said nothing for {PATIENCE} s"
            part = self._answers.read(1 << 16)
            assert part, "the browser ended"
            self._read += part
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message
