"""What a system has installed by dpkg, read from the documents of its layers.

A layer is read once for that; the store remembers it by the layer's ``diff_id``.
Formats: deb-control(5), os-release(5), DEP 5 (machine-readable copyright files).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from envbuilder.model.image import Layer
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from .untar import Untar, untar

_KIND = "system-packages"
_STATUS = re.compile(r"var/lib/dpkg/(?:status|status\.d/[^/.]+)")
_COPYRIGHT = re.compile(r"usr/share/doc/([^/]+)/copyright")
_RELEASE = re.compile(r"(?:etc|usr/lib)/os-release")
_LIMIT = 24 << 20  # bytes of one document, of which a large Debian's dpkg status is the largest
_FORMAT = re.compile(r"^Format(?:-Specification)?:", re.MULTILINE)
_LICENSE = re.compile(r"^License:[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")
_REBUILT = re.compile(r"\+b\d+$")


class DebInstalled(Struct, frozen=True, kw_only=True, order=True):
    """One package of dpkg's; ``source`` is what it was built from, of ``source_version``."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str


class SystemFacts(Struct, frozen=True, kw_only=True):
    """What a layer says: ``release`` is os-release's ID and VERSION_ID, empty if it has none.

    ``debs`` is None where the layer has no dpkg database; ``licenses`` are the lines of each
    package's machine-readable copyright file, as they stand there.
    """

    release: tuple[str, str] = ("", "")
    debs: tuple[DebInstalled, ...] | None = None
    licenses: dict[str, tuple[str, ...]] = {}

    def under(self, upper: SystemFacts) -> SystemFacts:
        """Return what the two say where ``upper`` lies on this layer."""
        return SystemFacts(
            release=upper.release if upper.release[0] else self.release,
            debs=self.debs if upper.debs is None else upper.debs,
            licenses=self.licenses | upper.licenses,
        )


def is_system_document(path: str) -> bool:
    """Return whether ``path`` (relative to the root) tells of the system's packages."""
    return any(each.fullmatch(path) for each in (_STATUS, _COPYRIGHT, _RELEASE))


def system_facts(documents: Mapping[str, bytes]) -> SystemFacts:
    """Read the documents of one layer, by path."""
    texts = {path: data.decode(errors="replace") for path, data in sorted(documents.items())}
    status = [text for path, text in texts.items() if _STATUS.fullmatch(path)]
    licenses = {
        match[1]: found
        for path, text in texts.items()
        if (match := _COPYRIGHT.fullmatch(path)) and (found := _licenses(text))
    }
    releases = [_release(text) for path, text in texts.items() if _RELEASE.fullmatch(path)]
    return SystemFacts(
        release=next(filter(any, releases), ("", "")),
        debs=tuple(sorted({deb for text in status for deb in _debs(text)})) if status else None,
        licenses=licenses,
    )


def remember(store: Store, diff_id: Digest, facts: SystemFacts) -> None:
    """Keep what a layer says, for whoever asks :func:`facts_in_store`."""
    store.put_record(_KIND, str(diff_id), facts)


def facts_in_store(store: Store, layers: Iterable[Layer]) -> SystemFacts | None:
    """Return what ``layers``, the lowest first, say together; None if one of them is not there.

    Raises BuildError for a layer that is damaged.
    """
    whole = SystemFacts()
    for layer in layers:
        facts = store.record(_KIND, str(layer.diff_id), SystemFacts)
        if facts is None:
            if not store.has(layer.digest):
                return None
            with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
                facts = read_facts(tar)
            remember(store, layer.diff_id, facts)
        whole = whole.under(facts)
    return whole


def read_facts(tar: Untar) -> SystemFacts:
    """Read a layer to its end; raise BuildError for one whose documents are too long."""
    documents = {}
    for entry in tar.entries():
        path = "/".join(part for part in entry.info.name.split("/") if part not in {"", "."})
        if entry.info.isreg() and is_system_document(path):
            tar.budget.hold(path, entry.info.size, limit=_LIMIT)
            documents[path] = b"".join(tar.content())
    return system_facts(documents)


def source_version_of(version: str) -> str:
    """Return the version of the source that a binary package of ``version`` is a rebuild of."""
    return _REBUILT.sub("", version)


def _debs(status: str) -> Iterator[DebInstalled]:
    for stanza in status.split("\n\n"):
        found = re.findall(r"^([A-Za-z-]+): (.*)$", stanza, re.MULTILINE)
        fields: dict[str, str] = dict(found)
        installed = fields.get("Status", "install ok installed").endswith(" ok installed")
        if installed and "Package" in fields and "Version" in fields:
            yield _deb(fields)


def _deb(fields: Mapping[str, str]) -> DebInstalled:
    name, version = fields["Package"], fields["Version"]
    source = _SOURCE.match(fields.get("Source", name))
    stated = source[2] if source else None  # only where it differs from the package's
    return DebInstalled(
        name=name,
        version=version,
        architecture=fields.get("Architecture", ""),
        source=source[1] if source else name,
        source_version=stated or source_version_of(version),
    )


def _licenses(copyright_file: str) -> tuple[str, ...]:
    """Return the licences that a machine-readable copyright file names, each once, sorted."""
    if not _FORMAT.search(copyright_file[:1000]):
        return ()
    return tuple(sorted({" ".join(line.split()) for line in _LICENSE.findall(copyright_file)}))


def _release(text: str) -> tuple[str, str]:
    fields = dict(re.findall(r"^(ID|VERSION_ID)=[\"']?([^\"'\n]*)[\"']?$", text, re.MULTILINE))
    return fields.get("ID", ""), fields.get("VERSION_ID", "")
