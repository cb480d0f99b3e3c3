"""What an image carries, layer by layer: sizes, packages, and bytes that nobody will ever use.

A cache that a later layer removes is still stored, pushed and pulled: each layer is looked at by
itself, and what the layers above it hide is counted as hidden. Pure over ``layers.contents``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuilder.layers.bounds import Budget
from envbuilder.layers.contents import (
    Contents,
    Distribution,
    LayerFile,
    cache_of,
    hidden,
    is_stale,
    scan,
    stacked,
)
from envbuilder.layers.untar import untar
from envbuilder.model.errors import LockError
from envbuilder.model.image import Layer, parse_image
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.progress import Progress
from envbuilder.model.pylock import parse_lock
from envbuilder.model.system_plan import system_plan
from envbuilder.registry.open_image import OpenedImage
from envbuilder.storage.store import Store

from .start_needs import StartNeeds, recorded, start_needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A cache in one layer: whose it is, its files and bytes, and whether upper layers hide it."""

    tool: str
    files: int
    size: int
    hidden: bool
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One layer: ``unpacked`` and ``hidden`` in bytes, what it installs, the caches in it.

    ``packages`` are those that this layer brings or changes; ``hidden`` counts all files that
    upper layers replace or remove.
    """

    layer: Layer
    files: int
    unpacked: int
    hidden: int
    packages: tuple[Distribution, ...]
    leftovers: tuple[Leftover, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """An image looked into; layers from the lowest to the highest.

    ``start`` is what a start needs of them, if that was asked for.
    """

    name: str
    digest: str
    layers: tuple[LayerReport, ...]
    start: StartNeeds | None = None

    @property
    def waste(self) -> int:
        """Bytes of caches in any layer, hidden or not."""
        return sum(each.size for layer in self.layers for each in layer.leftovers)


def inspect(opened: OpenedImage, progress: Progress, *, start_in: Path | None = None) -> Inspection:
    """Read every layer of an image once, and report on each.

    With ``start_in``, the folder of its spec, it is said what a start needs of each, too. Raises
    what opening a layer raises: BuildError, NetworkError, MismatchError; and see ``recorded``.
    """
    image = opened.image
    touched = None if start_in is None else recorded(image, start_in, where=opened.name)
    contents = opened.read_layers(progress)
    layers = report(image.layers, contents)
    return Inspection(
        name=opened.name,
        digest=str(image.digest),
        layers=layers,
        start=None
        if touched is None
        else start_needs(touched, image.layers, contents, _packages(layers, contents)),
    )


def open_sealed(store: Store, lock: Lock) -> OpenedImage:
    """Open the sealed image of ``lock`` where it was built; raises LockError if it is not here."""
    name, seal = lock.spec.name, lock.seal
    missing = LockError(
        f"the image of {name} is not in the store {store.root}", hint=f"envbuilder build {name}"
    )
    if seal is None or not (store.has(seal.manifest) and store.has(seal.config)):
        raise missing
    image = parse_image(store.read(seal.manifest), store.read(seal.config))
    if not all(store.has(layer.digest) for layer in image.layers):
        raise missing

    def look(layer: Layer, *, hashed: bool = False, within: Budget | None = None) -> Contents:
        path = store.checked(layer.digest)
        with untar(path, layer.media_type, layer.diff_id, within=within) as tar:
            return scan(tar, hashed=hashed)

    return OpenedImage(
        name=name, image=image, scan_layer=look, bring_layers=lambda _store, _progress: None
    )


def report(layers: Sequence[Layer], contents: Sequence[Contents]) -> tuple[LayerReport, ...]:
    """Report on layers whose contents were read, the lowest first."""
    shown = stacked(contents).files
    known: set[Distribution] = set()
    reports = []
    for layer, held, below in zip(layers, contents, hidden(contents), strict=True):
        found = held.distributions()
        sizes = {path: file.size for path, file in held.files.items()}
        reports.append(
            LayerReport(
                layer=layer,
                files=sum(file.kind != "dir" for file in held.files.values()),
                unpacked=sum(sizes.values()),
                hidden=sum(size for path, size in sizes.items() if path in below),
                packages=tuple(each for each in found if each not in known),
                leftovers=tuple(_leftovers(held.files, below, shown)),
            )
        )
        known.update(found)
    return tuple(reports)


def _packages(layers: Sequence[LayerReport], contents: Sequence[Contents]) -> list[tuple[str, ...]]:
    """Name the packages in each layer: dpkg's list lies in one layer, so a Debian lock tells more.

    The lock is the one that the image carries.
    """
    text = contents[-1].lock_text() if contents else None
    base = None if text is None else parse_lock(text.decode(), name="the image's lock").base
    planned = system_plan(base) if isinstance(base, DebianBase) else ()
    debian = {one.title: [f"{deb.name} {deb.version}" for deb in one.packages] for one in planned}
    return [
        tuple(debian.get(each.layer.title, [f"{one.name} {one.version}" for one in each.packages]))
        for each in layers
    ]


def _leftovers(
    files: Mapping[str, LayerFile], below: set[str], shown: Mapping[str, LayerFile]
) -> Iterator[Leftover]:
    groups: dict[tuple[str, bool], list[str]] = {}
    for path, file in files.items():
        tool = cache_of(path)
        if tool is None and path not in below and is_stale(path, file, shown):
            tool = "stale bytecode"
        if tool is not None and file.size:
            groups.setdefault((tool, path in below), []).append(path)
    for (tool, is_hidden), paths in sorted(groups.items()):
        yield Leftover(
            tool=tool,
            files=len(paths),
            size=sum(files[path].size for path in paths),
            hidden=is_hidden,
            example=f"/{min(paths)}",
        )
