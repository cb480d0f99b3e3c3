"""Read a user's own file as an array, with whatever the container has to decode it.

Images need Pillow, which every processor of images needs as well. A sound needs soundfile or av,
but for plain WAV; a video av or OpenCV, but for an animated GIF.
"""

from __future__ import annotations

import wave
from typing import Any, Callable, Sequence

from .facts import Absent, describe
from .samples import RATE

FRAMES = 32
"""At most so many frames of a video are taken, evenly: what vLLM takes by default."""
PIXELS = 100_000_000
"""And no more than so many pixels in all; they are floats later on."""


class Undecodable(Absent):
    """No library that is installed here decodes the file."""


def decode(modality: str, path: str) -> Any:
    """Return the file as a sample's array (``samples.Sample.make`` says of what form).

    Raises Undecodable where another library might, ValueError if every one that is known fails.
    """
    told, missing = [], []
    for name, read in READERS[modality]:
        try:
            return read(path)
        except ImportError:
            missing.append(name)
        except Exception as error:
            told.append(f"{name} says {describe(error)}")
    if missing:
        raise Undecodable("; ".join([*told, f"not installed: {', '.join(missing)}"]))
    raise ValueError("; ".join(told))


def _picture(path: str) -> Any:
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        _bounded(image.height, image.width)
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _soundfile(path: str) -> Any:
    import soundfile

    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return _resampled(sound.mean(axis=1), rate)


def _av_sound(path: str) -> Any:
    import av
    import numpy as np

    with av.open(path) as container:
        mono = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        frames = [part for one in container.decode(audio=0) for part in mono.resample(one)]
        frames += mono.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


def _wave(path: str) -> Any:
    """Read WAV with whole numbers of 8, 16 or 32 bits, by the standard library."""
    import numpy as np

    with wave.open(path) as file:
        kind = {1: "u1", 2: "<i2", 4: "<i4"}.get(file.getsampwidth())
        if kind is None:
            raise ValueError(f"{8 * file.getsampwidth()} bits a sample")
        raw = np.frombuffer(file.readframes(file.getnframes()), kind).astype(np.float32)
        channels, rate = file.getnchannels(), file.getframerate()
    if kind == "u1":
        raw -= 128
    sound = raw.reshape(-1, channels).mean(axis=1) / 2.0 ** (8 * int(kind[-1]) - 1)
    return _resampled(sound, rate)


def _resampled(sound: Any, rate: int) -> Any:
    """Return ``sound`` at RATE, by straight lines: lengths are counted here, not listened to."""
    import numpy as np

    length = -(-len(sound) * RATE // rate)
    at = np.arange(length) * (rate / RATE)
    return np.interp(at, np.arange(len(sound)), sound).astype(np.float32)


def _av_video(path: str) -> Any:
    import av
    import numpy as np

    with av.open(path) as container:
        stream = container.streams.video[0]
        total = stream.frames or sum(1 for _ in container.decode(stream))
        wanted = set(_chosen(total, stream.height, stream.width))
        container.seek(0)
        decoded = enumerate(container.decode(stream))
        frames = [one.to_ndarray(format="rgb24") for at, one in decoded if at in wanted]
    return np.stack(frames)


def _opencv_video(path: str) -> Any:
    import cv2
    import numpy as np

    film = cv2.VideoCapture(path)
    size = (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)
    wanted = set(_chosen(*(int(film.get(fact)) for fact in size)))
    frames = []
    for at in range(max(wanted) + 1):
        more, frame = film.read()
        if more and at in wanted:
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return np.stack(frames)


def _animation(path: str) -> Any:
    import numpy as np
    from PIL import Image, ImageSequence

    with Image.open(path) as image:
        total = getattr(image, "n_frames", 1)
        wanted = set(_chosen(total, image.height, image.width))
        frames = enumerate(ImageSequence.Iterator(image))
        return np.stack([np.asarray(one.convert("RGB")) for at, one in frames if at in wanted])


def _chosen(total: int, height: int, width: int) -> Sequence[int]:
    """Return which of ``total`` frames to take: evenly, the first and the last among them."""
    if total < 1:
        raise ValueError("it holds no frame")
    count = max(1, min(total, FRAMES, PIXELS // max(1, height * width)))
    _bounded(height, width)
    return [at * (total - 1) // max(1, count - 1) for at in range(count)]


def _bounded(height: int, width: int) -> None:
    if height * width > PIXELS:
        raise ValueError(f"{width}x{height} is more than {PIXELS // 10**6} million pixels")


Reader = Callable[[str], Any]
READERS: dict[str, Sequence[tuple[str, Reader]]] = {
    "image": [("Pillow", _picture)],
    "audio": [
        ("soundfile", _soundfile),
        ("av", _av_sound),
        ("wave", _wave),
    ],
    "video": [
        ("av", _av_video),
        ("cv2", _opencv_video),
        ("Pillow", _animation),
    ],
}
