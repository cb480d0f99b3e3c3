"""What refers to an image: signatures, reports and the like, by API or by the fallback tag.

Source: OCI distribution-spec 1.1 ("Listing Referrers", "Referrers Tag Schema"). Debian's
docker-registry has no such API, so the list stands in an index under the tag ``sha256-HEX``. Others
refuse the API's address in any way, or answer it with an empty list whatever there is: both are
taken for none, and the tag is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from envbuilder.model.errors import NetworkError
from envbuilder.model.image import OCI_INDEX
from envbuilder.model.reference import Digest
from envbuilder.net.messages import MissingError, join_url

from .auth import RefusedError
from .manifests import (
    MANIFEST_LIMIT,
    Descriptor,
    Manifest,
    NoImageError,
    index_of,
    parse_descriptor,
    parse_manifest,
)
from .repository import ForbiddenError, Repository

_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')  # RFC 8288
_MOST_PAGES = 64
_NO_API = frozenset({400, 401, 403, 404, 405, 406, 500, 501})
_ACKNOWLEDGED = "OCI-Subject"  # by which a registry says that it will list a referrer


def fallback_tag(subject: Digest) -> str:
    """Name the tag under which the referrers of ``subject`` are listed."""
    return f"sha256-{subject.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What claims to refer to a subject: whether it does stands in each manifest.

    ``tagged`` is the index under the fallback tag, None if the API lists them or nothing does;
    ``has_api`` is False if the registry refused the API's address.
    """

    entries: tuple[Descriptor, ...] = ()
    tagged: Digest | None = None
    has_api: bool = True


def read_referrers(repository: Repository, subject: Digest) -> Listing:
    """Ask what refers to ``subject``: one request, and a second where the API lists nothing."""
    by_api = _by_api(repository, subject)
    if by_api:
        return Listing(entries=by_api)
    return replace(_by_tag(repository, subject), has_api=by_api is not None)


def list_referrers(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    """List what claims to refer to ``subject``."""
    return read_referrers(repository, subject).entries


def attach_referrers(
    repository: Repository, subject: Digest, manifests: Sequence[Manifest], *, has_api: bool = True
) -> Listing:
    """Store manifests whose ``subject`` is ``subject``, and see that they get listed.

    Without ``has_api`` the API is not asked whether it does so. Returns the entries of these alone.
    """
    silent = [each for each in manifests if not _acknowledged(repository, subject, each)]
    if silent and has_api:
        listed = {each.digest for each in _by_api(repository, subject) or ()}
        silent = [each for each in silent if each.digest not in listed]
    entries = tuple(_entry(each) for each in manifests)
    if not silent:
        return Listing(entries=entries)
    ours = [_entry(each) for each in silent]
    mine = {each.digest for each in ours}
    others = [e for e in _by_tag(repository, subject).entries if e.digest not in mine]
    tagged = repository.put_manifest(index_of([*others, *ours]), fallback_tag(subject))
    return Listing(entries=entries, tagged=tagged, has_api=has_api)


def _acknowledged(repository: Repository, subject: Digest, manifest: Manifest) -> bool:
    """Store a referrer; return whether the registry says that it will list it."""
    headers = repository.store_manifest(manifest, manifest.digest)
    return headers.get(_ACKNOWLEDGED) == str(subject)


def _entry(manifest: Manifest) -> Descriptor:
    content = manifest.content
    return Descriptor(
        media_type=manifest.media_type,
        digest=manifest.digest,
        size=len(manifest.body),
        artifact_type=content.get("artifactType", ""),
        annotations=content.get("annotations", {}),
    )


def _by_api(repository: Repository, subject: Digest) -> tuple[Descriptor, ...] | None:
    """Ask the API, page by page; None if the registry has none: some send a page of HTML."""
    what = f"the referrers of {repository}@{subject}"
    found: list[Descriptor] = []
    path = f"referrers/{subject}"
    for _ in range(_MOST_PAGES):
        try:
            answer = repository.send("GET", path, headers={"Accept": OCI_INDEX})
        except RefusedError:
            return None
        with answer:
            index = answer.headers.get("Content-Type", "").startswith(OCI_INDEX)
            if answer.status in _NO_API or (answer.status == 200 and not index):
                return None
            repository.expect(answer, {200}, f"listing {what}")
            page = parse_manifest(answer.read(MANIFEST_LIMIT), OCI_INDEX, what)
            found += _entries(page.content)
            following = _NEXT.search(answer.headers.get("Link", ""))
            if following is None:
                return tuple(found)
            path = join_url(answer.url, following[1])
    raise NetworkError(f"{what} are listed on more than {_MOST_PAGES} pages")


def _by_tag(repository: Repository, subject: Digest) -> Listing:
    """Read the index under the fallback tag; empty for a stranger's junk in its place."""
    with suppress(MissingError, ForbiddenError, NoImageError):
        manifest = repository.manifest(fallback_tag(subject))
        # GitLab reads this tag as the digest and gives the image itself.
        if manifest.is_index and manifest.digest != subject:
            return Listing(entries=tuple(_entries(manifest.content)), tagged=manifest.digest)
    return Listing()


def _entries(content: Mapping[str, Any]) -> Iterator[Descriptor]:
    """Read a list entry by entry, leaving out what is none: strangers may have put it there."""
    values = content.get("manifests")
    for value in values if isinstance(values, list) else ():
        with suppress(NoImageError):
            yield parse_descriptor(value, "an entry")
