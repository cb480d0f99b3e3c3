"""Manifests, indexes and descriptors as values (no I/O); ``platforms`` chooses among them.

Source: OCI image-spec 1.1 ("Content Descriptors", "Image Index Specification"); Docker's manifest
list is the same shape under another name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.model.image import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    canonical_json,
)
from envbuilder.model.reference import Digest
from envbuilder.net.messages import parse_json

MANIFEST_LIMIT = 4 << 20  # bytes; what registries accept
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
_NO_DESCRIPTOR = (
    KeyError, TypeError, ValueError, AttributeError, RecursionError, UsageError
)  # fmt: skip


class NoImageError(NetworkError):
    """What came is whole, by its hash, but is nothing that can be taken for the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Where an image runs, as it is stated; ``version`` and ``features`` are the system's."""

    os: str
    architecture: str
    variant: str = ""
    version: str = ""
    features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse ``OS/ARCHITECTURE[/VARIANT]``; raise UsageError for anything else."""
        parts = text.split("/")
        if len(parts) not in {2, 3} or not all(parts):
            raise UsageError(f"{text!r} is not a platform: expected one like linux/amd64")
        return cls(os=parts[0], architecture=parts[1], variant="".join(parts[2:]))

    def to_json(self) -> dict[str, Any]:
        """Return the platform as OCI writes it."""
        more = {
            "variant": self.variant,
            "os.version": self.version,
            "os.features": list(self.features),
        }
        stated = {key: value for key, value in more.items() if value}
        return {"os": self.os, "architecture": self.architecture, **stated}


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What an index or manifest says of a thing: type, digest, size in bytes, and notes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as OCI writes it."""
        value: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.platform is not None:
            value["platform"] = self.platform.to_json()
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The exact bytes of a manifest or index, and the media type it travels under."""

    body: bytes
    media_type: str

    @property
    def digest(self) -> Digest:
        """The name by content."""
        return Digest.of(self.body)

    @property
    def is_index(self) -> bool:
        """Return whether this lists manifests, and is none itself."""
        return self.media_type in INDEX_TYPES

    @property
    def content(self) -> Mapping[str, Any]:
        """The JSON object that the bytes hold."""
        content: Mapping[str, Any] = json.loads(self.body)
        return content

    @property
    def config(self) -> Descriptor:
        """The descriptor of the config; raises NoImageError if there is none."""
        return parse_descriptor(self.content.get("config"), f"the config of {self.digest}")

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The descriptors of the layers, in order."""
        return _descriptors(self.content.get("layers"), f"the layers of {self.digest}")

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The descriptors that an index lists."""
        return _descriptors(self.content.get("manifests"), f"the manifests of {self.digest}")


def parse_manifest(body: bytes, media_type: str, source: str) -> Manifest:
    """Take the bytes that ``source`` gave as a manifest; raise NetworkError if they are none.

    The document's own ``mediaType`` wins over the header, which may be a proxy's guess.
    """
    content = parse_json(body, source)
    if not isinstance(content, dict) or content.get("schemaVersion") != 2:
        raise NetworkError(f"{source} is not a manifest of schema version 2")
    named = str(content.get("mediaType") or media_type.partition(";")[0].strip())
    if named not in {OCI_MANIFEST, DOCKER_MANIFEST, *INDEX_TYPES}:
        named = OCI_INDEX if "manifests" in content else OCI_MANIFEST
    if "layers" in content and "manifests" in content:
        raise NetworkError(f"{source} claims to be an image and an index at once")
    return Manifest(body=body, media_type=named)


def index_of(children: Iterable[Descriptor]) -> Manifest:
    """Make the OCI index that lists ``children``."""
    content = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [child.to_json() for child in children],
    }
    return Manifest(body=canonical_json(content), media_type=OCI_INDEX)


def parse_descriptor(value: object, what: str) -> Descriptor:
    """Read one descriptor; raise NoImageError that names ``what`` if it is none."""
    try:
        if not isinstance(value, dict):
            raise TypeError("expected an object")
        notes = value.get("annotations") or {}
        place = value.get("platform")
        return Descriptor(
            media_type=_text(value["mediaType"]),
            digest=Digest.parse(value["digest"]),
            size=_size(value["size"]),
            platform=None if place is None else _platform(place),
            artifact_type=_text(value.get("artifactType", "")),
            annotations={_text(key): _text(note) for key, note in notes.items()},
        )
    except _NO_DESCRIPTOR as error:
        raise NoImageError(f"{what}: not a descriptor: {error!r}") from error


def _descriptors(values: object, what: str) -> tuple[Descriptor, ...]:
    if not isinstance(values, list):
        raise NoImageError(f"{what}: expected a list of descriptors")
    return tuple(parse_descriptor(value, what) for value in values)


def _text(value: object) -> str:
    """Return a text that can be written again: JSON can spell half a character."""
    text = str(value)
    text.encode()
    return text


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"size {value!r} is not a number of bytes")
    return value


def _platform(value: Mapping[str, Any]) -> Platform:
    return Platform(
        os=_text(value.get("os", "")),
        architecture=_text(value.get("architecture", "")),
        variant=_text(value.get("variant", "")),
        version=_text(value.get("os.version", "")),
        features=tuple(_text(each) for each in value.get("os.features") or ()),
    )
