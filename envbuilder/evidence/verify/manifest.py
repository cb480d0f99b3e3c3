"""Say where a manifest that is not the sealed one differs in more than harmless ways (pure).

Harmless, and nothing else is: another digest, size and compression of a layer, since its content is
then read; the family of media types, OCI's or Docker's, as long as it is one; and the notes named
below, which no puller acts on. Anything more (addresses to fetch from, a type of artifact, a
subject, old layer lists, tables of contents that lazy pullers trust, fields that we do not know)
is a mismatch, also beside blobs that are sealed. Only tables of ``zstd:chunked`` can be proven.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from envbuilder.model.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_TAR,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Layer,
)
from envbuilder.model.seal import Seal
from envbuilder.registry.manifests import Descriptor, Manifest

from . import tables
from .findings import Finding, FindingStatus, Level

_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_FAMILIES = {
    OCI_MANIFEST: (OCI_CONFIG, {OCI_LAYER_TAR, OCI_LAYER_GZIP, OCI_LAYER_ZSTD}),
    DOCKER_MANIFEST: (DOCKER_CONFIG, {_DOCKER_LAYER, DOCKER_LAYER_GZIP, f"{_DOCKER_LAYER}.zstd"}),
}
"""Types of the config and of layers that go with a type of manifest."""

_MEMBERS = {"schemaVersion", "mediaType", "config", "layers", "annotations"}
_CONFIG = {"mediaType", "digest", "size"}
_LAYER = {"mediaType", "digest", "size", "annotations"}
_PREFIX = "org.opencontainers.image."
_NOTES = frozenset(  # the image spec's own, which are for people
    _PREFIX + name
    for name in (
        "created", "authors", "url", "documentation", "source", "version", "revision", "vendor",
        "licenses", "ref.name", "title", "description", "base.digest", "base.name",
    )
)  # fmt: skip


def compare_manifest(seal: Seal, manifest: Manifest) -> Iterator[Finding]:
    """Find what a manifest says beyond what its sealed twin says; raise NetworkError for none."""
    if manifest.digest in seal.manifests:
        return
    for fault in _faults(seal, manifest):
        yield Finding(
            level=Level.CONTENT,
            subject="manifest",
            status=FindingStatus.MISMATCH,
            explanation=fault,
        )


def _faults(seal: Seal, manifest: Manifest) -> Iterator[str]:
    content, config, layers = manifest.content, manifest.config, manifest.layers
    yield from type_faults(manifest)
    yield from foreign_members(content, _MEMBERS, "it")
    yield from foreign_notes(content.get("annotations"), "it")
    yield from foreign_members(content["config"], _CONFIG, "its config")
    config_type, layer_types = _FAMILIES[manifest.media_type]
    if config.media_type != config_type:
        yield f"its config is of type {config.media_type!r}, not {config_type}"
    sealed = {layer.digest: layer for layer in seal.layers}
    for number, (layer, entry) in enumerate(zip(layers, content["layers"], strict=True), start=1):
        what = f"its layer {number}"
        yield from foreign_members(entry, _LAYER, what)
        # A table of contents is read, and compared with the tar, where the blob is.
        table = compression(layer.media_type) == "zstd" and layer.digest not in sealed
        yield from foreign_notes(entry.get("annotations"), what, tables.NOTES if table else ())
        if table:
            yield from _table_faults(layer, what)
        if layer.media_type not in layer_types:
            yield f"{what} is of type {layer.media_type!r}, which does not go with the manifest's"
        if layer.digest in sealed:
            yield from _blob_faults(sealed[layer.digest], layer, what)


def _table_faults(layer: Descriptor, what: str) -> Iterator[str]:
    try:
        tables.table_note(layer.annotations)
    except ValueError as error:
        yield f"{what} {error}"


def _blob_faults(sealed: Layer, stated: Descriptor, what: str) -> Iterator[str]:
    """Find what is said otherwise of a sealed blob, whose bytes are known."""
    if stated.size != sealed.size:
        yield f"{what} is given {stated.size} bytes, but has {sealed.size}"
    if compression(stated.media_type) != compression(sealed.media_type):
        yield f"{what} is called {stated.media_type!r}, but is sealed as {sealed.media_type!r}"


def compression(media_type: str) -> str:
    """Return how a layer of this type is packed: ``gzip``, ``zstd``, or nothing for a plain tar."""
    return next((kind for kind in ("gzip", "zstd") if media_type.endswith(kind)), "")


def type_faults(manifest: Manifest) -> Iterator[str]:
    """Find where a document names a type that it is not; only OCI's may leave it out."""
    stated = manifest.content.get("mediaType", manifest.media_type if _is_oci(manifest) else None)
    if stated != manifest.media_type:
        yield f"it says that its type is {stated!r}, but is read as {manifest.media_type}"


def _is_oci(manifest: Manifest) -> bool:
    return manifest.media_type in {OCI_MANIFEST, OCI_INDEX}


def foreign_members(value: Mapping[str, Any], known: set[str], what: str) -> Iterator[str]:
    """Name the members of a document that an image of ours does not have."""
    for name in sorted(value.keys() - known):
        yield f"{what} has {name!r}, which the sealed one has not"


def foreign_notes(notes: object, what: str, proven: Collection[str] = ()) -> Iterator[str]:
    """Name the annotations that someone may act on: but for those for people, and ``proven``."""
    if notes is None:
        return
    if not isinstance(notes, dict):
        yield f"{what} has annotations that are none"
        return
    for name in sorted(notes.keys() - _NOTES - set(proven)):
        yield f"{what} is annotated with {name!r}, which a puller may trust"
