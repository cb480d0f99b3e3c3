"""The documents under a ``.att`` or ``.sig`` tag: to cosign, an image whose layers they are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from envbuilder.model.image import OCI_CONFIG, OCI_MANIFEST, canonical_json
from envbuilder.model.reference import Digest
from envbuilder.net.messages import MissingError
from envbuilder.registry.blobs import read_blob
from envbuilder.registry.manifests import Descriptor, Manifest, NoImageError
from envbuilder.registry.repository import ForbiddenError, Repository
from envbuilder.registry.uploads import put_bytes

DOCUMENT_LIMIT = 16 << 20  # bytes of one envelope, of which a bill of materials is the largest
_KEPT = 8 << 20  # bytes of documents that are kept, not to be fetched twice


class Tagged:
    """What stands under ``tag`` in ``repository``.

    ``digest`` is that of the manifest there, None without one. What a stranger put there in its
    place has no ``layers``.
    """

    def __init__(self, repository: Repository, tag: str) -> None:
        self.tag = tag
        self.digest: Digest | None = None
        self.layers: tuple[Descriptor, ...] = ()
        self._repository = repository
        self._kept: dict[Digest, bytes] = {}
        self._room = _KEPT
        with suppress(MissingError, ForbiddenError, NoImageError):
            manifest = repository.manifest(tag)
            self.digest = manifest.digest
            self.layers = () if manifest.is_index else manifest.layers

    def document(self, layer: Descriptor) -> bytes | None:
        """Fetch a document, if it is there and not longer than any of ours can be."""
        if layer.digest in self._kept:
            return self._kept[layer.digest]
        found = read_document(self._repository, layer)
        if found is not None and len(found) <= self._room:
            self._kept[layer.digest] = found
            self._room -= len(found)
        return found

    def put(self, layers: Sequence[Descriptor]) -> Digest:
        """Have ``layers`` stand there, and nothing else; return the digest of that manifest."""
        moment = "0001-01-01T00:00:00Z"  # what cosign writes where no time is meant
        config = canonical_json(
            {
                "architecture": "",
                "config": {},
                "created": moment,
                "history": [{"created": moment} for _ in layers],
                "os": "",
                "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layers]},
            }
        )
        content = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": put_bytes(self._repository, config, OCI_CONFIG, new=True).to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        manifest = Manifest(body=canonical_json(content), media_type=OCI_MANIFEST)
        return self._repository.put_manifest(manifest, self.tag)


def read_document(repository: Repository, layer: Descriptor) -> bytes | None:
    """Fetch a document, if it is there and not longer than any of ours can be."""
    if layer.size > DOCUMENT_LIMIT:
        return None
    try:
        return read_blob(repository, layer, limit=DOCUMENT_LIMIT)
    except MissingError:  # listed still, but deleted: as good as never attached
        return None
