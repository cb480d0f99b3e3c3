"""Images in registries, read without their layers: a few kilobytes say what gigabytes are."""

from __future__ import annotations

import json

from envbuilder.model.errors import EnvbuilderError, NetworkError
from envbuilder.model.image import CONFIG_LIMIT, Image, Layer, parse_image
from envbuilder.model.reference import Digest, ImageRef

from .blobs import read_blob
from .client import Client
from .manifests import Descriptor, Manifest, NoImageError, Platform
from .platforms import accepts, select
from .repository import Repository

_DEEPEST = 3  # indexes within indexes


def fetch_image(client: Client, ref: ImageRef, platform: Platform) -> Image:
    """Fetch manifest and config of the image that ``ref`` names, for ``platform``; no layer.

    An index is followed to its manifest. Raises NetworkError if there is no such image, where
    it is for another platform, or if what came is not what was asked for.
    """
    repository = client.repository(ref)
    manifest = find_manifest(repository, ref.digest or ref.tag or "latest", platform)
    image = read_image(repository, manifest)
    _check_platform(image, platform, str(ref))
    return image


def find_manifest(repository: Repository, reference: str | Digest, platform: Platform) -> Manifest:
    """Fetch the manifest for ``platform`` at ``reference``, through indexes if there are any."""
    manifest = repository.manifest(reference)
    for _ in range(_DEEPEST):
        if not manifest.is_index:
            return manifest
        source = f"{repository}@{manifest.digest}"
        manifest = repository.manifest(select(manifest.children, platform, source).digest)
    raise NetworkError(f"{repository}: {reference} is an index of indexes, {_DEEPEST} deep")


def read_image(repository: Repository, manifest: Manifest) -> Image:
    """Fetch the config of ``manifest`` and join the two into an Image; raise NetworkError.

    NoImageError is the kind for documents that came whole, but are no image.
    """
    config = read_blob(repository, manifest.config, limit=CONFIG_LIMIT)
    try:
        return parse_image(manifest.body, config)
    except EnvbuilderError as error:
        raise NoImageError(f"{repository}@{manifest.digest}: {error.message}") from error


def layer_descriptor(layer: Layer) -> Descriptor:
    """Describe a layer's blob."""
    return Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size)


def image_platform(image: Image) -> Platform:
    """Read the platform that an image's config states."""
    config = json.loads(image.config)
    names = (str(config.get(key, "")) for key in ("os", "architecture", "variant"))
    system, architecture, variant = names
    return Platform(os=system, architecture=architecture, variant=variant)


def _check_platform(image: Image, wanted: Platform, source: str) -> None:
    actual = image_platform(image)
    if not accepts(wanted, actual):
        raise NetworkError(
            f"{source} is an image for {actual or 'no stated platform'}, not for {wanted}",
            hint="choose an image for the platform that the spec names",
        )
