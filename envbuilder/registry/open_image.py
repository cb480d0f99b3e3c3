"""Open an image wherever it is: a layout folder, an archive, Docker, or a registry.

Only manifest and config are read at once; layers are read when they are asked for.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from envbuilder.layers.bounds import Budget, most_content
from envbuilder.layers.contents import Contents, scan, stacked
from envbuilder.layers.packed import DAMAGES as PACKED_DAMAGES
from envbuilder.layers.packed import unpacked
from envbuilder.layers.untar import DAMAGES, SparseFileError, Untar, untar
from envbuilder.model.errors import BuildError, MissingToolError, UsageError
from envbuilder.model.image import Image, Layer
from envbuilder.model.progress import Progress
from envbuilder.model.reference import ImageRef
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated

from .client import Client
from .images import fetch_image
from .layout import load
from .manifests import Platform
from .repository import Repository
from .streams import scan_layer
from .transfer import pull_layers

_DAMAGES: tuple[type[Exception], ...] = (*DAMAGES, *PACKED_DAMAGES, SparseFileError)
_DOCKER = "docker:"
_LAYOUT_FILE = re.compile(r"index\.json|blobs/sha256/[0-9a-f]{64}")
_LAYOUT = "oci:"
_MEMBERS = 4_000
"""Members of an image archive; an image has 127 layers at the most, and few have many platforms."""


class ScanLayer(Protocol):
    """Says what is in a layer; ``within`` is what is left for its image."""

    def __call__(
        self, layer: Layer, *, hashed: bool = False, within: Budget | None = None
    ) -> Contents:
        """Read the layer to its end, ``hashed`` as in ``contents.scan``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedImage:
    """An image, and how to look into its layers; ``name`` is what the user called it.

    ``bring_layers`` puts those into a store that it lacks, so that a runtime can run the image.
    """

    name: str
    image: Image
    scan_layer: ScanLayer
    bring_layers: Callable[[Store, Progress], None]

    def contents(self, progress: Progress, *, hashed: bool = False) -> Contents:
        """Read all layers, and say what the whole shows; ``hashed`` as in ``contents.scan``."""
        return stacked(self.read_layers(progress, hashed=hashed))

    def read_layers(self, progress: Progress, *, hashed: bool = False) -> list[Contents]:
        """Read each layer, the lowest first."""
        layers = []
        budget = Budget.of_image(self.name, sum(layer.size for layer in self.image.layers))
        for layer in self.image.layers:
            title = layer.title or str(layer.digest)
            with progress.step("read", title, total=layer.size) as step:
                layers.append(self.scan_layer(layer, hashed=hashed, within=budget))
                step.advance(layer.size)
        return layers


@contextmanager
def open_image(
    where: str, platform: str, *, store: Store, registries: Client
) -> Iterator[OpenedImage]:
    """Open ``oci:DIR``, ``PATH.tar``, ``docker:NAME`` or a registry's ``HOST/NAME:TAG``.

    Archives are unpacked into the store's scratch space. Raises UsageError if there is no such
    image, NetworkError, MissingToolError.
    """
    if where.startswith(_LAYOUT):
        yield _in_layout(where, Path(where.removeprefix(_LAYOUT)), platform)
    elif where.startswith(_DOCKER):
        with store.scratch() as folder:
            _save(where.removeprefix(_DOCKER), folder)
            yield _in_layout(where, folder, platform)
    elif where.endswith(".tar"):
        with store.scratch() as folder:
            _unpack_file(Path(where), folder)
            yield _in_layout(where, folder, platform)
    else:
        ref = ImageRef.parse(where)
        image = fetch_image(registries, ref, Platform.parse(platform))
        yield in_registry(registries.repository(ref), image)


def in_registry(repository: Repository, image: Image) -> OpenedImage:
    """Open an image in a registry; its layers are streamed, and stored nowhere."""
    return OpenedImage(
        name=f"{repository}@{image.digest}",
        image=image,
        scan_layer=partial(scan_layer, repository),
        bring_layers=lambda store, progress: pull_layers(repository, image.layers, store, progress),
    )


def _in_layout(name: str, folder: Path, platform: str) -> OpenedImage:
    image, blobs = load(folder, platform, name=name)
    for each in image.layers:  # what a layer may ask for depends on its size
        path = blobs / each.digest.hex
        if path.is_file() and (size := path.stat().st_size) != each.size:
            why = f"layer {each.digest} has {size} bytes, and its manifest says {each.size}"
            raise UsageError(f"{name}: {why}")

    def blob(layer: Layer) -> Path:
        path = blobs / layer.digest.hex
        if not path.is_file():
            raise UsageError(f"{name} lacks the blob of layer {layer.digest}")
        return path

    def look(layer: Layer, *, hashed: bool = False, within: Budget | None = None) -> Contents:
        with untar(blob(layer), layer.media_type, layer.diff_id, within=within) as tar:
            return scan(tar, hashed=hashed)

    def bring(store: Store, progress: Progress) -> None:
        for layer in image.layers:
            with progress.step("copy", layer.title or str(layer.digest), total=layer.size) as step:
                store.adopt(blob(layer), layer.digest)
                step.advance(layer.size)

    return OpenedImage(name=name, image=image, scan_layer=look, bring_layers=bring)


def _unpack_file(archive: Path, folder: Path) -> None:
    try:
        stream = archive.open("rb")
    except OSError as error:
        hint = f"it is a folder: say oci:{archive}" if archive.is_dir() else ""
        message = f"cannot read the image archive {archive}: {error.strerror}"
        raise UsageError(message, hint=hint) from error
    with stream:
        budget = _budget(str(archive), most_content(archive.stat().st_size))
        _unpack(unpacked(stream, budget), budget, folder, str(archive))


def _save(name: str, folder: Path) -> None:
    """Unpack the archive that Docker makes of its image ``name``, while it makes it."""
    command = ["docker", "image", "save", name]
    pipe = subprocess.PIPE
    try:
        docker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    except FileNotFoundError as error:
        raise MissingToolError(
            "docker is not installed", hint="name an image layout (oci:DIR) or an archive instead"
        ) from error
    broken = None
    with docker:
        try:
            # Docker's images have no size yet, and whoever runs it has given it the disk already.
            budget = _budget(name, sys.maxsize)
            _unpack(cast("BinaryIO", docker.stdout), budget, folder, name)
        except UsageError as error:
            broken = error
        said = docker.communicate()[1].decode(errors="replace").strip()
    if docker.returncode:
        raise UsageError(
            f"Docker does not give the image {name}: {said[-300:]}",
            hint="docker image ls shows what there is",
        ) from broken
    if broken is not None:
        raise broken


def _unpack(stream: BinaryIO, budget: Budget, folder: Path, name: str) -> None:
    """Unpack an archive of a layout: its index and its blobs, and nothing that may lie beside.

    Raises UsageError if it is none, BuildError if it asks for more than ``budget``, DiskFullError.
    """
    try:
        tar = Untar(stream, budget)
        for entry in tar.entries():
            inside = entry.info.name.removeprefix("./")
            if entry.info.isreg() and _LAYOUT_FILE.fullmatch(inside):
                _write(folder / inside, tar.content(), folder)
        for _ in tar.rest():  # only who has read to the end knows that all of it is right
            pass
    except _DAMAGES as error:
        raise UsageError(f"cannot read the image archive {name}: {error}") from error
    if not (folder / "index.json").is_file():
        raise UsageError(
            f"{name} is no OCI archive: it has no index.json",
            hint="Docker 25 and later write one; older ones only their own format",
        )


def _write(path: Path, content: Iterator[bytes], folder: Path) -> None:
    with translated(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb", buffering=0)
    with file:
        for piece in content:  # which the archive may spoil; what follows, only the disk
            with translated(folder):
                written = 0
                while written < len(piece):
                    written += file.write(memoryview(piece)[written:])


def _budget(name: str, content: int) -> Budget:
    def refused(why: str) -> BuildError:
        hint = "it is damaged or hostile"
        return BuildError(f"the image archive {name} is refused: {why}", hint=hint)

    return Budget(refuse=refused, content_left=content, members_left=_MEMBERS)
