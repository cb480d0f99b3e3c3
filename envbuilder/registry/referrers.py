"""What refers to an image: signatures, reports and the like, by API or by the fallback tag.

Source: OCI distribution-spec 1.1 ("Listing Referrers", "Referrers Tag Schema"). Debian's
docker-registry has no such API, so the list stands in an index under the tag ``sha256-HEX``. Others
refuse the API's address in any way, or answer it with an empty list whatever there is: both are
taken for none, and the tag is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
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


def list_referrers(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    """List what claims to refer to ``subject``: whether it does stands in each manifest."""
    return _by_api(repository, subject) or _by_tag(repository, subject)


def attach_referrer(repository: Repository, subject: Digest, manifest: Manifest) -> None:
    """Store a manifest whose ``subject`` is ``subject``, and see that it gets listed."""
    headers = repository.store_manifest(manifest, manifest.digest)
    if headers.get(_ACKNOWLEDGED) == str(subject):
        return
    if manifest.digest in {each.digest for each in _by_api(repository, subject)}:
        return
    content = manifest.content
    entry = Descriptor(
        media_type=manifest.media_type,
        digest=manifest.digest,
        size=len(manifest.body),
        artifact_type=content.get("artifactType", ""),
        annotations=content.get("annotations", {}),
    )
    others = (each for each in _by_tag(repository, subject) if each.digest != entry.digest)
    repository.put_manifest(index_of([*others, entry]), fallback_tag(subject))


def _by_api(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    """Ask the API, page by page; nothing if the registry has none: some send a page of HTML."""
    what = f"the referrers of {repository}@{subject}"
    found: list[Descriptor] = []
    path = f"referrers/{subject}"
    for _ in range(_MOST_PAGES):
        try:
            answer = repository.send("GET", path, headers={"Accept": OCI_INDEX})
        except RefusedError:
            return ()
        with answer:
            index = answer.headers.get("Content-Type", "").startswith(OCI_INDEX)
            if answer.status in _NO_API or (answer.status == 200 and not index):
                return ()
            repository.expect(answer, {200}, f"listing {what}")
            page = parse_manifest(answer.read(MANIFEST_LIMIT), OCI_INDEX, what)
            found += _entries(page.content)
            following = _NEXT.search(answer.headers.get("Link", ""))
            if following is None:
                return tuple(found)
            path = join_url(answer.url, following[1])
    raise NetworkError(f"{what} are listed on more than {_MOST_PAGES} pages")


def _by_tag(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    try:
        manifest = repository.manifest(fallback_tag(subject))
    except (
        MissingError,
        ForbiddenError,
        NoImageError,
    ):  # nothing, or a stranger's junk in its place
        return ()
    # GitLab reads this tag as the digest and gives the image itself.
    if not manifest.is_index or manifest.digest == subject:
        return ()
    return tuple(_entries(manifest.content))


def _entries(content: Mapping[str, Any]) -> Iterator[Descriptor]:
    """Read a list entry by entry, leaving out what is none: strangers may have put it there."""
    values = content.get("manifests")
    for value in values if isinstance(values, list) else ():
        with suppress(NoImageError):
            yield parse_descriptor(value, "an entry")
