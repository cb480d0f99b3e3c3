"""Golden answers: what the model said in the last good build, to compare the next one with.

Counts can all agree while the answers get worse (transformers#40136, vllm#41207): a wrong dtype,
wrong positions, a picture normalised wrongly. ``NAME.answers.json`` beside the spec, kept in git,
holds the logits of fixed prompts and the tokens that follow greedily, with the packages that they
were computed with. A green build writes it; to accept other answers of the same environment, delete
it and build.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envbuilder.model.atomic import write_text
from envbuilder.model.codec import any_json
from envbuilder.model.errors import SmokeError

from .report import Report

VERSION = 1
_LIST = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one prompt gave: logits of the last position, and what follows greedily.

    ``spread`` is the standard deviation of all that position's logits; ``margins`` say by how much
    each generated token won.
    """

    dtype: str
    logits: tuple[float, ...]
    spread: float
    generated: tuple[int, ...]
    margins: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers by prompt; ``identity`` tells the weights, ``packages`` name to version."""

    identity: str
    packages: Mapping[str, str]
    prompts: Mapping[str, Answer]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"version": VERSION, **asdict(self)}


def answers_path(folder: Path, name: str, model: str = "") -> Path:
    """Name the file of the environment ``name``, beside its spec in ``folder``.

    Of several models each has its own, by the name of the ``model``.
    """
    own = f".{re.sub(r'[^A-Za-z0-9._-]+', '--', model)}" if model else ""
    return folder / f"{name}{own}.answers.json"


def read_answers(path: Path) -> Answers | None:
    """Read recorded answers; None if there are none yet. Raises SmokeError."""
    try:
        plain = any_json(path.read_text("utf-8"))
        return parse_answers(plain)
    except FileNotFoundError:
        return None
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OverflowError,
    ) as error:
        raise SmokeError(
            f"{path} does not hold recorded answers: {error!r}",
            hint="restore it from git, or delete it: the next green build writes it anew",
        ) from error


def parse_answers(plain: Mapping[str, Any]) -> Answers:
    """Make answers of their JSON values.

    Raises ValueError, TypeError, KeyError, AttributeError, or OverflowError for what are none.
    """
    if plain["version"] != VERSION:
        raise ValueError(f"version {plain['version']}")
    return Answers(
        identity=str(plain["identity"]),
        packages={str(name): str(version) for name, version in plain["packages"].items()},
        prompts={
            str(label): Answer(
                dtype=str(answer["dtype"]),
                logits=tuple(map(float, answer["logits"])),
                spread=float(answer["spread"]),
                generated=tuple(map(int, answer["generated"])),
                margins=tuple(map(float, answer["margins"])),
            )
            for label, answer in plain["prompts"].items()
        },
    )


def answers_to_record(report: Report, recorded: Answers | None, *, model: str) -> Answers | None:
    """Return what a build shall write down of ``model``: if it is green, with other packages."""
    own = [check for check in report.checks if check.model == model]
    seen = next((check for check in own if check.name == "tokens.answers"), None)
    if seen is None or not report.ok:
        return None
    found = parse_answers(seen.details["answers"])
    same = recorded is not None and (recorded.identity, recorded.packages, set(recorded.prompts))
    return None if same == (found.identity, found.packages, set(found.prompts)) else found


def write_answers(path: Path, answers: Answers) -> None:
    """Write ``answers``, whole or not at all; one list to a line, so that git shows what moved."""
    text = json.dumps(answers.to_dict(), indent=1, sort_keys=True) + "\n"
    write_text(path, _LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", text))
