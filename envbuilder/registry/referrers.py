"""What refers to an image: signatures, reports and the like, by API or by the fallback tag.

Source: OCI distribution-spec 1.1 ("Listing Referrers", "Referrers Tag Schema"). Debian's
docker-registry has no such API, so the list stands in an index under the tag ``sha256-HEX``.
"""

from __future__ import annotations

import re

from envbuilder.model.errors import NetworkError
from envbuilder.model.image import OCI_INDEX
from envbuilder.model.reference import Digest
from envbuilder.net.messages import join_url

from .manifests import MANIFEST_LIMIT, Descriptor, Manifest, index_of, parse_manifest
from .repository import Repository

_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')  # RFC 8288
_MOST_PAGES = 64


def fallback_tag(subject: Digest) -> str:
    """Name the tag under which the referrers of ``subject`` are listed."""
    return f"sha256-{subject.hex}"


def list_referrers(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    """List what claims to refer to ``subject``: whether it does stands in each manifest."""
    listed = _by_api(repository, subject)
    return _by_tag(repository, subject) if listed is None else listed


def attach_referrer(repository: Repository, subject: Digest, manifest: Manifest) -> None:
    """Store a manifest whose ``subject`` is ``subject``, and see that it gets listed."""
    repository.put_manifest(manifest, manifest.digest)
    if _by_api(repository, subject) is not None:
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


def _by_api(repository: Repository, subject: Digest) -> tuple[Descriptor, ...] | None:
    """Ask the API, page by page; None if the registry has none: some send a page of HTML."""
    what = f"the referrers of {repository}@{subject}"
    found: list[Descriptor] = []
    path = f"referrers/{subject}"
    for _ in range(_MOST_PAGES):
        with repository.send("GET", path, headers={"Accept": OCI_INDEX}) as answer:
            index = answer.headers.get("Content-Type", "").startswith(OCI_INDEX)
            if answer.status in {400, 404, 405} or (answer.status == 200 and not index):
                return None
            repository.expect(answer, {200}, f"listing {what}")
            found += parse_manifest(answer.read(MANIFEST_LIMIT), OCI_INDEX, what).children
            following = _NEXT.search(answer.headers.get("Link", ""))
            if following is None:
                return tuple(found)
            path = join_url(answer.url, following[1])
    raise NetworkError(f"{what} are listed on more than {_MOST_PAGES} pages")


def _by_tag(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    tag = fallback_tag(subject)
    if repository.find(tag) is None:
        return ()
    manifest = repository.manifest(tag)
    # GitLab reads this tag as the digest and gives the image itself.
    return manifest.children if manifest.is_index and manifest.digest != subject else ()
