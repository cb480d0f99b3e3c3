"""The page of the pairs, drawn from a record: a run renews its columns, the others stay."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import envbuilder

PAGE = Path(envbuilder.__file__).parents[1] / "docs/reference/pairs.md"
RECORD = Path(__file__).parent / "unit/data/pairs.json"
HEAD = """# Families and releases of transformers and of vLLM

Which release counts which family's tiny model rightly, without a GPU. `make pairs` smokes every
pair and writes this page; `make pairs ARGS=4.57.6` and `make pairs ARGS=vllm` renew a part of it.
A cell that is not green names the page of the cause book that the report gave
(`envbuilder smoke explain CAUSE`), or says why nothing is proven. A dash: the release does not know
the family. An empty cell was not run.
"""
PARTS = {
    "transformers": """
## transformers

With Debian's torch 2.6: placeholders, the encoder's rows and the formula agree, and the model runs.
""",
    "vllm": """
## vLLM

With torch 2.13, cut of its kernels: what the engine reserves covers its own dummy input, its ranges
hold what its prompt does, each sample becomes as many placeholders as by transformers' own
processor, and a lower `max_pixels` is kept to. No older release was put to all families; 0.32.0
serves Qwen2.5-Omni in `make vllm`.
""",
}
"""What stands above each table, by the package whose releases are its columns."""
SOUND = ("green", "-", "")
UNPROVEN = "unproven: "
"""How a cell begins that is not red: something could not be asked."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one release made of each family: "green", "-", a cause, or what is not proven.

    ``what`` was asked on ``day``; ``beside`` is the transformers that an engine ran with.
    """

    day: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%d}")
    what: str
    cells: Mapping[str, str]
    beside: str = ""


Record = dict[str, dict[str, Column]]
"""By package, then by release."""


def read() -> Record:
    """Return what was recorded."""
    kept: dict[str, dict[str, Any]] = json.loads(RECORD.read_text())
    return {
        part: {release: Column(**column) for release, column in columns.items()}
        for part, columns in kept.items()
    }


def renew(part: str, columns: Mapping[str, Column]) -> None:
    """Put ``columns`` of a run into the record, and draw the page anew."""
    record = read()
    record[part] |= columns
    kept = {
        name: {
            release: asdict(record[name][release]) for release in sorted(record[name], key=_order)
        }
        for name in PARTS
    }
    RECORD.write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(page(read()))


def page(record: Record) -> str:
    """Return the whole page as Markdown."""
    parts = (
        f"{told}\n{table(record[part])}\n{_summary(record[part])}" for part, told in PARTS.items()
    )
    return HEAD + "".join(parts)


def table(columns: Mapping[str, Column]) -> str:
    """Return families by release as Markdown; what is not green is in bold."""
    names = sorted({name for column in columns.values() for name in column.cells})
    heads = [_head(release, column) for release, column in columns.items()]
    lines = ["| family | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in names:
        cells = (_cell(column.cells.get(name, "")) for column in columns.values())
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _head(release: str, column: Column) -> str:
    return f"{release} with {column.beside}" if column.beside else release


def _cell(found: str) -> str:
    return found if found in SOUND else f"**{found}**"


def _summary(columns: Mapping[str, Column]) -> str:
    """Say how many pairs are green, and when each column was run, and how far."""
    cells = [cell for column in columns.values() for cell in column.cells.values() if cell != "-"]
    runs: dict[str, list[str]] = {}
    for release, column in columns.items():
        runs.setdefault(f"{column.what} on {column.day}", []).append(release)
    told = "".join(f"- {', '.join(releases)}: {run}\n" for run, releases in runs.items())
    return f"Of {len(cells)} pairs {cells.count('green')} are green.\n\n{told}"


def _order(release: str) -> list[int]:
    return [int(number) for number in release.split(".")]
