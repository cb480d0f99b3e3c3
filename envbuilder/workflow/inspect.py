"""What an image carries, layer by layer: sizes, packages, and bytes that nobody will ever use.

A cache that a later layer removes is still stored, pushed and pulled: each layer is looked at by
itself, and what the layers above it hide is counted as hidden. Pure over ``layers.contents``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from envbuilder.layers.contents import (
    Contents,
    Cover,
    Distribution,
    LayerFile,
    cache_of,
    is_stale,
    stacked,
)
from envbuilder.model.image import Layer
from envbuilder.model.progress import Progress
from envbuilder.registry.open_image import OpenedImage


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
    """An image looked into; layers from the lowest to the highest."""

    name: str
    digest: str
    layers: tuple[LayerReport, ...]

    @property
    def waste(self) -> int:
        """Bytes of caches in any layer, hidden or not."""
        return sum(each.size for layer in self.layers for each in layer.leftovers)


def inspect(opened: OpenedImage, progress: Progress) -> Inspection:
    """Read every layer of an image once, and report on each.

    Raises what opening a layer raises: BuildError, NetworkError, MismatchError.
    """
    return Inspection(
        name=opened.name,
        digest=str(opened.image.digest),
        layers=report(opened.image.layers, opened.read_layers(progress)),
    )


def report(layers: Sequence[Layer], contents: Sequence[Contents]) -> tuple[LayerReport, ...]:
    """Report on layers whose contents were read, the lowest first."""
    covers = _covers(contents)
    shown = stacked(contents).files
    known: set[Distribution] = set()
    reports = []
    for layer, held, cover in zip(layers, contents, covers, strict=True):
        found = held.distributions()
        sizes = {path: file.size for path, file in held.files.items()}
        reports.append(
            LayerReport(
                layer=layer,
                files=sum(file.kind != "dir" for file in held.files.values()),
                unpacked=sum(sizes.values()),
                hidden=sum(size for path, size in sizes.items() if cover.hides(path)),
                packages=tuple(each for each in found if each not in known),
                leftovers=tuple(_leftovers(held.files, cover, shown)),
            )
        )
        known.update(found)
    return tuple(reports)


def _covers(contents: Sequence[Contents]) -> list[Cover]:
    """Return each layer's cover: that of the layer above it, and that layer itself."""
    covers = [Cover()]
    for layer in reversed(contents[1:]):
        covers.append(covers[-1].under(layer))
    return covers[::-1]


def _leftovers(
    files: Mapping[str, LayerFile], cover: Cover, shown: Mapping[str, LayerFile]
) -> Iterator[Leftover]:
    groups: dict[tuple[str, bool], list[str]] = {}
    for path, file in files.items():
        hidden = cover.hides(path)
        tool = cache_of(path)
        if tool is None and not hidden and is_stale(path, file, shown):
            tool = "stale bytecode"
        if tool is not None and file.size:
            groups.setdefault((tool, hidden), []).append(path)
    for (tool, hidden), paths in sorted(groups.items()):
        yield Leftover(
            tool=tool,
            files=len(paths),
            size=sum(files[path].size for path in paths),
            hidden=hidden,
            example=f"/{min(paths)}",
        )
