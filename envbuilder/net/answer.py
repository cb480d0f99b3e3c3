"""Answers: a head that has come, and a body that is read as far as is wanted, and no slower."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Self

import requests
import urllib3

from envbuilder.model.errors import NetworkError

from .config import Settings
from .connection import BLOCK, reason, root
from .messages import BrokenConnectionError, place

SPELL = 10.0
"""For how many seconds at a time a body's speed is taken."""
_LITTLE = re.compile(r"[0-9]{1,5}")  # a Content-Length whose bytes are sooner read than dropped
_DRAIN = 99_999


class Answer:
    """A response whose body has not been read; close it, or use it in ``with``."""

    def __init__(self, response: requests.Response, settings: Settings) -> None:
        self._response = response
        self._settings = settings
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.place = place(response.url)
        self._kept: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address that answered, query included: never show it."""
        return self._response.url

    def chunks(self) -> Iterator[bytes]:
        """Return the body as it comes, undecoded; raise NetworkError when it stalls or breaks."""
        start, received = time.monotonic(), 0
        while True:
            try:
                chunk = self._response.raw.read1(BLOCK, decode_content=False)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise BrokenConnectionError(
                    f"the answer of {self.place} broke off: {reason(error)}"
                ) from root(error)
            if not chunk:
                return
            received += len(chunk)
            seconds = time.monotonic() - start
            if seconds > SPELL:
                if received < self._settings.slowest * seconds:
                    self._response.close()
                    speed = f"{received} bytes in {seconds:.0f} seconds"
                    raise NetworkError(f"{self.place} is too slow: {speed}")
                start, received = time.monotonic(), 0
            yield chunk

    def read(self, limit: int) -> bytes:
        """Read the whole body, at most ``limit`` bytes; raise NetworkError when it is longer."""
        if self._kept is not None:
            return self._kept
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                self._response.close()
                raise NetworkError(f"{self.place} sent more than the {limit} bytes allowed here")
        return bytes(body)

    def keep(self, limit: int) -> None:
        """Read the whole body now, so that it can be read again; raises as :meth:`read`."""
        self._kept = self.read(limit)

    def close(self) -> None:
        """Return the connection back, where little is left to read, or else drop it."""
        if _LITTLE.fullmatch(self.headers.get("Content-Length", "")):
            # A connection that breaks now is one that we no longer need.
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                self._response.raw.read(_DRAIN, decode_content=False)
        self._response.close()
