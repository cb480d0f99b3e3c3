"""What a start needs of an image, layer by layer: what the smoke recorded, over what layers hold.

Pure, but for :func:`recorded`. A file counts in the uppermost layer that has it, for that one is
seen. How many bytes of a layer travel for what is touched is told by the layer's own ratio.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath

from envbuilder.evidence.verify.content import image_facts
from envbuilder.layers.contents import Contents
from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.image import Image, Layer
from envbuilder.model.image_config import LABEL
from envbuilder.smoke.touched import Touched, read_touched, start_path

_METADATA = re.compile(r"\.(dist|egg)-info(/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNeed:
    """What a start needs of one layer: ``touched`` of its ``unpacked`` bytes of files.

    ``listed`` of these bytes are metadata of packages, which whoever asks what is installed reads.
    ``packages`` are those that the layer was made from, the heaviest first, where that is known.
    """

    layer: Layer
    unpacked: int
    touched: int
    listed: int = 0
    packages: tuple[str, ...] = ()

    @property
    def packed(self) -> int:
        """About how many of the layer's compressed bytes that are."""
        return self.layer.size * self.touched // self.unpacked if self.unpacked else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StartNeeds:
    """What a start needs of all layers, the lowest first; ``by`` names what started."""

    by: tuple[str, ...]
    layers: tuple[LayerNeed, ...]

    @property
    def touched(self) -> int:
        """Bytes of files that a start touches."""
        return sum(each.touched for each in self.layers)

    @property
    def unpacked(self) -> int:
        """Bytes of files in all layers."""
        return sum(each.unpacked for each in self.layers)

    @property
    def packed(self) -> int:
        """About how many compressed bytes a start touches."""
        return sum(each.packed for each in self.layers)

    @property
    def size(self) -> int:
        """Compressed bytes of all layers."""
        return sum(each.layer.size for each in self.layers)

    @property
    def untouched(self) -> tuple[LayerNeed, ...]:
        """Layers that hold files of which a start touches metadata at most, the largest first."""
        found = [each for each in self.layers if each.unpacked and each.touched == each.listed]
        return tuple(sorted(found, key=lambda each: (-each.layer.size, each.layer.title)))


def recorded(image: Image, folder: Path, *, where: str) -> Touched:
    """Return what the smoke recorded of ``image``, called ``where``, in ``folder`` beside its spec.

    Raises UsageError for an image that is not ours, LockError if nothing is recorded of it, or only
    of another lock.
    """
    said = image_facts(image)
    name, lock = (said.get(f"label {LABEL}.{each}", "") for each in ("name", "lock"))
    platform = f"{said.get('os')}/{said.get('architecture')}"
    path = start_path(folder, name, platform)
    if not name or not lock or path.parent != folder:
        raise UsageError(
            f"{where} was not built by envbuilder, so no smoke recorded what its start needs",
            hint="--start takes the NAME of an environment, or its image",
        )
    found = read_touched(path)
    if found is None:
        raise LockError(
            f"no smoke recorded what a start of {name} needs: there is no {path}",
            hint=f"envbuilder build {name} writes it, if the smoke is green",
        )
    if str(found[0]) != lock:
        raise LockError(
            f"{path} was recorded of another lock ({found[0]}) than that of {where} ({lock})",
            hint=f"envbuilder build {name} records it anew, or check out the file of that lock",
        )
    return found[1]


def start_needs(
    touched: Touched,
    layers: Sequence[Layer],
    contents: Sequence[Contents],
    packages: Sequence[tuple[str, ...]],
) -> StartNeeds:
    """Say what of each layer is ``touched``; all three sequences are in order, the lowest first."""
    sizes = [dict(_sizes(each)) for each in contents]
    needed, listed = [0] * len(layers), [0] * len(layers)
    seen: set[tuple[int, str]] = set()
    for path in sorted({*touched.files, *touched.chunks}):
        place = path.lstrip("/")
        at = next((n for n in reversed(range(len(sizes))) if place in sizes[n]), None)
        if at is None:
            continue  # no layer's: what a runtime puts there
        itself, size = sizes[at][place]
        if (at, itself) not in seen:
            seen.add((at, itself))
            needed[at] += touched.bytes_of(path, size)
            listed[at] += touched.bytes_of(path, size) if _METADATA.search(place) else 0
    return StartNeeds(
        by=touched.by,
        layers=tuple(
            LayerNeed(
                layer=layer,
                unpacked=sum(file.size for file in held.files.values()),
                touched=bytes_needed,
                listed=bytes_listed,
                packages=names,
            )
            for layer, held, bytes_needed, bytes_listed, names in zip(
                layers, contents, needed, listed, packages, strict=True
            )
        ),
    )


def _sizes(held: Contents) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield each regular file of a layer: path, the file that it is a hard link of, and bytes."""
    for path, file in held.files.items():
        itself = normpath(file.target).lstrip("/") if file.kind == "hardlink" else path
        found = held.files.get(itself)
        if found is not None and found.kind == "file":
            yield path, (itself, found.size)
