"""A report as one self-contained HTML page: no script, no network, for phones and for paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envbuilder.shipped import TEMPLATES

from .report import Report, Status, TokenRow

PICTURE = 96.0
"""Longest side (px) of a sample's picture."""
CELLS = 32
"""Grid lines beyond this number per side would be a grey area, so they are thinned out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A sample drawn to scale: its outline (px) and the distances of its patch grid's lines."""

    width: float
    height: float
    step_x: float
    step_y: float
    frames: int
    caption: str


def to_html(report: Report, *, layers: Sequence[tuple[str, int]] = ()) -> str:
    """Render ``report``; ``layers`` are (title, compressed bytes) of the image's layers."""
    import jinja2  # noqa: PLC0415 - 60 ms that the other formats need not wait for

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        counts=_counts(report),
        misstated=[
            check.name.split(".")[1]
            for check in report.checks
            if check.name.endswith(".reserved") and check.status is Status.FAIL
        ],
        pictures=[(row, picture(row)) for row in report.tokens if picture(row)],
        longest=max((check.seconds for check in report.checks), default=0.0) or 1.0,
        layers=sorted(layers, key=lambda layer: -layer[1]),
        heaviest=max((size for _, size in layers), default=1),
        packages=_packages(report.environment),
    )


def picture(row: TokenRow) -> Picture | None:
    """Draw the sample of ``row`` by its patch grid (time, rows, columns), if it has one."""
    if len(row.grid) != 3 or not all(row.grid):
        return None
    frames, high, wide = row.grid
    scale = PICTURE / max(high, wide)
    return Picture(
        width=round(wide * scale, 2),
        height=round(high * scale, 2),
        step_x=round(scale * max(1, -(-wide // CELLS)), 3),
        step_y=round(scale * max(1, -(-high // CELLS)), 3),
        frames=frames,
        caption=f"{wide} by {high} patches" + (f", {frames} steps in time" * (frames > 1)),
    )


def _counts(report: Report) -> dict[str, int]:
    return {
        str(status): sum(check.status is status for check in report.checks) for status in Status
    }


def _packages(environment: Mapping[str, object]) -> list[tuple[str, str]]:
    found = environment.get("packages")
    return sorted(found.items()) if isinstance(found, Mapping) else []
