"""Samples that search: items of the sizes at which this processor's own values make counts turn.

A rounding that is wrong shows itself only where it turns: one pixel around a multiple of the patch,
a side that scaling leaves just above or below one, the first sound that needs another window. Which
sizes these are follows from the patch, merge, tile and cap that the processor's files state; how
many are tried is fixed, and large ones are few, because every one costs its encoding.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from .facts import Facts
from .samples import RATE, Sample

BUDGET = {"audio": 12, "image": 16, "video": 7}
"""Items to count of each modality."""
COSTLY = 6_000_000
"""Pixels of all the computed images together: some 2 s of resizing."""
WINDOW = 400
"""Sound samples of a mel frame, as most have them: without padding, so many start another one."""
LONGEST = 60
"""Seconds of a window whose end is searched: a sound of minutes costs as long as all the others."""
FILES = ("preprocessor_config.json", "processor_config.json")
OF_FILMS = "video_preprocessor_config.json"
PARTS = ("image_processor", "feature_extractor", "audio_processor")
PATCHES = ("patch_size", "encoder_patch_size")
MERGED = ("merge_size", "spatial_merge_size", "downsample_factor")
TILES = ("max_image_size", "tile_size", "scale_resolution", "crop_size")
"""What processors call the side of a patch (px), that of a token (patches), and that of a tile."""
COMMON: dict[str, list[tuple[str, tuple[int, ...]]]] = {
    "audio": [
        ("small", (RATE,)),
        ("edge", (43840,)),  # 2.74 s: 320 beyond a multiple of 640, the classic off-by-one
        ("typical", (59200,)),
        ("maximum", (30 * RATE,)),
    ],
    "image": [
        ("small", (280, 280)),
        ("edge", (279, 281)),
        ("edge", (49, 1323)),
        ("typical", (480, 640)),
        ("maximum", (2000, 2000)),
    ],
    "video": [
        ("small", (2, 112, 112)),
        ("edge", (3, 240, 320)),
        ("typical", (8, 360, 640)),
        ("maximum", (8, 720, 1280)),
    ],
}


def processor_files(directory: str) -> Facts:
    """Return what the processor's files in ``directory`` say, flat.

    transformers 5 nests in ``processor_config.json`` what 4 writes to ``preprocessor_config.json``.
    What they say of videos stays apart, under ``video_processor``: of what is nested, what has a
    file of its own and what the images have, transformers takes the first that there is.
    """
    stated: Facts = {}
    for name in FILES:
        file = _read(directory, name)
        for part in (file, *(file.get(one) for one in PARTS)):
            stated.update(part or {})
    films = (
        stated.get("video_processor") or _read(directory, OF_FILMS) or _read(directory, FILES[0])
    )
    return {**stated, "video_processor": films}


def _read(directory: str, name: str) -> Facts:
    """Return what the JSON file ``name`` says; nothing if there is none."""
    path = Path(directory, name)
    found: Facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def samples(modality: str, stated: Mapping[str, Any]) -> list[Sample]:
    """Return the items to count: common ones, then the edges that ``stated`` puts there."""
    found = [Sample(modality, role, shape) for role, shape in COMMON[modality]]
    return found + searched(modality, stated, found, BUDGET[modality] - len(found))


def searched(
    modality: str, stated: Mapping[str, Any], known: Sequence[Sample], budget: int
) -> list[Sample]:
    """Return at most ``budget`` items where counts turn by ``stated``, none of them ``known``."""
    shapes = {sample.shape for sample in known}
    found: list[Sample] = []
    spent = 0
    for shape in SEARCHES[modality](stated):
        cost = shape[0] * shape[1] if modality == "image" else 0
        if shape in shapes or spent + cost > COSTLY or len(found) == budget:
            continue
        shapes.add(shape)
        spent += cost
        found.append(Sample(modality, "edge", shape))
    return found


def images(stated: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield (height, width) around patches, tiles and caps, the most telling first."""
    patch = _stated(stated, PATCHES) or 14
    unit = patch * (_stated(stated, MERGED) or 1)
    size = stated.get("size") or {}
    tile = _stated(stated, TILES) or _side(size)
    cap = size.get("longest_edge") if isinstance(size, dict) else None
    if cap and cap <= 8192:  # a side, not a number of pixels
        yield from scaled(int(cap), unit)
    for at in (10 * unit - 1, 10 * unit, 10 * unit + 1):
        yield at, 10 * unit
    for at in (7 * unit + unit // 2 - 1, 7 * unit + unit // 2, 7 * unit + unit // 2 + 1):
        yield 8 * unit, at  # halves are rounded up, down, or to even
    for at in (tile - 1, tile, tile + 1, 2 * tile + 1) if tile else ():
        yield at, tile or at
    yield unit, 8 * unit  # narrow, whole patches
    yield 1323, 49


def scaled(cap: int, unit: int) -> Iterator[tuple[int, int]]:
    """Yield sizes above ``cap`` whose shorter side is scaled to just beside a multiple of ``unit``.

    Just above it, floor and round stay while ceil goes on; at more than half a pixel above, round
    goes on as well; just below, floor alone falls back.
    """
    for low, high in ((0.02, 0.45), (0.55, 0.98)):
        found = _beside(cap, unit, low, high)
        if found:
            height, width = found
            yield height, width
            yield width, height


def _beside(cap: int, unit: int, low: float, high: float) -> tuple[int, int] | None:
    """Return a small size above ``cap``, scaled to ``low``..``high`` px above a whole patch."""
    for width in range(cap + 7, cap + 60, 3):
        for height in range(8 * unit, 14 * unit):
            over = (height * cap / width) % unit
            if low < over < high:
                return height, width
    return None


def sounds(stated: Mapping[str, Any]) -> Iterator[tuple[int]]:
    """Yield lengths (samples) around mel frames, pairs of them, windows and the longest sound."""
    melspec = stated.get("melspec_kwargs") or {}
    hop = number(stated.get("hop_length") or melspec.get("hop_length")) or 160
    block = (number(stated.get("projector_window_size")) or 4) * 2 * hop
    window = number(stated.get("win_length")) or WINDOW
    whole = 10 * block
    for at in (whole - hop, whole - 1, whole, whole + hop, whole + window):
        yield (at,)
    seconds = number(stated.get("chunk_length")) or 30
    for at in (seconds * RATE + hop, seconds * RATE - 1):
        if seconds <= LONGEST:
            yield (at,)
    yield (400,)


def clips(stated: Mapping[str, Any]) -> Iterator[tuple[int, int, int]]:
    """Yield (frames, height, width) around whole steps in time, with odd frame counts."""
    films = stated.get("video_processor") or stated
    step = number(films.get("temporal_patch_size")) or 2
    for frames in (2 * step + 1, 4 * step - 1, 4 * step):
        yield frames, 113, 111


def number(value: object) -> int | None:
    """Return a size that may be stated as a number, a pair, or by names of its sides."""
    if isinstance(value, dict):
        value = next((value[name] for name in ("height", "longest_edge") if name in value), None)
    if isinstance(value, list):
        value = value[0] if value else None
    return int(value) if isinstance(value, (int, float)) and value > 0 else None


def _stated(stated: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """Return the first size that ``stated`` has under one of ``names``."""
    return next((found for name in names if (found := number(stated.get(name)))), None)


def _side(size: object) -> int | None:
    """Return the side of the square that every image or tile becomes."""
    return number(size.get("height")) if isinstance(size, dict) else None


SEARCHES: Mapping[str, Any] = {"audio": sounds, "image": images, "video": clips}
