"""A locked wheel, with what its files in an image say of where it comes from."""

from __future__ import annotations

from envbuilder.layers.wheel import WheelInput
from envbuilder.model.lock import Lock, Wheel
from envbuilder.model.plan import direct_url, is_requested, source_for


def wheel_input(lock: Lock, wheel: Wheel) -> WheelInput:
    """Return all that installing ``wheel`` of ``lock`` depends on."""
    return WheelInput(
        filename=wheel.filename,
        sha256=wheel.sha256,
        requested=is_requested(lock, wheel),
        direct_url=direct_url(source_for(lock, wheel)),
    )
