"""An OpenAI-compatible server, as far as counting needs it: its models, and a prompt's length."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from urllib.parse import urlsplit

from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.smoke.document import UnfitError, read_json

from .exchange import exchange

MOST = 1 << 40
"""Tokens of a prompt; more is no number of tokens."""
SHOWN = 300
"""Characters of a server's complaint that are worth showing."""


class RefusedError(Exception):
    """The server answered with an error; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """The server at ``url`` (with or without ``/v1``); the key is the value of ``key_variable``.

    ``timeout`` is in seconds, for each request as a whole. The key is never part of a message:
    where a server repeats it, it is struck out.
    """

    def __init__(
        self, url: str, *, key_variable: str = "OPENAI_API_KEY", timeout: float = 120
    ) -> None:
        if not _is_address(url):
            raise UsageError(
                f"{re.sub('//.*@', '//', url)!r} is not the http address of a server",
                hint=f"--server http://HOST:PORT; a key goes into ${key_variable}",
            )
        base = url.rstrip("/")
        self.base = base if base.endswith("/v1") else f"{base}/v1"
        self.key_variable = key_variable
        self._key = os.environ.get(key_variable, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise UsageError(f"${key_variable} holds what no key can: control or other characters")
        self._timeout = timeout

    def model(self) -> str:
        """Return the name of the first model that the server lists.

        Raises NetworkError if it cannot be reached, wants another key, or speaks otherwise.
        """
        try:
            answer = self._send("/models", None)
        except RefusedError as error:
            raise self.unfit(error) from error
        models = answer.get("data") if isinstance(answer, dict) else None
        listed = models if isinstance(models, list) else []
        names = [one.get("id") for one in listed if isinstance(one, dict)]
        if not names or not isinstance(names[0], str):
            raise NetworkError(
                f"{self.base}/models names no model: it is no OpenAI-compatible server",
                hint="--server takes the address under which /v1/models answers",
            )
        return names[0]

    def prompt_tokens(self, model: str, parts: Sequence[Mapping[str, object]]) -> int:
        """Return ``usage.prompt_tokens`` of a chat with one message of ``parts``.

        Raises RefusedError if the server declines, or leaves the number out; NetworkError if
        no answer came.
        """
        answer = self._send(
            "/chat/completions",
            {
                "model": model,
                "messages": [{"role": "user", "content": list(parts)}],
                "max_tokens": 1,
                "temperature": 0,
            },
        )
        usage = answer.get("usage") if isinstance(answer, dict) else None
        number = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if not isinstance(number, int) or isinstance(number, bool):
            raise RefusedError(200, "the answer has no usage.prompt_tokens")
        if not 0 <= number <= MOST:
            raise RefusedError(200, f"its usage.prompt_tokens is {number}: no prompt is that long")
        return number

    def _send(self, path: str, body: object) -> object:
        headers = {"Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        sent = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            sent = json.dumps(body).encode()
        try:
            status, read = exchange(self.base + path, headers, sent, timeout=self._timeout)
        except (HTTPException, OSError) as error:
            raise self._unreachable(error) from error
        if status != 200:
            raise RefusedError(status, self._complaint(read))
        try:
            parsed: object = read_json(read)
        except UnfitError as error:
            raise NetworkError(
                f"{self.base}{path} is no OpenAI-compatible server, by its answer: {error}",
                hint="--server takes the address under which /v1/models answers",
            ) from error
        return parsed

    def unfit(self, error: RefusedError) -> NetworkError:
        """Say why a server that answers ``error`` cannot be asked at all."""
        if error.status in {401, 403}:
            state = "the key in" if self._key else "no key in"
            return NetworkError(
                f"{self.base} wants a key ({error.status}), and there is {state} "
                f"${self.key_variable}{': it was refused' if self._key else ''}",
                hint=f"{self.key_variable}=… envbuilder smoke --server URL, or --key-variable NAME",
            )
        return NetworkError(
            f"{self.base} answered {error.status}: {error}",
            hint="--server takes the address under which /v1/models answers",
        )

    def _unreachable(self, error: Exception) -> NetworkError:
        if isinstance(error, TimeoutError):
            return NetworkError(
                f"{self.base} gave no answer within {self._timeout:g} s",
                hint="see the server's log; --server-timeout SECONDS waits longer",
            )
        return NetworkError(f"{self.base} cannot be asked: {error}", hint="is it running?")

    def _complaint(self, body: bytes) -> str:
        """Return the message of an error's body, on one line, the key struck out."""
        text = body.decode("utf-8", "replace")
        try:
            told = read_json(body)
            inner = told.get("error", told)
            text = str(inner.get("message", inner) if isinstance(inner, dict) else inner)
        except (UnfitError, AttributeError):
            pass  # not JSON, or not an object: shown as it came
        line = " ".join(text.split())
        return (line.replace(self._key, "***") if self._key else line)[:SHOWN]


def _is_address(url: str) -> bool:
    """Return whether ``url`` is a server's: of http, in ASCII, without a user or a password."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        return False
    return bool(known) and url.isascii() and "@" not in parts.netloc
