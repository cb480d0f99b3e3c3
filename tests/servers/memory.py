"""A small registry in memory that resumes uploads as the specification says, and breaks on order.

docker-registry forgets an upload whose PATCH broke in the middle; this one remembers.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from .scripted import Call, Seen

Fault = Callable[["Memory", Call, Seen], bool]


@dataclass(kw_only=True)
class Memory:
    """What one repository ``/v2/app/`` holds; ``fault`` may answer in its place and say so."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    fault: Fault = lambda *_: False
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def respond(self, call: Call, request: Seen) -> None:
        """Answer one request."""
        if self.fault(self, call, request):
            return
        parts = urlsplit(request.path)
        what = parts.path.removeprefix("/v2/app/")
        if what == "blobs/uploads/":
            call.answer(202, Location=self.open_upload())
        elif what.startswith("blobs/uploads/"):
            name = what.rpartition("/")[2]
            self._upload(call, request, name, parse_qs(parts.query))
        else:
            self._document(call, request, what)

    def open_upload(self) -> str:
        """Begin an upload; give its address."""
        name = f"upload-{next(self._numbers)}"
        self.uploads[name] = bytearray()
        return f"/v2/app/blobs/uploads/{name}"

    def _upload(self, call: Call, request: Seen, name: str, query: dict[str, list[str]]) -> None:
        if name not in self.uploads:
            call.answer(404)
            return
        data = self.uploads[name]
        place = f"/v2/app/blobs/uploads/{name}"
        if request.method in {"PATCH", "PUT"}:
            first = re.match("([0-9]+)-", request.headers.get("Content-Range", "0-"))
            if request.body and int(first[1]) != len(data):
                call.answer(416, Location=place, Range=f"0-{len(data) - 1}")
                return
            data += request.body
        if request.method == "PUT":
            self._finish(call, name, query["digest"][0])
        else:
            status = 204 if request.method == "GET" else 202
            call.answer(status, Location=place, Range=f"0-{max(0, len(data) - 1)}")

    def _finish(self, call: Call, name: str, digest: str) -> None:
        data = bytes(self.uploads.pop(name))
        if digest != digest_of(data):
            call.answer(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}')
            return
        self.blobs[digest] = data
        call.answer(201)

    def _document(self, call: Call, request: Seen, what: str) -> None:
        kind, _, name = what.partition("/")
        held = self.blobs if kind == "blobs" else self.manifests
        if request.method == "PUT":
            held[name] = held[digest_of(request.body)] = request.body
            call.answer(201)
        elif name in held:
            call.answer(200, held[name], Docker_Content_Digest=digest_of(held[name]))
        else:
            call.answer(404)


def digest_of(body: bytes) -> str:
    """Name a document by its content: a tag only points there."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
