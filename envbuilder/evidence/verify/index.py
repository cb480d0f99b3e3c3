"""Judge an index: every puller must come to the one image that we look at (pure).

What containerd, podman and Docker could choose differently is a mismatch, whoever would be right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import INDEX_TYPES, Descriptor, Manifest, Platform
from envbuilder.registry.platforms import contenders, is_plain

from .findings import Finding, FindingStatus, Level
from .manifest import foreign_members, foreign_notes, type_faults

_MEMBERS = {"schemaVersion", "mediaType", "manifests", "annotations"}
_ENTRY = {"mediaType", "digest", "size", "platform", "annotations"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an index leaves to pull, if anything, and what is wrong with it."""

    entry: Descriptor | None
    findings: tuple[Finding, ...]


def choose(index: Manifest, platform: Platform, sealed: Collection[Digest]) -> Choice:
    """Say which entry a puller for ``platform`` takes, and why that may be another one.

    Of several a ``sealed`` one is looked at further. Raises NetworkError for no index.
    """
    entries = contenders(index.children, platform)
    faults = [*_index_faults(index)]
    if len(entries) != 1:
        faults.append(f"the tag names an index with {len(entries)} images for {platform}")
    fitting = [entry for entry in entries if entry.digest in sealed] or entries
    chosen = fitting[0] if fitting else None
    if chosen is not None:
        faults += _entry_faults(index.content, chosen, platform)
    findings = tuple(
        Finding(
            level=Level.CONTENT,
            subject="index",
            status=FindingStatus.MISMATCH,
            explanation=fault,
        )
        for fault in faults
    )
    return Choice(entry=chosen, findings=findings)


def _index_faults(index: Manifest) -> Iterator[str]:
    content = index.content
    yield from type_faults(index)
    yield from foreign_members(content, _MEMBERS, "the index")
    yield from foreign_notes(content.get("annotations"), "the index")


def _entry_faults(
    content: Mapping[str, Any], chosen: Descriptor, platform: Platform
) -> Iterator[str]:
    """Find what makes pullers disagree on the one entry that is left."""
    what = f"the index's entry for {platform}"
    stated = chosen.platform
    if stated is None:
        yield f"{what} does not say so: some pullers skip it"
    elif not is_plain(stated):
        yield f"{what} is spelled {shown(stated)}, which pullers read differently"
    if chosen.media_type in INDEX_TYPES:
        yield f"{what} is an index itself, which pullers read differently"
    for entry in content["manifests"]:
        if entry["digest"] == str(chosen.digest):
            yield from foreign_members(entry, _ENTRY, what)
            yield from foreign_notes(entry.get("annotations"), what)


def entry_fault(entry: Descriptor, manifest: Manifest) -> str:
    """Say where an entry lies about the manifest that it names: type and length; or nothing."""
    if entry.media_type != manifest.media_type:
        return f"the index calls its entry {entry.media_type}, but it is {manifest.media_type}"
    if entry.size != len(manifest.body):
        return f"the index gives its entry {entry.size} bytes, but it has {len(manifest.body)}"
    return ""


def shown(platform: Platform) -> str:
    """Show a platform with its conditions."""
    version = f" of version {platform.version}" if platform.version else ""
    features = f" with {', '.join(platform.features)}" if platform.features else ""
    return f"{platform}{version}{features}"
