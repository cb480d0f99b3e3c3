"""A package index on loopback, answering as a :func:`~tests.servers.scripted.scripted` server."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

from .scripted import Call, Seen


@dataclass(kw_only=True)
class Packages:
    """``wheels``, and sdists, by file name; ``uploaded`` tells when (PEP 700), where anything does.

    Without moments its pages are HTML (PEP 503), which tells no sizes either. ``login`` is
    USER:PASSWORD; ``pythons`` says for which Pythons a file is; ``send`` may send a file in its
    own way.
    """

    wheels: dict[str, bytes]
    uploaded: dict[str, str] = field(default_factory=dict)
    login: str = ""
    pythons: dict[str, str] = field(default_factory=dict)
    send: Callable[[Call, Seen, bytes], None] = lambda call, _, data: call.answer(200, data)

    def respond(self, call: Call, request: Seen) -> None:
        """Answer ``/simple/NAME/`` and ``/files/FILE``."""
        wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        path = urlsplit(request.path).path
        if self.login and request.headers.get("Authorization") != wanted:
            call.answer(401, WWW_Authenticate='Basic realm="packages"')
        elif path.startswith("/simple/"):
            self._page(call, path.split("/")[2])
        elif (name := path.removeprefix("/files/")) in self.wheels:
            self.send(call, request, self.wheels[name])
        else:
            call.answer(404)

    def _page(self, call: Call, project: str) -> None:
        names = [name for name in self.wheels if _project(name) == project]
        hashes = {name: hashlib.sha256(self.wheels[name]).hexdigest() for name in names}
        if not names:
            call.answer(404)
        elif self.uploaded:
            files = [
                {"filename": name, "url": f"/files/{name}", "hashes": {"sha256": hashes[name]},
                 "size": len(self.wheels[name]), "upload-time": self.uploaded[name],
                 "requires-python": self.pythons.get(name)}
                for name in names
            ]  # fmt: skip
            page = {"meta": {"api-version": "1.1"}, "name": project, "files": files}
            kind = "application/vnd.pypi.simple.v1+json"
            call.answer(200, json.dumps(page).encode(), Content_Type=kind)
        else:
            lines = [
                f'<a href="/files/{name}#sha256={hashes[name]}"'
                f' data-requires-python="{escape(self.pythons.get(name, ""))}">{name}</a>\n'
                for name in names
            ]
            call.answer(200, "".join(lines).encode(), Content_Type="text/html")


def _project(filename: str) -> str:
    parse = parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename
    return canonicalize_name(parse(filename)[0])
