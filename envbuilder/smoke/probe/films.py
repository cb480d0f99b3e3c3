"""Hand a video over in the form that is asked for: its frames alone, or with what is known of them.

Newer processors choose among a video's frames by its frame rate, and write the time of each frame
into the prompt; they refuse frames whose rate nobody tells. vLLM's parsers ask for the same facts.
Every frame is to be taken here, so that both count the same ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .facts import Facts

RATE = 2.0
"""Frames per second of every video here: the rate at which servers take frames from a film."""


def metadata(frames: Any) -> Facts:
    """Return what is known of ``frames`` (frames, height, width, 3)."""
    count, height, width = frames.shape[:3]
    return {
        "total_num_frames": count,
        "fps": RATE,
        "width": width,
        "height": height,
        "duration": count / RATE,
        "video_backend": "opencv",
        "frames_indices": list(range(count)),
    }


def options(films: list[Any]) -> Facts:
    """Return the arguments by which this transformers' processors take all frames of ``films``."""
    from transformers import processing_utils

    known = getattr(processing_utils.VideosKwargs, "__annotations__", {})
    found: Facts = {}
    if "do_sample_frames" in known:
        found["do_sample_frames"] = False
    if "video_metadata" in known:
        found["video_metadata"] = [_known_to_transformers(metadata(film)) for film in films]
    return found


def with_metadata(frames: Any) -> tuple[Any, Facts]:
    """Return ``frames`` as vLLM's parsers ask for them (``video_needs_metadata``)."""
    return frames, {**metadata(frames), "do_sample_frames": False}


def _known_to_transformers(facts: Facts) -> Facts:
    """Return those of ``facts`` that this version's ``VideoMetadata`` has fields for."""
    from transformers import video_utils

    kind = getattr(video_utils, "VideoMetadata", None)
    if not dataclasses.is_dataclass(kind):
        return facts
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in facts.items() if name in names}
