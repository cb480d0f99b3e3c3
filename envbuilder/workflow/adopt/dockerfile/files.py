"""What a spec has no key for yet: own files and users. One function for each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from envbuilder.workflow.adopt.statements import At, Setting, Statement, left, taken

from .stage import Stage
from .syntax import Instruction

_READ_LATER = re.compile(
    r"(.*/)?(.*requirements.*|pyproject\.toml|uv\.lock|setup\.(py|cfg)|pylock.*)"
)


def copied_files(
    _stage: Stage, at: At, sources: Sequence[str], _to: str, _each: Instruction
) -> Statement:
    """Read what COPY lays into the image from the build context."""
    if all(_READ_LATER.fullmatch(source) for source in sources):
        return taken(at, note="read by what installs from it")
    return left(at, "own files have no key: put them into a wheel, or lay them down in a step")


def user_setting(stage: Stage, at: At, text: str) -> Statement:
    """Read whom the image runs as."""
    name = text.partition(":")[0]
    if name in stage.users:
        return left(at, f"no key makes the user {name}: a numeric one needs no entry")
    return taken(at, Setting(path=("user",), value=text))
