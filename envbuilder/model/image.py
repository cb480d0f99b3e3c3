"""An OCI image as a value: its manifest, config and layers, without any I/O.

Source: OCI image-spec 1.1 ("Image Manifest", "Image Configuration"); Docker's schema 2 types are
read as well, since base images still use them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .codec import any_json
from .errors import EnvbuilderError
from .image_settings import settings_of
from .layer_kind import LayerKind, kind_of
from .reference import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG_LIMIT = 8 << 20
"""Bytes of a config, the largest of an image's documents; registries take manifests of half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: ``digest`` and ``size`` (bytes) of the blob, ``diff_id`` of its plain tar.

    ``title`` is for people ("torch 2.6.0"); it goes into the config's history. ``inputs`` are the
    digests (or names) of what the layer was made from, known only to who made it. ``kind`` and
    ``bucket`` (the number of a layer of small packages, from 1) are in a seal; in an image, the
    title tells the kind.
    """

    digest: Digest
    size: int
    diff_id: Digest
    media_type: str = OCI_LAYER_GZIP
    title: str = ""
    inputs: tuple[str, ...] = ()
    kind: LayerKind | None = field(default=None, compare=False, repr=False)
    bucket: int | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind is None:
            object.__setattr__(self, "kind", kind_of(self.title))


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A single-platform image; ``manifest`` and ``config`` are the exact bytes that are hashed."""

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]
    media_type: str = OCI_MANIFEST

    @property
    def digest(self) -> Digest:
        """The manifest's digest: the image's name by content."""
        return Digest.of(self.manifest)

    @property
    def config_digest(self) -> Digest:
        """The config's digest, which Docker calls the image ID."""
        return Digest.of(self.config)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The ``config`` member of the config: Env, Entrypoint, Cmd, User, WorkingDir, Labels.

        What was read by :func:`parse_image` has the types that the specification says.
        """
        return settings_of(self.config)


def canonical_json(value: object) -> bytes:
    """Encode ``value`` the one way that this project hashes JSON: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def compose(
    layers: tuple[Layer, ...],
    *,
    platform: str,
    settings: Mapping[str, Any] | None = None,
    created: str | None = None,
) -> Image:
    """Make one image of ``layers``, for a ``platform`` such as ``linux/amd64``.

    With ``created`` (RFC 3339) the config dates the image, and its history names every layer.
    """
    system, _, architecture = platform.partition("/")
    history = [{"created": created, "created_by": layer.title} for layer in layers]
    config = canonical_json(
        {
            "architecture": architecture,
            "config": dict(settings or {}),
            "os": system,
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
            **({"created": created, "history": history} if created else {}),
        }
    )
    place = {"mediaType": OCI_CONFIG, "digest": str(Digest.of(config)), "size": len(config)}
    described = [
        {"mediaType": layer.media_type, "digest": str(layer.digest), "size": layer.size}
        for layer in layers
    ]
    manifest = canonical_json(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": place, "layers": described}
    )
    return Image(manifest=manifest, config=config, layers=layers)


def recompressed(
    image: Image, layers: Sequence[Layer], annotations: Sequence[Mapping[str, str]]
) -> Image:
    """Return ``image`` with ``layers`` in the place of its own, which hold the very same tars.

    The config stays as it is. The manifest is OCI's, since Docker's has no types for all of them.
    """
    described = [
        {
            "mediaType": layer.media_type,
            "digest": str(layer.digest),
            "size": layer.size,
            **({"annotations": dict(notes)} if notes else {}),
        }
        for layer, notes in zip(layers, annotations, strict=True)
    ]
    head = json.loads(image.manifest)
    place = {**head["config"], "mediaType": OCI_CONFIG}
    head |= {"mediaType": OCI_MANIFEST, "config": place, "layers": described}
    return Image(manifest=canonical_json(head), config=image.config, layers=tuple(layers))


def parse_image(manifest: bytes, config: bytes) -> Image:
    """Read a manifest and its config (exact bytes) into an :class:`Image`.

    Raises EnvbuilderError if the two do not belong together or are not what they claim.
    """
    try:
        head = any_json(manifest)
        body = any_json(config)
        config_digest = Digest.parse(head["config"]["digest"])
        diff_ids = [Digest.parse(text) for text in body["rootfs"]["diff_ids"]]
        titles = [
            str(entry.get("created_by", ""))
            for entry in body.get("history", [])
            if not entry.get("empty_layer")
        ]
        if len(titles) != len(diff_ids):
            titles = [""] * len(diff_ids)
        layers = tuple(
            Layer(
                digest=Digest.parse(entry["digest"]),
                size=int(entry["size"]),
                diff_id=diff_id,
                media_type=str(entry["mediaType"]),
                title=title,
            )
            for entry, diff_id, title in zip(head["layers"], diff_ids, titles, strict=True)
        )
        media_type = str(head.get("mediaType", OCI_MANIFEST))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:
        raise EnvbuilderError(f"not an image manifest with its config: {error!r}") from error
    if config_digest != Digest.of(config):
        raise EnvbuilderError(f"the manifest names config {config_digest}, not this one")
    settings_of(config)
    return Image(manifest=manifest, config=config, layers=layers, media_type=media_type)
