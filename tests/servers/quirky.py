"""The registry in memory with a switch for each oddity that real registries have.

Each switch is a fault of :class:`Memory`: it answers in its place where the oddity shows.
"""

import json
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from envbuilder.model.image import OCI_INDEX, OCI_MANIFEST

from .memory import Fault, Memory, digest_of
from .scripted import Call, Seen

ERROR = b'{"errors": [{"code": "DENIED", "message": "%s"}]}'


def patched(status: int, *, location: bool = True) -> Fault:
    """Take a PATCH, and say so in another way (crane's registry, ECR, pulp)."""

    def fault(memory: Memory, call: Call, request: Seen) -> bool:
        if request.method != "PATCH":
            return False
        name = request.path.rpartition("/")[2].partition("?")[0]
        memory.uploads[name] += request.body
        place = {"Location": f"/v2/app/blobs/uploads/{name}"} if location else {}
        call.answer(status, **place)
        return True

    return fault


def finished(status: int) -> Fault:
    """Take the last PUT of an upload, and say so in another way."""

    def fault(memory: Memory, call: Call, request: Seen) -> bool:
        if request.method != "PUT" or "/uploads/" not in request.path:
            return False
        parts = urlsplit(request.path)
        data = bytes(memory.uploads.pop(parts.path.rpartition("/")[2])) + request.body
        memory.blobs[parse_qs(parts.query)["digest"][0]] = data
        call.answer(status)
        return True

    return fault


def answered(matches: Callable[[Seen], bool], status: int, body: bytes = b"") -> Fault:
    """Answer whatever matches with a status."""

    def fault(_memory: Memory, call: Call, request: Seen) -> bool:
        if not matches(request):
            return False
        call.answer(status, body)
        return True

    return fault


def head(status: int) -> Fault:
    """Know no HEAD."""
    return answered(lambda request: request.method == "HEAD", status)


def missing(status: int) -> Fault:
    """Answer this for what is not there (cosign#2973)."""

    def fault(memory: Memory, call: Call, request: Seen) -> bool:
        kind, _, name = urlsplit(request.path).path.removeprefix("/v2/app/").partition("/")
        held = {"blobs": memory.blobs, "manifests": memory.manifests}.get(kind, {name: b""})
        if request.method not in {"GET", "HEAD"} or name in held:
            return False
        call.answer(status, ERROR % b"no")
        return True

    return fault


def mount(status: int) -> Fault:
    """Refuse every mount."""
    return answered(lambda request: "mount=" in request.path, status, ERROR % b"no mount")


def about_referrers(request: Seen) -> bool:
    return "/referrers/" in request.path


def referrers(status: int) -> Fault:
    """Have no referrers API, and say so like this."""
    return answered(about_referrers, status, b"no")


def listed(call: Call, children: list) -> None:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
    call.answer(200, json.dumps(index).encode(), Content_Type=OCI_INDEX)


def empty_referrers(_memory: Memory, call: Call, request: Seen) -> bool:
    """List nothing, whatever there is (sigstore-js#1187)."""
    if not about_referrers(request):
        return False
    listed(call, [])
    return True


def referrers_of(memory: Memory, subject: str) -> list:
    """Describe the manifests that refer to ``subject``."""
    children = []
    for digest, body in memory.manifests.items():
        content = json.loads(body) if digest.startswith("sha256:") else {}
        if content.get("subject", {}).get("digest") == subject:
            children.append(
                {
                    "mediaType": OCI_MANIFEST,
                    "digest": digest,
                    "size": len(body),
                    "artifactType": content["artifactType"],
                    "annotations": content["annotations"],
                }
            )
    return children


def with_api(*, acknowledged: bool) -> Fault:
    """Have the referrers API; a push is ``acknowledged`` by OCI-Subject, or not."""

    def fault(memory: Memory, call: Call, request: Seen) -> bool:
        if about_referrers(request):
            listed(call, referrers_of(memory, request.path.rpartition("/")[2]))
            return True
        if request.method == "PUT" and "/manifests/" in request.path and acknowledged:
            subject = json.loads(request.body).get("subject")
            for name in (request.path.rpartition("/")[2], digest_of(request.body)):
                memory.manifests[name] = request.body
            call.answer(201, **({"OCI_Subject": subject["digest"]} if subject else {}))
            return True
        return False

    return fault


def too_large(most: int) -> Fault:
    """Be behind a proxy that takes no larger body."""
    return answered(lambda request: len(request.body) > most, 413, b"<html>too large</html>")


def least(size: int) -> Fault:
    """Take no smaller piece but the last, and say so when an upload starts."""

    def fault(memory: Memory, call: Call, request: Seen) -> bool:
        if request.method != "POST":
            return False
        call.answer(202, Location=memory.open_upload(), OCI_Chunk_Min_Length=str(size))
        return True

    return fault


def tokens(*, pull_opens: bool = True, expire_after: int = 0) -> Fault:
    """Want a token: to pull alone may open nothing yet; each may expire after some requests."""
    state = {"issued": 0, "used": 0}

    def issue(memory: Memory, call: Call, request: Seen) -> None:
        scopes = parse_qs(urlsplit(request.path).query).get("scope", [])
        there = pull_opens or memory.manifests
        if not there and not all("push" in scope for scope in scopes):
            call.answer(403, ERROR % b"no such repository")
            return
        state.update(issued=state["issued"] + 1, used=0)
        token = json.dumps({"token": f"token-{state['issued']}", "expires_in": 3600})
        call.answer(200, token.encode())

    def fault(memory: Memory, call: Call, request: Seen) -> bool:
        if request.path.startswith("/token"):
            issue(memory, call, request)
            return True
        known = f"Bearer token-{state['issued']}"
        if request.headers.get("Authorization") != known or not state["issued"]:
            realm = f'Bearer realm="http://{request.headers["Host"]}/token",service="x"'
            call.answer(401, ERROR % b"who?", WWW_Authenticate=realm)
            return True
        state["used"] += 1
        if expire_after and state["used"] > expire_after:
            call.answer(400, ERROR % b"Your authorization token has expired.")
            return True
        return False

    return fault


def sometimes(every: int, status: int) -> Fault:
    """Be overloaded at each so many requests."""
    count = [0]

    def fault(_memory: Memory, call: Call, _request: Seen) -> bool:
        count[0] += 1
        if count[0] % every:
            return False
        call.answer(status, Retry_After="0")
        return True

    return fault


def dying(every: int) -> Fault:
    """Cut each so many downloads in the middle."""
    count = [0]

    def fault(memory: Memory, call: Call, request: Seen) -> bool:
        name = urlsplit(request.path).path.rpartition("/")[2]
        if request.method != "GET" or name not in memory.blobs or "Range" in request.headers:
            return False
        count[0] += 1
        if count[0] % every:
            return False
        data = memory.blobs[name]
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        call.raw(head + data[: len(data) // 2])
        return True

    return fault


def elsewhere(*, uses: int = 1) -> Fault:
    """Keep blobs at another host, under signed addresses that serve so often, and want a login.

    As object stores do, that host answers 400 to whoever shows it the registry's login, and 403 to
    an address that is too old.
    """
    login = tokens()
    served: dict[str, int] = {}

    def fetch(memory: Memory, call: Call, request: Seen) -> None:
        name = urlsplit(request.path).path.removeprefix("/cdn/")
        served[request.path] = served.get(request.path, 0) + 1
        if "Authorization" in request.headers:
            call.answer(400, b"<Error>Only one auth mechanism allowed</Error>")
        elif served[request.path] > uses:
            call.answer(403, b"<Error>Request has expired</Error>")
        elif not cut(memory, call, request):
            call.answer(200, memory.blobs[name])

    def fault(memory: Memory, call: Call, request: Seen) -> bool:
        if request.path.startswith("/cdn/"):
            fetch(memory, call, request)
            return True
        if login(memory, call, request):
            return True
        name = request.path.rpartition("/")[2]
        if request.method != "GET" or name not in memory.blobs:
            return False
        port = request.headers["Host"].rpartition(":")[2]
        there = f"http://localhost:{port}/cdn/{name}?X-Signature={len(served)}"
        call.answer(307, Location=there)
        return True

    cut = dying(2)
    return fault


def trickling(memory: Memory, call: Call, request: Seen) -> bool:
    """Send blobs a few bytes at a time."""
    data = memory.blobs.get(request.path.rpartition("/")[2])
    if request.method != "GET" or data is None:
        return False
    call.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n".encode())
    for at in range(0, len(data), 500):
        time.sleep(0.002)
        call.raw(data[at : at + 500])
    return True


QUIRKS: dict[str, Callable[[], Fault]] = {
    "PATCH 200": lambda: patched(200),
    "PATCH 201": lambda: patched(201),
    "PATCH 204": lambda: patched(204),
    "PATCH 204 without a Location": lambda: patched(204, location=False),
    "PUT 200": lambda: finished(200),
    "PUT 204": lambda: finished(204),
    "HEAD 400": lambda: head(400),
    "HEAD 405": lambda: head(405),
    "HEAD 501": lambda: head(501),
    "missing 403": lambda: missing(403),
    **{f"mount {status}": (lambda status=status: mount(status))
       for status in (400, 401, 403, 404, 405, 500, 503)},
    **{f"referrers {status}": (lambda status=status: referrers(status))
       for status in (200, 400, 401, 403, 404, 405, 406, 500)},
    "referrers empty": lambda: empty_referrers,
    "referrers by API": lambda: with_api(acknowledged=True),
    "referrers by API, not acknowledged": lambda: with_api(acknowledged=False),
    "413 above 1 MiB": lambda: too_large(1 << 20),
    "413 above 300 kB": lambda: too_large(300_000),
    "pieces of 1 MiB at least": lambda: least(1 << 20),
    "tokens": tokens,
    "tokens to pull open nothing": lambda: tokens(pull_opens=False),
    "tokens expire with 400": lambda: tokens(expire_after=8),
    "503 now and then": lambda: sometimes(5, 503),
    "429 now and then": lambda: sometimes(7, 429),
    "downloads die": lambda: dying(2),
    "downloads trickle": lambda: trickling,
    "downloads from elsewhere": elsewhere,
}  # fmt: skip
