"""Which NVIDIA driver a CUDA release needs: a table and the rules around it. Pure.

Source: NVIDIA CUDA Toolkit Release Notes, tables "CUDA Toolkit and Corresponding Driver Versions"
(Linux x86_64, first release of each) and "Minimum Required Driver Version for CUDA Minor Version
Compatibility"; NVIDIA CUDA Compatibility, "Forward Compatibility".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fit = Literal["full", "minor", "too old"]

_SHIPPED = {
    "11.0": "450.51.05",
    "11.1": "455.23",
    "11.2": "460.27.03",
    "11.3": "465.19.01",
    "11.4": "470.42.01",
    "11.5": "495.29.05",
    "11.6": "510.39.01",
    "11.7": "515.43.04",
    "11.8": "520.61.05",
    "12.0": "525.60.13",
    "12.1": "530.30.02",
    "12.2": "535.54.03",
    "12.3": "545.23.06",
    "12.4": "550.54.14",
    "12.5": "555.42.02",
    "12.6": "560.28.03",
    "12.8": "570.26",
    "12.9": "575.51.03",
    "13.0": "580.65.06",
    "13.1": "590.44.01",
}
"""The driver that came with each CUDA release: from it on, everything of that release works."""
_LEAST = {"11": "450.80.02", "12": "525.60.13", "13": "580"}
"""From this driver on, any release of that major version runs, with limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """What a CUDA release needs: ``full`` for all of it, ``least`` for minor version compatibility.

    Either is None if NVIDIA's table, as known here, does not say.
    """

    cuda: str
    full: str | None
    least: str | None


def drivers(cuda: str) -> Drivers:
    """Return the drivers for a CUDA release ("12.4"), or for the next one that the table has."""
    later = [release for release in _SHIPPED if number(release) >= number(cuda)]
    major, _, _ = cuda.partition(".")
    return Drivers(
        cuda=cuda,
        full=_SHIPPED[min(later, key=number)] if later else None,
        least=_LEAST.get(major),
    )


def fit(driver: str, needed: Drivers) -> Fit | None:
    """Say how ``driver`` ("550.54.14") serves a CUDA release, or None if the table has no row.

    A newer driver serves every older release; "minor" is minor version compatibility: compiled code
    runs, PTX of the newer release is refused, and features that need the newer driver fail.
    """
    if needed.full is not None and number(driver) >= number(needed.full):
        return "full"
    if needed.least is None:
        return None
    return "minor" if number(driver) >= number(needed.least) else "too old"


def number(version: str) -> tuple[int, ...]:
    """Return a driver or CUDA version as numbers that compare."""
    return tuple(int(part) for part in version.split("."))
