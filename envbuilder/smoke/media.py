"""Pictures, sounds and videos as a chat request carries them, made with the standard library.

All are lossless, so that a server decodes exactly the sizes that were sent: PNG, PCM in WAV, and
uncompressed AVI (Microsoft's RIFF, which every ffmpeg reads).
"""

from __future__ import annotations

import array
import base64
import io
import math
import struct
import wave
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from envbuilder.smoke.probe.samples import RATE, label_of

FRAMES_PER_SECOND = 2
"""Slow enough that no server samples fewer frames than were sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What to send: ``shape`` is (samples,), (height, width), or (frames, height, width)."""

    modality: str
    role: str
    shape: tuple[int, ...]

    @property
    def label(self) -> str:
        """Its size in words, as in the token table."""
        return label_of(self.modality, self.shape)

    def part(self) -> dict[str, Any]:
        """Return it as one part of a chat message's content."""
        if self.modality == "audio":
            sound = {"data": _base64(sound_file(*self.shape)), "format": "wav"}
            return {"type": "input_audio", "input_audio": sound}
        if self.modality == "image":
            url = "data:image/png;base64," + _base64(picture_file(*self.shape))
            return {"type": "image_url", "image_url": {"url": url}}
        url = "data:video/x-msvideo;base64," + _base64(video_file(*self.shape))
        return {"type": "video_url", "video_url": {"url": url}}


ITEMS = (
    Item(modality="audio", role="small", shape=(RATE,)),
    Item(modality="audio", role="edge", shape=(43840,)),  # 2.74 s: n mod 640 = 320
    Item(modality="audio", role="typical", shape=(59200,)),
    Item(modality="image", role="small", shape=(280, 280)),
    Item(modality="image", role="edge", shape=(279, 281)),
    Item(modality="image", role="typical", shape=(480, 640)),
    Item(modality="video", role="small", shape=(4, 112, 112)),
    Item(modality="video", role="edge", shape=(4, 140, 196)),
    Item(modality="video", role="typical", shape=(8, 240, 320)),
)
"""Three sizes of each modality: what the chat template adds to each is the same, and cancels."""


def picture_file(height: int, width: int) -> bytes:
    """Return a PNG (RGB, 8 bits)."""
    rows = b"".join(b"\0" + row for row in _rows(height, width, 0))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def sound_file(samples: int) -> bytes:
    """Return a WAV: mono, 16 bits, a tone."""
    tone = (round(9000 * math.sin(2 * math.pi * 440 * at / RATE)) for at in range(samples))
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(array.array("h", tone).tobytes())
    return written.getvalue()


def video_file(frames: int, height: int, width: int) -> bytes:
    """Return an AVI of uncompressed frames: BGR, rows padded to 4 bytes.

    Rows stand from the top down (a negative height says so): OpenCV 5.0 corrupts its heap over the
    usual order, and would take the server down.
    """
    padding = bytes(-3 * width % 4)
    pictures = [
        b"".join(row + padding for row in _rows(height, width, 16 * number))
        for number in range(frames)
    ]
    size = len(pictures[0])
    main = struct.pack(
        "<14I", 1_000_000 // FRAMES_PER_SECOND, size * FRAMES_PER_SECOND, 0, 0x10,
        frames, 0, 1, size, width, height, 0, 0, 0, 0,
    )  # fmt: skip
    stream = struct.pack(
        "<4s4sIHHIIIIIIIIhhhh", b"vids", b"DIB ", 0, 0, 0, 0, 1, FRAMES_PER_SECOND,
        0, frames, size, 0xFFFFFFFF, 0, 0, 0, width, height,
    )  # fmt: skip
    picture = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, size, 0, 0, 0, 0)
    head = _chunk(b"avih", main) + _list(b"strl", _chunk(b"strh", stream), _chunk(b"strf", picture))
    index = b"".join(
        struct.pack("<4sIII", b"00db", 0x10, 4 + number * (size + 8), size)
        for number in range(frames)
    )
    movie = _list(b"movi", *(_chunk(b"00db", frame) for frame in pictures))
    return _chunk(b"RIFF", b"AVI " + _list(b"hdrl", head) + movie + _chunk(b"idx1", index))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def _list(kind: bytes, *chunks: bytes) -> bytes:
    return _chunk(b"LIST", kind + b"".join(chunks))


def _rows(height: int, width: int, shift: int) -> Iterator[bytes]:
    """Yield the rows of a picture in three colours: a gradient that moves on from row to row."""
    first = bytes(x * step & 255 for x in range(width) for step in (1, 3, 7))
    ramp = bytes(range(256)) * 2
    for y in range(height):
        moved = (y + shift) & 255
        yield first.translate(ramp[moved : moved + 256])


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
