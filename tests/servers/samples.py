"""Small images, made anew by every test that wants one."""

import gzip
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence

from envbuilder.model.image import (
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    Image,
    Layer,
    canonical_json,
    parse_image,
)
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store


def noise(size: int, seed: int = 0) -> bytes:
    """Make bytes that no compressor shrinks, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Make a plain tar of ``files``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def layer_of(store: Store, files: Mapping[str, bytes], title: str = "") -> Layer:
    """Put a gzipped layer of ``files`` into ``store``."""
    plain = tar_of(files)
    blob = gzip.compress(plain, compresslevel=1, mtime=0)
    digest = store.add(blob)
    return Layer(digest=digest, size=len(blob), diff_id=Digest.of(plain), title=title)


def image_of(
    layers: Sequence[Layer],
    *,
    settings: Mapping[str, object] | None = None,
    architecture: str = "amd64",
) -> Image:
    """Join layers into an image whose ``config`` member is ``settings``."""
    config = canonical_json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": dict(settings or {"Env": ["PATH=/bin"]}),
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
            "history": [{"created_by": layer.title or "test"} for layer in layers],
        }
    )
    return parse_image(manifest_of(config, layers), config)


def manifest_of(config: bytes, layers: Sequence[Layer]) -> bytes:
    """Write the manifest that joins ``config`` and ``layers``."""
    return canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": OCI_CONFIG,
                "digest": str(Digest.of(config)),
                "size": len(config),
            },
            "layers": [
                {"mediaType": OCI_LAYER_GZIP, "digest": str(layer.digest), "size": layer.size}
                for layer in layers
            ],
        }
    )


def small_image(store: Store, *, layers: int = 3, size: int = 2000, seed: int = 0) -> Image:
    """Make an image of ``layers`` layers with one file of ``size`` random bytes each."""
    made = [
        layer_of(store, {f"file-{number}": noise(size, seed * 1000 + number)}, f"layer {number}")
        for number in range(layers)
    ]
    return image_of(made)


def config_json(image: Image) -> dict:
    """Give an image's config as a fresh dict, to be changed and joined again."""
    content: dict = json.loads(image.config)
    return content
