"""Ray's dashboard over HTTP, as far as jobs need it: packages, jobs, logs, and the nodes there.

Source: Ray's Jobs REST API (version 4), its packages, and its state API's list of nodes; recorded
from Ray 2.60. Jobs have the id that we give them, so that every request may be sent again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, urlsplit

from msgspec import Struct

from envbuilder.model.codec import MisfitError, from_plain
from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.net.config import Settings
from envbuilder.net.messages import Body, HttpRequest, parse_json
from envbuilder.net.transport import Transport

if TYPE_CHECKING:
    from envbuilder.net.answer import Answer

MOST_OF_A_PACKAGE = 100 << 20
"""Bytes that Ray's dashboard takes at once."""
_MOST_OF_AN_ANSWER = 64 << 20
_TOKEN_FILE = Path("~/.ray/auth_token")
_ENDED = frozenset({"STOPPED", "SUCCEEDED", "FAILED"})
LOST = {
    "JOB_SUPERVISOR_ACTOR_DIED": "its machine was lost",
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": "it could not be started",
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": "it has waited for a machine as long as Ray lets it",
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": "its machine does not answer",
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": "its machine was lost before it began",
    "RUNTIME_ENV_SETUP_FAILURE": "its machine could not unpack it",
}
"""Ends of a job that say nothing of the environment: it is submitted again."""
_HINT = "the address is that of Ray's dashboard, like http://HEAD:8265"

T = TypeVar("T")


class Node(Struct, frozen=True, kw_only=True):
    """A machine there; ``resources_total`` has numbers by name: CPU, GPU, memory (bytes)."""

    node_id: str
    node_ip: str
    state: str
    resources_total: dict[str, float] = {}
    labels: dict[str, str] | None = None


class JobState(Struct, frozen=True, kw_only=True):
    """How a job stands; ``driver_node_id`` is None until it has a machine."""

    status: str
    message: str | None = None
    error_type: str | None = None
    metadata: dict[str, str] | None = None
    driver_node_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it will not go on."""
        return self.status in _ENDED

    @property
    def may_answer(self) -> bool:
        """Whether it has come to an end of its own, or still may."""
        return self.status != "STOPPED" and self.error_type not in LOST


class _Listing(Struct):
    result: list[Node]


class _Listed(Struct):
    result: _Listing


class _Nodes(Struct):
    data: _Listed


class _Version(Struct):
    ray_version: str


class _Logs(Struct):
    logs: str


class JobsApi:
    """The dashboard at one address; close it, or use it in ``with``. Safe for several threads."""

    def __init__(self, address: str, *, token: str | None, settings: Settings) -> None:
        """Raise UsageError for an address that is none; nothing is asked yet."""
        self.address = _checked(address)
        self._token = token
        self._transport = Transport(urlsplit(self.address).netloc, settings)

    @classmethod
    def from_environment(cls, address: str, environ: Mapping[str, str] = os.environ) -> Self:
        """Make one with this machine's proxies, certificates and Ray's token, where it has one."""
        settings = Settings.from_environment(environ)
        return cls(address, token=_token(environ), settings=settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def ray_version(self) -> str:
        """Return the version of Ray there; raises NetworkError if nobody, or no Ray, answers."""
        return self._read(_Version, self._ask("GET", "/api/version")).ray_version

    def nodes(self) -> tuple[Node, ...]:
        """List the machines that are alive, with what they have."""
        found = self._read(_Nodes, self._ask("GET", "/api/v0/nodes?detail=1&limit=10000"))
        return tuple(node for node in found.data.result.result if node.state == "ALIVE")

    def has_package(self, name: str) -> bool:
        """Return whether the cluster has the package, and keep it there for the next minutes."""
        return self._ask("GET", f"/api/packages/gcs/{name}", but=(404,)) is not None

    def put_package(self, name: str, file: Path) -> None:
        """Upload the zip ``file`` as the package ``name``."""
        body = Body(size=file.stat().st_size, open=lambda: file.open("rb"))
        self._ask("PUT", f"/api/packages/gcs/{name}", body=body)

    def submit(self, job: Mapping[str, Any]) -> bool:
        """Submit a job with the ``submission_id`` that it names; say if it is new.

        A job that is there already, since somebody was faster, is left alone.
        """
        try:
            self._ask("POST", "/api/jobs/", body=_json(job), once=True)
        except NetworkError:
            if self.job(job["submission_id"]) is None:
                raise
            return False
        return True

    def job(self, submission: str) -> JobState | None:
        """Return how a job stands, None if the cluster knows no such job."""
        text = self._ask("GET", f"/api/jobs/{quote(submission)}", but=(404,))
        return None if text is None else self._read(JobState, text)

    def log(self, submission: str) -> str:
        """Return what a job printed; raises NetworkError where its machine does not give it out."""
        text = self._ask("GET", f"/api/jobs/{quote(submission)}/logs")
        return self._read(_Logs, text).logs

    def stop(self, submission: str) -> None:
        """Ask a job to end; nothing happens to one that has."""
        self._ask("POST", f"/api/jobs/{quote(submission)}/stop", body=_json({}), but=(404,))

    def delete(self, submission: str) -> None:
        """Make the cluster forget a job that has ended; its log stays on its machine."""
        self._ask("DELETE", f"/api/jobs/{quote(submission)}", but=(404,))

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Body | None = None,
        once: bool = False,
        but: Sequence[int] = (),
    ) -> bytes | None:
        """Return what was answered with 200, or None for a status that may be ``but`` this."""
        headers = {"Content-Type": "application/json"} if method == "POST" else {}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        url = f"{self.address}{path}"
        request = HttpRequest(method=method, url=url, headers=headers, body=body, once=once)
        with self._transport.send(request) as answer:
            if answer.status in but:
                return None
            if answer.status != 200:
                raise self._refusal(answer)
            return answer.read(_MOST_OF_AN_ANSWER)

    def _refusal(self, answer: Answer) -> NetworkError:
        if answer.status in {401, 403}:
            hint = "set RAY_AUTH_TOKEN to the cluster's token"
            if self._token is not None:
                hint = "RAY_AUTH_TOKEN, or ~/.ray/auth_token, is not this cluster's"
            return NetworkError(f"the cluster at {self.address} wants to know who asks", hint=hint)
        said = answer.read(_MOST_OF_AN_ANSWER).decode(errors="replace").strip().splitlines()
        last = f": {said[-1][:500]}" if said else ""
        hint = _HINT if answer.status in {404, 405} else "its dashboard's log says more"
        return NetworkError(f"{answer.place} answered {answer.status}{last}", hint=hint)

    def _read(self, kind: type[T], text: bytes | None) -> T:
        try:
            return from_plain(parse_json(text or b"", f"the answer of {self.address}"), kind)
        except (MisfitError, NetworkError) as error:
            raise NetworkError(
                f"{self.address} does not answer as Ray does: {error}", hint=_HINT
            ) from error


def _json(value: Mapping[str, Any]) -> Body:
    data = json.dumps(value).encode()
    return Body(size=len(data), open=lambda: BytesIO(data))


def _checked(address: str) -> str:
    hint = "write it like http://HEAD:8265"
    try:
        parts = urlsplit(address)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(f"{address!r} is no address of a Ray cluster", hint=hint)
    if parts.username or parts.query or parts.fragment:
        raise UsageError(
            "the address of a Ray cluster holds a login or a query",
            hint=f"{hint}; a token goes into RAY_AUTH_TOKEN",
        )
    return address.rstrip("/")


def _token(environ: Mapping[str, str]) -> str | None:
    """Return Ray's token, from where Ray's own client has it; None if there is none."""
    if token := environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    named = environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else _TOKEN_FILE.expanduser()
    try:
        return path.read_text("utf-8").strip() or None
    except FileNotFoundError as error:
        if named:
            raise UsageError(f"RAY_AUTH_TOKEN_PATH names {named}, which does not exist") from error
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read Ray's token in {path}: {error}") from error
