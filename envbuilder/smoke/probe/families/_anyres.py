"""Images cut into tiles of one size ("anyres"), unpadded, each row ended by a newline token.

Source: LLaVA-NeXT's ``select_best_resolution`` and ``unpad_image`` (also in LLaVA-OneVision).
"""

from __future__ import annotations

from typing import Sequence


def best_resolution(
    height: int, width: int, candidates: Sequence[Sequence[int]]
) -> tuple[int, int]:
    """Return the (height, width) of ``candidates`` that keeps most pixels and wastes fewest."""

    def worth(candidate: Sequence[int]) -> tuple[int, int]:
        high, wide = candidate
        scale = min(wide / width, high / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, -(high * wide - kept)

    high, wide = max(candidates, key=worth)
    return high, wide


def unpadded(height: int, width: int, high: int, wide: int) -> tuple[int, int]:
    """Return the (rows, columns) of a ``high`` by ``wide`` feature grid that are not padding."""
    if width / height > wide / high:
        padding = (high - int(round(height * (wide / width), 7))) // 2
        return high - 2 * padding, wide
    padding = (wide - int(round(width * (high / height), 7))) // 2
    return high, wide - 2 * padding
