"""OCI image layouts: a folder or one tar archive that any tool can take an image from.

Source: OCI image-spec 1.1, "Image Layout". Archives also carry Docker's older ``manifest.json``,
so that ``docker load`` of any age reads them. Blobs are copies, never links: who writes to a
layout shall not reach the store. Each is what its digest says, or the export fails.
"""

from __future__ import annotations

import io
import stat
import tarfile
from pathlib import Path

from envbuilder.model.codec import any_json
from envbuilder.model.errors import EnvbuilderError, UsageError
from envbuilder.model.image import CONFIG_LIMIT, OCI_INDEX, Image, canonical_json, parse_image
from envbuilder.model.owner import give_all, make_folder
from envbuilder.model.progress import Progress, Step
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated, work_folder

_EPOCH = 946684800  # 2000-01-01, as in every layer
_CURE = ("or write elsewhere", "or write elsewhere")


def export(image: Image, store: Store, target: str, *, name: str, progress: Progress) -> Path:
    """Write ``image`` to ``target`` (``oci:DIR`` or ``PATH.tar``), whole or not at all.

    ``name`` becomes the reference in the index ("omni-cpu:latest"). Raises UsageError for another
    kind of target or one that exists with other content, BuildError if a layer is missing or
    damaged or writing fails.
    """
    path = check_target(target)
    total = sum(layer.size for layer in image.layers)
    write = _write_folder if target.startswith("oci:") else _write_archive
    place = path.resolve()  # a link goes on leading there
    with translated(path, cure=_CURE):
        make_folder(place.parent)
        with (
            progress.step("export", str(path), total=total) as step,
            work_folder(f".{place.name}", place.parent) as work,
        ):
            write(image, store, work / "image", name, step)
            give_all(work)
            _replace(place, work)
    return path


def _replace(path: Path, work: Path) -> None:
    """Put ``work/image`` in the place of ``path``: what is there steps aside first, in one piece.

    So a kill leaves the old image, the new one or, for a moment between two renames, none; never
    half a layout, that nothing would dare to replace. The next export clears ``work`` away.
    """
    if path.is_dir():
        path.rename(work / "old")
    (work / "image").rename(path)


def check_target(target: str) -> Path:
    """Return the path of an image ``target``; raise UsageError if no image may go there."""
    path = Path(target.removeprefix("oci:"))
    if target.startswith("oci:"):
        if path.exists() and not _replaceable(path):
            raise UsageError(
                f"{path} exists and is no OCI layout of one image", hint="name an empty folder"
            )
    elif not target.endswith(".tar"):
        raise UsageError(f"{target!r} is no image target", hint="use oci:DIR or PATH.tar")
    elif path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"say oci:{path}, or name a file")
    return path


def _replaceable(path: Path) -> bool:
    """Return whether nothing is lost where a new layout takes the place of ``path``."""
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    if not names:
        return True
    try:
        images = any_json(_document(path / "index.json"))["manifests"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return names == {"oci-layout", "index.json", "blobs"} and len(images) == 1


def load(path: Path, platform: str, *, name: str = "") -> tuple[Image, Path]:
    """Read the image in the layout folder ``path`` and where its blobs lie.

    An index with several images is searched for ``platform`` ("linux/amd64"). Every document that
    is read is checked against its digest. Raises UsageError if ``path``, which people know as
    ``name``, holds no such image.
    """
    shown = name or str(path)
    try:
        index = any_json(_document(path / "index.json"))
        blobs = path / "blobs" / "sha256"
        entry = _choose(index, blobs, platform)
        manifest = _read(blobs, entry["digest"])
        config = _read(blobs, any_json(manifest)["config"]["digest"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{shown} is not an OCI image layout: {error}") from error
    try:
        return parse_image(manifest, config), blobs
    except EnvbuilderError as error:
        raise UsageError(f"{shown}: {error.message}") from error


def _choose(index: dict[str, object], blobs: Path, platform: str, depth: int = 0) -> dict[str, str]:
    entries = index["manifests"]
    if not isinstance(entries, list) or not entries or depth > 3:
        raise ValueError("its index lists no image")
    os_name, _, architecture = platform.partition("/")
    fits = [
        entry
        for entry in entries
        if not isinstance(found := entry.get("platform"), dict)
        or (found.get("os") == os_name and found.get("architecture") == architecture)
    ]
    if not fits:
        raise ValueError(f"its index has no image for {platform}")
    chosen: dict[str, str] = fits[0]
    if chosen["mediaType"].endswith(("index.v1+json", "manifest.list.v2+json")):
        nested = any_json(_read(blobs, chosen["digest"]))
        return _choose(nested, blobs, platform, depth + 1)
    return chosen


def _read(blobs: Path, digest: str) -> bytes:
    expected = Digest.parse(digest)
    data = _document(blobs / expected.hex)
    if Digest.of(data) != expected:
        raise ValueError(f"blob {expected} holds other bytes")
    return data


def _document(path: Path) -> bytes:
    """Read a document of a layout; raise ValueError for what is no file, or is far too large."""
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise ValueError(f"{path.name} is no file")
    if state.st_size > CONFIG_LIMIT:
        raise ValueError(f"{path.name} has {state.st_size} bytes, more than {CONFIG_LIMIT}")
    return path.read_bytes()


def _index(image: Image, name: str) -> bytes:
    entry = {
        "mediaType": image.media_type,
        "digest": str(image.digest),
        "size": len(image.manifest),
        "annotations": {
            "io.containerd.image.name": str(ImageRef.parse(name)),  # as Docker looks it up
            "org.opencontainers.image.ref.name": name,
        },
    }
    return canonical_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})


def _documents(image: Image, name: str) -> dict[str, bytes]:
    return {
        f"blobs/sha256/{image.config_digest.hex}": image.config,
        f"blobs/sha256/{image.digest.hex}": image.manifest,
        "index.json": _index(image, name),
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
    }


def _write_folder(image: Image, store: Store, folder: Path, name: str, step: Step) -> None:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for digest, layer in {layer.digest: layer for layer in image.layers}.items():
        store.copy(digest, folder / "blobs" / "sha256" / digest.hex)
        step.advance(layer.size)
    for relative, content in _documents(image, name).items():
        (folder / relative).write_bytes(content)


def _write_archive(image: Image, store: Store, path: Path, name: str, step: Step) -> None:
    documents = _documents(image, name)
    documents["manifest.json"] = canonical_json(
        [
            {
                "Config": f"blobs/sha256/{image.config_digest.hex}",
                "RepoTags": [name],
                "Layers": [f"blobs/sha256/{layer.digest.hex}" for layer in image.layers],
            }
        ]
    )
    blobs = {f"blobs/sha256/{layer.digest.hex}": layer for layer in image.layers}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for relative in sorted({*documents, *blobs}):
            if relative in documents:
                content = documents[relative]
                archive.addfile(_member(relative, len(content)), io.BytesIO(content))
            else:
                layer = blobs[relative]
                with store.open(layer.digest) as stream:
                    archive.addfile(_member(relative, layer.size), stream)
                    stream.read(1)  # the end, where a damaged blob shows
                step.advance(layer.size)


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mtime = _EPOCH
    return info
