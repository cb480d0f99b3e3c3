"""A user's own images, sounds and videos: files beside the spec that the smoke test counts too.

They are mounted into the container, read-only, and never part of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .errors import SpecError
from .smoke_spec import SampleFile
from .spec import Spec
from .spec_words import Modality

LARGEST = 256 << 20
"""Bytes of one file: an hour of sound, or minutes of video."""
MOST = 32
"""Files of one spec: the smoke shall stay a matter of a minute."""
SUFFIXES: dict[Modality, tuple[str, ...]] = {
    "audio": (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac"),
    "image": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"),
    "video": (".mp4", ".mkv", ".mov", ".webm", ".avi", ".gif"),
}


def own_samples(spec: Spec) -> Iterator[tuple[str, Modality]]:
    """Yield the spec's samples: path, from the folder of the spec, and what it is."""
    for item in map(_as_file, spec.smoke.samples):
        modality = modality_of(item)
        if modality is not None:  # a spec that was read from its file has no other
            yield item.path, modality


def sample_problems(spec: Spec) -> Iterator[tuple[int, str, str]]:
    """Yield what is wrong with how the spec names samples: number in the list, message, hint."""
    if len(spec.smoke.samples) > MOST:
        yield MOST, f"more than {MOST} samples", "keep those that differ in kind"
    for number, item in enumerate(map(_as_file, spec.smoke.samples)):
        pure = PurePosixPath(item.path)
        if pure.is_absolute() or ".." in pure.parts:
            yield number, f"{item.path!r} leaves the spec's folder", "put the file beside the spec"
        elif modality_of(item) is None:
            hint = f"{{path: {item.path}, modality: audio}}, or image, or video"
            yield number, f"the name {item.path!r} does not say what it is", hint


def check_samples(spec: Spec, folder: Path) -> None:
    """Raise SpecError that names each sample in ``folder`` that cannot be counted.

    Whoever smokes asks this, and nobody else: an old spec stays readable without its files.
    """
    found = ((folder / path, _unusable(folder / path)) for path, _ in own_samples(spec))
    problems = [f"the sample {path}: {problem}" for path, problem in found if problem is not None]
    if problems:
        raise SpecError(
            "\n".join(problems),
            hint="smoke.samples names them, from the spec's folder: put them back, or drop them",
        )


def modality_of(item: SampleFile) -> Modality | None:
    """Return what ``item`` is, by its own word or by its name; None if neither says it."""
    suffix = PurePosixPath(item.path).suffix.lower()
    named = next((kind for kind, known in SUFFIXES.items() if suffix in known), None)
    return item.modality or named


def _as_file(item: str | SampleFile) -> SampleFile:
    return SampleFile(path=item) if isinstance(item, str) else item


def _unusable(path: Path) -> str | None:
    """Say why ``path`` cannot be a sample, or None if it can."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not size:
        return "the file is empty"
    if size > LARGEST:
        return f"{size >> 20} MiB, and a sample has {LARGEST >> 20} MiB at most"
    return None
