"""Move a registry's tag to a known-good image, and write that into the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from envbuilder.errors import BuildError, UsageError
from envbuilder.image import Image, parse_image
from envbuilder.layers.store import Store
from envbuilder.ledger import Entry, append, last_good, ledger_path, now, read
from envbuilder.progress import Progress
from envbuilder.reference import Digest, ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.transfer import push


def promote(
    spec_path: Path,
    wanted: Entry | None,
    target: ImageRef,
    *,
    client: Client,
    store: Store,
    progress: Progress,
) -> Entry:
    """Let ``target`` (with a tag) name the image of ``wanted``, or of the last good build.

    Where the registry has the image already, only the tag moves. Raises UsageError where the build
    is not known to be good, BuildError where the store has lost the image, NetworkError.
    """
    path = ledger_path(spec_path)
    entries, _ = read(path)
    entry = wanted or last_good(entries)
    if entry is None or not entry.good:
        raise UsageError(
            f"{spec_path.stem} has no such build that is known to be good",
            hint=f"envbuilder build {spec_path.stem}",
        )
    push(client, _image(store, entry.image), store, target, progress)
    append(path, replace(entry, time=now(), event="promote", note=f"as {target}"))
    return entry


def _image(store: Store, digest: Digest) -> Image:
    if not store.has(digest):
        raise BuildError(
            f"the image {digest} is no longer in the store {store.root}",
            hint="envbuilder rollback NAME ENTRY, then build: the lock gives the same image",
        )
    manifest = store.read(digest)
    config = Digest.parse(json.loads(manifest)["config"]["digest"])
    return parse_image(manifest, store.read(config))
