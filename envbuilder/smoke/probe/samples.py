"""Items to count: deterministic synthetic images, sounds and videos, and what users bring.

Sizes are chosen where counts go wrong: one pixel off a multiple of the patch, extreme aspect
ratios, odd frame counts, a sound whose length is 320 beyond a multiple of 640 samples, and items
at and above every cap.
"""

from __future__ import annotations

from typing import Any, Sequence

MODALITIES = ("audio", "image", "video")
RATE = 16000
"""Samples per second of every sound here."""


class Sample:
    """One item: what it is (``label``), why it is there (``role``), and how to make it.

    ``role`` is small, typical, edge, maximum (the item that a spec's stated maximum is about),
    beyond (larger than any cap) or own (a user's file). ``shape`` is (samples,) of a sound,
    (height, width) of an image, (frames, height, width) of a video.
    """

    def __init__(self, modality: str, role: str, shape: Sequence[int], label: str = "") -> None:
        self.modality = modality
        self.role = role
        self.shape = tuple(shape)
        self.label = label or label_of(modality, self.shape)

    def make(self) -> Any:
        """Return the item as a numpy array: float32 mono sound, or uint8 RGB, channels last."""
        if self.modality == "audio":
            return _sound(*self.shape)
        if self.modality == "image":
            return _picture(*self.shape)
        return _clip(*self.shape)

    @property
    def parts(self) -> list[Sample]:
        """What the item is counted as, modality by modality: itself."""
        return [self]


class Sounding(Sample):
    """A video with its sound inside: one item, whose tokens of two modalities are interleaved."""

    def __init__(self, role: str, shape: Sequence[int], seconds: float) -> None:
        super().__init__("video", role, shape)
        clip = self.label
        self.label = f"{clip} with {seconds:g} s of sound"
        self.sound = Sample("audio", role, [round(seconds * RATE)], f"{seconds:g} s in {clip}")

    @property
    def parts(self) -> list[Sample]:
        """The frames and the sound."""
        return [self, self.sound]


class Own(Sample):
    """A file of the user's own, decoded to ``array``."""

    def __init__(self, modality: str, label: str, array: Any) -> None:
        shape = array.shape[:2] if modality == "image" else array.shape[:3]
        super().__init__(modality, "own", shape)
        self.label = f"{label} ({self.label})"
        self._array = array

    def make(self) -> Any:
        """Return the item as a numpy array."""
        return self._array


def audio(*pairs: tuple[str, float]) -> list[Sample]:
    """Return sound samples from pairs of (role, seconds)."""
    return [Sample("audio", role, [round(seconds * RATE)]) for role, seconds in pairs]


def image(*triples: tuple[str, int, int]) -> list[Sample]:
    """Return image samples from triples of (role, width, height)."""
    return [Sample("image", role, [height, width]) for role, width, height in triples]


def video(*quads: tuple[str, int, int, int]) -> list[Sample]:
    """Return video samples from (role, frames, width, height)."""
    return [Sample("video", role, [frames, high, wide]) for role, frames, wide, high in quads]


def sounding(*fives: tuple[str, int, int, int, float]) -> list[Sounding]:
    """Return videos with sound from (role, frames, width, height, seconds of sound)."""
    return [Sounding(role, [frames, high, wide], time) for role, frames, wide, high, time in fives]


def label_of(modality: str, shape: Sequence[int]) -> str:
    """Return the size of an item in words."""
    if modality == "audio":
        return f"{shape[0] / RATE:g} s"
    size = f"{shape[-1]}x{shape[-2]}"
    return size if modality == "image" else f"{shape[0]} frame{'s'[: shape[0] > 1]} {size}"


def _sound(length: int) -> Any:
    import numpy as np

    at = np.arange(length, dtype=np.float64) / RATE
    return (0.3 * np.sin(2 * np.pi * (220 + 40 * at) * at)).astype(np.float32)


def _picture(height: int, width: int, shift: int = 0) -> Any:
    import numpy as np

    rows = np.arange(height, dtype=np.uint32)[:, None]
    columns = np.arange(width, dtype=np.uint32)[None, :]
    planes = [rows * 3 + columns * 7 + shift, rows ^ columns, rows * columns // 64 + shift]
    return np.stack([(plane & 255).astype(np.uint8) for plane in planes], axis=-1)


def _clip(frames: int, height: int, width: int) -> Any:
    import numpy as np

    return np.stack([_picture(height, width, 16 * number) for number in range(frames)])
