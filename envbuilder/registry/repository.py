"""One repository of a registry: its manifests, and the authorized requests that blobs need.

Source: OCI distribution-spec 1.1. Every manifest that arrives is hashed, and compared with the
digest it was asked by and with the one that the registry claims.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.model.image import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from envbuilder.model.reference import Digest
from envbuilder.net.messages import (
    Body,
    HttpRequest,
    MissingError,
    join_url,
    origin,
    parse_json,
)
from envbuilder.net.transport import Transport

from .auth import Authorizer
from .login_hints import login_hint
from .manifests import MANIFEST_LIMIT, Manifest, NoImageError, parse_manifest

if TYPE_CHECKING:
    from envbuilder.net.answer import Answer

# docker-registry answers 404 to whoever does not name the exact type.
_ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_MOST_LOGINS = 2  # an expired token, then a wider scope; a third refusal is final
_ERROR_LIMIT = 64 * 1024
_NO_LIMIT = 1 << 62  # bytes
NO_HEAD = frozenset({400, 405, 501})  # by which servers say that they do not know HEAD
_HINTS = {
    403: "this login may not do that, or what was asked for does not exist: ask for access, or "
    "docker login {registry} as someone else",
    413: "let the proxy before the registry take larger bodies (nginx: client_max_body_size 0)",
    429: "try again later, or log in if the registry limits anonymous use",
}


class ForbiddenError(NetworkError):
    """The registry answered 403, as some do for what does not exist."""


class InvalidError(NetworkError):
    """The registry takes no such document: it answered 400, 415 or 422."""


_KINDS: Mapping[int, type[NetworkError]] = {
    400: InvalidError,
    403: ForbiddenError,
    404: MissingError,
    415: InvalidError,
    422: InvalidError,
}


class Repository:
    """A repository by name, spoken to with the registry's shared connections and login."""

    def __init__(
        self,
        *,
        registry: str,
        name: str,
        base_url: str,
        transport: Transport,
        login: Authorizer,
        writing: bool = False,
    ) -> None:
        self.registry = registry
        self.name = name
        self.largest_body = _NO_LIMIT
        self.writing = writing
        self._base_url = base_url
        self._base = f"{base_url}/v2/{name}/"
        self._transport = transport
        self._login = login

    def __str__(self) -> str:
        return f"{self.registry}/{self.name}"

    def for_writing(self) -> Repository:
        """Open the same repository for a push: each login asks for the right to write as well.

        Some registries let nobody in who may only read a repository that does not exist yet.
        """
        return Repository(
            registry=self.registry,
            name=self.name,
            base_url=self._base_url,
            transport=self._transport,
            login=self._login,
            writing=True,
        )

    @property
    def attempts(self) -> int:
        """How often something that may pass is tried."""
        return self._transport.settings.attempts

    def pause(self, attempt: int, answer: Answer | None = None) -> None:
        """Wait before the next attempt, as :meth:`Transport.pause` does."""
        self._transport.pause(attempt, answer)

    # -- manifests --------------------------------------------------------------------------

    def find(self, reference: str | Digest) -> Digest | None:
        """Return the digest that a tag or digest names here, or None: one HEAD, no body."""
        headers = {"Accept": _ACCEPT}
        claimed: Digest | None = None
        with self.send("HEAD", f"manifests/{reference}", headers=headers) as answer:
            if answer.status == 404 or (answer.status == 403 and self.writing):
                return None  # what may not be written to is told by the first write
            if answer.status not in NO_HEAD:
                self.expect(answer, {200}, f"looking for {self._named(reference)}")
                claimed = _claimed_digest(answer)
        if claimed is None:  # the header is optional; the content is not
            try:
                claimed = self.manifest(reference).digest
            except MissingError:
                return None
        if isinstance(reference, Digest) and claimed != reference:
            raise NetworkError(f"{self._named(reference)}: the registry claims to hold {claimed}")
        return claimed

    def manifest(self, reference: str | Digest) -> Manifest:
        """Fetch a manifest or index of at most 4 MiB.

        Raises MissingError if it is not there, NoImageError if it is whole but no manifest,
        NetworkError if it is too long or not what was asked for.
        """
        named = self._named(reference)
        headers = {"Accept": _ACCEPT}
        with self.send("GET", f"manifests/{reference}", headers=headers) as answer:
            if answer.status == 404:
                raise MissingError(f"{named} is not in the registry")
            self.expect(answer, {200}, f"fetching {named}")
            body = answer.read(MANIFEST_LIMIT)
            claimed = _claimed_digest(answer)
            encoding = answer.headers.get("Content-Encoding", "identity")
            media_type = answer.headers.get("Content-Type", "")
        actual = Digest.of(body)
        wanted = reference if isinstance(reference, Digest) else claimed
        if wanted is not None and actual != wanted:
            how = "" if encoding == "identity" else f" (it came as {encoding}, which nobody asked)"
            raise NetworkError(f"{named}: expected {wanted}, but what came is {actual}{how}")
        try:
            return parse_manifest(body, media_type, named)
        except NetworkError as error:
            if wanted is None:  # then it may be a proxy's page
                raise
            raise NoImageError(error.message) from error

    def put_manifest(self, manifest: Manifest, reference: str | Digest) -> Digest:
        """Store ``manifest`` under a tag or its digest; raise NetworkError if that fails."""
        self.store_manifest(manifest, reference)
        return manifest.digest

    def store_manifest(self, manifest: Manifest, reference: str | Digest) -> Mapping[str, str]:
        """Store ``manifest`` as :meth:`put_manifest` does; give the headers of the answer."""
        if len(manifest.body) > MANIFEST_LIMIT:
            raise UsageError(
                f"the manifest has {len(manifest.body)} bytes; registries take {MANIFEST_LIMIT}"
            )
        body = Body(size=len(manifest.body), open=lambda: io.BytesIO(manifest.body))
        headers = {"Content-Type": manifest.media_type}
        path = f"manifests/{reference}"
        with self.send("PUT", path, headers=headers, body=body, push=True) as answer:
            self.expect(answer, {200, 201}, f"storing {self._named(reference)}")
            claimed = _claimed_digest(answer)
        if claimed not in {None, manifest.digest}:
            raise NetworkError(f"{self._named(reference)} was stored as {claimed}, not as sent")
        return answer.headers

    # -- requests ---------------------------------------------------------------------------

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        push: bool = False,
        also: Collection[str] = (),
        once: bool = False,
    ) -> Answer:
        """Send one request to ``path`` (relative to this repository, or a Location).

        Logs in when challenged, for writing where ``push`` is set; ``also`` are other repositories
        that the login must let us read; ``once`` as in :class:`HttpRequest`.
        Returns any answer but 401; raises NetworkError if none came.
        """
        url = join_url(self._base, path)
        self._transport.check_address(url)
        ours = origin(url) == origin(self._base)
        scopes = self._scopes(push=push, also=also)
        refused: str | None = None
        authorization = self._login.header(scopes)
        for _ in range(_MOST_LOGINS + 1):
            given = {"Authorization": authorization} if authorization and ours else {}
            request = HttpRequest(
                method=method,
                url=url,
                headers={**(headers or {}), **given},
                body=body,
                once=once,
            )
            answer = self._transport.send(request)
            if not ours or origin(answer.url) != origin(url):
                return answer
            if authorization and refused is None and _is_expired(answer):
                answer.close()
                self._login.forget(scopes, authorization)
                refused, authorization = authorization, None
                continue
            if answer.status != 401:
                return answer
            answer.close()
            challenge = answer.headers.get("WWW-Authenticate", "")
            refused = authorization
            authorization = self._login.renew(scopes, refused, challenge)
            if authorization == refused:
                break
        raise self._login.refusal()

    def expect(self, answer: Answer, statuses: Collection[int], doing: str) -> None:
        """Raise NetworkError that says what the registry said, unless the status is expected."""
        if answer.status not in statuses:
            self._fail(answer, doing)

    def is_elsewhere(self, answer: Answer) -> bool:
        """Return whether we were sent on to another server, by an address that may expire."""
        return origin(answer.url) != origin(self._base)

    def location(self, answer: Answer) -> str:
        """Return the address that an upload goes on at, verbatim but absolute."""
        location = answer.headers.get("Location")
        if not location:
            raise NetworkError(f"{self}: the registry gave no Location to upload to")
        return join_url(answer.url, location)

    def _scopes(self, *, push: bool, also: Collection[str]) -> frozenset[str]:
        actions = "pull,push" if push or self.writing else "pull"
        others = (f"repository:{name}:pull" for name in also)
        return frozenset({f"repository:{self.name}:{actions}", *others})

    def _named(self, reference: str | Digest) -> str:
        mark = "@" if isinstance(reference, Digest) else ":"
        return f"{self}{mark}{reference}"

    def _fail(self, answer: Answer, doing: str) -> NoReturn:
        said = self._login.redact(_error_text(answer))
        hint = _HINTS.get(answer.status, "").format(registry=self.registry)
        if answer.status == 401 or (answer.status == 400 and "expired" in said.lower()):
            hint = login_hint(self.registry)
        kind = _KINDS.get(answer.status, NetworkError)
        raise kind(f"{doing}: the registry answered {answer.status}{said}", hint=hint)


def with_query(url: str, **parameters: str) -> str:
    """Add parameters to an address that may already have some."""
    text = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
    return f"{url}{'&' if '?' in url else '?'}{text}"


def _claimed_digest(answer: Answer) -> Digest | None:
    text = answer.headers.get("Docker-Content-Digest")
    try:
        return Digest.parse(text) if text else None
    except UsageError as error:
        raise NetworkError(f"{answer.place} claims the digest {text!r}") from error


def _is_expired(answer: Answer) -> bool:
    """Return whether a registry refuses a login for its age by 400, as some do."""
    if answer.status != 400:
        return False
    answer.keep(_ERROR_LIMIT)
    return "expired" in _error_text(answer).lower()


def _error_text(answer: Answer) -> str:
    """Read the registry's own words (spec, "Error Codes"), one short printable line."""
    try:
        errors = parse_json(answer.read(_ERROR_LIMIT), "the answer")["errors"]
        words = "; ".join(f"{error['code']}: {error.get('message', '')}" for error in errors)
    except (NetworkError, KeyError, TypeError, AttributeError):
        return ""  # the status says enough where the body says nothing
    return ": " + "".join(char for char in words if char.isprintable())[:300]
