"""A report as one self-contained HTML page: no script, no network, for phones and for paper."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envbuilder.model.resources import TEMPLATES

from .probe.samples import MODALITIES
from .report import CheckStatus, Report, TokenRow

COUNTS = ("formula", "placeholders", "embeddings", "engine", "stated")
"""The columns of the token table, in the order in which a token comes to be."""
PICTURE = 120.0
"""Longest side (px) of a sample's picture."""
CELLS = 32
"""Grid lines beyond this number per side would be a grey area, so they are thinned out."""
FRAMES = 4
"""At most so many steps in time are drawn behind each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSize:
    """One layer of the image: compressed bytes, and those of the packages it was made from.

    ``packages`` are (name and version, bytes of the wheel or .deb file), the heaviest first.
    """

    title: str
    size: int
    packages: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A sample drawn to scale: its outline (px) and the distances of its patch grid's lines.

    ``frames`` are the steps in time, ``behind`` how many of them are drawn behind the first.
    """

    width: float
    height: float
    step_x: float
    step_y: float
    frames: int
    caption: str

    @property
    def behind(self) -> range:
        """The steps in time that show behind the first, the farthest first."""
        return range(min(self.frames, FRAMES) - 1, 0, -1)


def to_html(report: Report, *, layers: Sequence[LayerSize] = ()) -> str:
    """Render ``report``, with the sizes of the image's ``layers`` if there is an image."""
    import jinja2  # noqa: PLC0415 - 60 ms that the other formats need not wait for

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(megabytes=_megabytes, measured=_measured)
    longest_sound = max((row.placeholders or 0 for row in report.tokens), default=0)
    return environment.get_template("report.html.j2").render(
        report=report,
        tally=_tally(report),
        tables=[(name, _groups(rows)) for name, rows in report.rows_by_model()],
        columns=[name for name in COUNTS if _filled(report, name)],
        odd={row: odd(report, row) for row in report.tokens},
        notes=_notes(report),
        picture=picture,
        waves=lambda row: waves(row, longest_sound),
        longest=max((check.seconds for check in report.checks), default=0.0) or 1.0,
        layers=sorted(layers, key=lambda layer: -layer.size),
        heaviest=max((layer.size for layer in layers), default=0) or 1,
        packages=_packages(report.environment),
    )


def odd(report: Report, row: TokenRow) -> frozenset[str]:
    """Name the counts of ``row`` that disagree: those that differ from what most others say.

    Where no value has a majority all of them are marked. A stated number that the report found
    wrong is marked with the count that it is compared with.
    """
    taken = {name: getattr(row, name) for name in COUNTS[:-1] if getattr(row, name) is not None}
    wrong: set[str] = set()
    if len(set(taken.values())) > 1:
        value, votes = Counter(taken.values()).most_common(1)[0]
        majority = votes > len(taken) / 2
        wrong = {name for name, count in taken.items() if not majority or count != value}
    if row.stated is not None and _misstated(report, row):
        wrong |= {"stated", "engine" if row.engine is not None else "placeholders"}
    return frozenset(wrong)


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


def waves(row: TokenRow, longest: int) -> list[tuple[float, float]]:
    """Draw a sound as bars, (x, height) in px; sounds of more tokens are longer, by logarithm."""
    if row.modality != "audio" or not row.placeholders:
        return []
    share = math.log1p(row.placeholders) / math.log1p(max(longest, 1))
    count = max(2, round(PICTURE / 4 * share))
    heights = [4 + 24 * abs(math.sin(0.9 * at) * math.cos(0.23 * at)) for at in range(count)]
    return [(4.0 * at, round(height, 1)) for at, height in enumerate(heights)]


def _tally(report: Report) -> list[tuple[str, int]]:
    """Count the checks by status; those that are not green only if there are any."""
    words = {
        CheckStatus.PASS: "passed",
        CheckStatus.FAIL: "failed",
        CheckStatus.ERROR: "without verdict",
        CheckStatus.UNPROVEN: "unproven",
        CheckStatus.SKIP: "skipped",
    }
    found = Counter(check.status for check in report.checks)
    return [
        (word, found[status])
        for status, word in words.items()
        if found[status] or status is CheckStatus.PASS
    ]


def _groups(rows: Sequence[TokenRow]) -> list[tuple[str, list[TokenRow]]]:
    """Return (modality, rows) of what is there."""
    found = [(kind, [row for row in rows if row.modality == kind]) for kind in MODALITIES]
    return [(kind, own) for kind, own in found if own]


def _filled(report: Report, column: str) -> bool:
    return any(getattr(row, column) is not None for row in report.tokens)


def _misstated(report: Report, row: TokenRow) -> bool:
    """Return whether what is stated for the modality of ``row``, by its model, is wrong."""
    name = f"tokens.{row.modality}.reserved", row.model
    wrong = (check for check in report.checks if check.status is CheckStatus.FAIL)
    return any((check.name, check.model) == name for check in wrong)


def _notes(report: Report) -> dict[str, int]:
    """Return each distinct note of the table its number, from 1."""
    distinct = dict.fromkeys(row.note for row in report.tokens if row.note)
    return {note: number for number, note in enumerate(distinct, start=1)}


def _packages(environment: Mapping[str, object]) -> list[tuple[str, str]]:
    found = environment.get("packages")
    return sorted(found.items()) if isinstance(found, Mapping) else []


def _megabytes(size: float) -> str:
    """Say ``size`` (bytes) in MB, with a decimal if it is small."""
    return f"{size / 1e6:,.0f} MB" if size >= 10e6 else f"{size / 1e6:.1f} MB"


def _measured(label: str) -> str:
    """Set a sample's label as people write sizes, to break between sides on a phone."""
    return re.sub(r"(?<=\d)x(?=\d)", "\N{MULTIPLICATION SIGN}\N{ZERO WIDTH SPACE}", label).replace(
        " s", "\N{NO-BREAK SPACE}s"
    )
