"""``verify`` of an index: each image that it lists is proven against the lock of its platform."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from envbuilder.model.errors import NetworkError
from envbuilder.model.lock import Lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Manifest, Platform
from envbuilder.registry.platforms import contenders

from .findings import Finding, FindingStatus, Level, Verdict
from .remote import Seen

_NOT_AN_INDEX = "one image"


def verify_platforms(
    client: Client,
    ref: ImageRef,
    locks: Sequence[Lock],
    prove: Callable[[ImageRef, Lock], Verdict],
    *,
    level: Level,
    seen: Seen | None = None,
) -> Verdict:
    """Compare the index at ``ref`` with ``locks``, one for each platform: it lists their images.

    ``prove`` is ``verify`` of one image, to ``level``; with one lock, that is all. The index lists
    nothing else, so that no puller gets what was not looked at. A tag is asked once: all is
    compared with what it named then. Raises what ``prove`` does.
    """
    if len(locks) == 1:
        return prove(ref, locks[0])
    digest = _digest(client, ref, seen)
    pinned = ref if digest is None else ref.at(digest)
    wanted = [lock.spec.platform for lock in locks]
    findings = _index_findings(client, pinned, wanted, seen) if level >= Level.CONTENT else []
    if _NOT_AN_INDEX not in {each.actual for each in findings}:
        for lock in locks:
            findings += (_of(lock, each) for each in prove(pinned, lock).findings)
    return Verdict(reference=str(ref), digest=digest, level=level, findings=tuple(findings))


def _digest(client: Client, ref: ImageRef, seen: Seen | None) -> Digest | None:
    """Ask once what ``ref`` names; None where that is not to be had, which ``verify`` then says."""
    if seen is not None:
        return seen.manifests[0].digest
    if ref.digest is not None:
        return ref.digest
    try:
        return client.repository(ref).find(ref.tag or "latest")
    except NetworkError:
        return None


def _of(lock: Lock, finding: Finding) -> Finding:
    return replace(finding, subject=f"{lock.spec.platform} {finding.subject}")


def _index_findings(
    client: Client, ref: ImageRef, wanted: Sequence[str], seen: Seen | None
) -> list[Finding]:
    """Say whether it is an index, and what it lists that no puller for ``wanted`` takes."""
    try:
        known = seen.manifests[0] if seen is not None else None
        manifest = known or client.repository(ref).manifest(ref.digest or ref.tag or "latest")
        if not manifest.is_index:
            found = _fault("an image is there, and no index", actual=_NOT_AN_INDEX)
            return [replace(found, expected=f"an index of {', '.join(wanted)}")]
        return [
            _fault("the index lists what no lock of this environment is for", actual=entry)
            for entry in strangers(manifest, wanted)
        ]
    except NetworkError:
        return []  # as ``verify`` says for each platform


def strangers(index: Manifest, wanted: Sequence[str]) -> Iterator[str]:
    """Name the entries of ``index`` that no puller for a ``wanted`` platform takes."""
    taken = [each for name in wanted for each in contenders(index.children, Platform.parse(name))]
    for child in index.children:
        if child not in taken:
            yield f"{child.digest} for {child.platform or 'no stated platform'}"


def _fault(explanation: str, *, actual: str) -> Finding:
    return Finding(
        level=Level.CONTENT,
        subject="index",
        status=FindingStatus.MISMATCH,
        actual=actual,
        explanation=explanation,
    )
