"""The figures of a siege, between two markers of the docs."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from tests.siege.tally import Tally, table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reliability.md"
BEGIN, END = "<!-- siege -->\n", "<!-- /siege -->"


def write_figures(tallies: list[Tally], *, seconds: float) -> None:
    """Replace what stands between the markers."""
    text = PAGE.read_text("utf-8")
    figures = f"{BEGIN}\n{_about(seconds)}\n\n{table(tallies)}\n{END}"
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: figures, text, flags=re.DOTALL), "utf-8")


def _about(seconds: float) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{seconds / 60:.0f} minutes on {len(os.sched_getaffinity(0))} cores and {memory:.0f} GiB,"
        f" Linux {platform.release().split('-')[0]}, Python {platform.python_version()}:"
    )
