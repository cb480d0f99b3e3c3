"""A sealed image in a registry in memory, to be tampered with, and verified."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.keys import new_key, read_private, read_public
from envbuilder.evidence.verify.findings import Level, Verdict
from envbuilder.evidence.verify.policy import Policy
from envbuilder.evidence.verify.remote import verify
from envbuilder.model.image import OCI_INDEX, OCI_MANIFEST, Image, canonical_json
from envbuilder.model.image_config import image_settings
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.storage.store import Store

from .locks import sealed, small_lock
from .memory import Memory
from .samples import config_json, image_of, layer_of
from .scripted import scripted

LOCK = small_lock()
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}


@dataclass(kw_only=True)
class Attacked:
    """The sealed ``image`` lies under the tag ``v1``; what is put there next is what counts."""

    memory: Memory
    client: Client
    store: Store
    folder: Path
    ref: ImageRef
    image: Image
    lock: Lock
    keys: dict[str, tuple] = field(default_factory=dict)

    def reset(self) -> None:
        """Leave the sealed image under ``v1``, and nothing else."""
        self.memory.manifests.clear()
        self.memory.blobs.clear()
        self.hold(self.image)
        self.tag(self.image.manifest)

    @property
    def repository(self):
        return self.client.repository(self.ref)

    def key(self, name: str = "mine"):
        """Return the private and public key of that name, made when first asked for."""
        if name not in self.keys:
            private, public = new_key(self.folder / name)
            self.keys[name] = read_private(str(private), {}), read_public(str(public))
        return self.keys[name]

    def blob(self, data: bytes) -> dict[str, Any]:
        """Put a blob into the registry; give its digest and size as a descriptor has them."""
        self.memory.blobs[str(Digest.of(data))] = data
        return {"digest": str(Digest.of(data)), "size": len(data)}

    def tag(self, body: bytes, name: str = "v1") -> dict[str, Any]:
        """Put a manifest under a tag and its digest; describe it."""
        self.memory.manifests[name] = self.memory.manifests[str(Digest.of(body))] = body
        return {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(body)), "size": len(body)}

    def hold(self, image: Image) -> dict[str, Any]:
        """Put an image's documents and layers into the registry; describe its manifest."""
        for layer in image.layers:
            self.blob(self.store.read(layer.digest))
        self.blob(image.config)
        return self.tag(image.manifest, "elsewhere")

    def manifest(self, change: Callable[[dict], object]) -> None:
        """Tag the sealed manifest as ``change`` leaves it."""
        content = json.loads(self.image.manifest)
        change(content)
        self.tag(canonical_json(content))

    def config(self, change: Callable[[dict], object]) -> None:
        """Tag the sealed image with its config as ``change`` leaves it."""
        config = config_json(self.image)
        change(config)
        self.manifest(lambda content: content["config"].update(self.blob(canonical_json(config))))

    def index(self, *children: dict[str, Any], **more: Any) -> None:
        """Tag an index of ``children``."""
        content = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(children), **more}
        self.tag(canonical_json(content))

    def evil(self) -> dict[str, Any]:
        """Hold another image that runs something else; describe it."""
        layer = layer_of(self.store, {"opt/evil": b"#!/bin/sh\n"}, "evil")
        return self.hold(image_of([layer], settings={"Entrypoint": ["/opt/evil"]}))

    def good(self) -> dict[str, Any]:
        """Describe the sealed image."""
        return self.hold(self.image)

    def layer(self, number: int, data: bytes, media_type: str, **more: Any) -> None:
        """Tag the sealed manifest with another blob as its layer ``number`` from 0."""
        entry = {"mediaType": media_type, **self.blob(data), **more}
        self.manifest(lambda content: content["layers"].__setitem__(number, entry))

    def verify(
        self, level: Level = Level.CONTENT, policy: Policy | None = None, **more: Any
    ) -> Verdict:
        """Verify ``v1``, with my key where evidence is asked for."""
        keyring = Keyring.of(self.key()[1]) if level >= Level.EVIDENCE else None
        return verify(
            self.client, self.ref, self.lock, level=level, progress=Silent(), policy=policy,
            **{"keyring": keyring, **more},
        )  # fmt: skip


@contextlib.contextmanager
def attacked(folder: Path) -> Iterator[Attacked]:
    """Serve the sealed image on loopback."""
    memory = Memory()
    store = Store(folder / "store")
    layers = [layer_of(store, {f"opt/file-{n}": bytes([n]) * 100}, f"layer {n}") for n in range(4)]
    image = image_of(layers, settings=image_settings(LOCK, {}))
    settings = Settings(backoff=0.001, attempts=2)
    with (
        scripted(memory.respond) as server,
        Client(settings, docker_config=folder / "none.json") as client,
    ):
        world = Attacked(
            memory=memory,
            client=client,
            store=store,
            folder=folder,
            ref=ImageRef.parse(f"{server.host}/app:v1"),
            image=image,
            lock=sealed(LOCK, image),
        )
        world.reset()
        yield world
