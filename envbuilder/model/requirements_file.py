"""A file of requirement lines (pip's format, plain lines only) that a spec names by its path."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from .errors import SpecError

_LARGEST = 1 << 20
_COMMENT = re.compile(r"(^|\s)#.*")
_HASH = re.compile(r"\s--hash=\S+")


def read_requirements(path: Path) -> list[str]:
    """Read the requirements in the file at ``path``, without comments and hashes.

    Raises SpecError, with the line, for what is no requirement by name: an option, an address.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= _LARGEST else None
    except OSError as error:
        hint = "the path counts from the folder of the spec"
        raise SpecError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    if data is None:
        raise SpecError(f"{path} is larger than {_LARGEST:,} bytes, which no such file needs")
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    found, begun = [], ""
    for number, line in enumerate(lines, 1):
        text = begun + _COMMENT.sub("", line).strip()
        begun = f"{text[:-1].rstrip()} " if text.endswith("\\") else ""
        if text and not begun:
            found.append(_checked(_HASH.sub("", text).strip(), f"{path}:{number}"))
    return found


def _checked(line: str, place: str) -> str:
    hint = "only lines like numpy<2.3 are read here"
    if line.startswith("-"):
        raise SpecError(f"{place}: the option {line.split(maxsplit=1)[0]!r} is not read", hint=hint)
    try:
        parsed = Requirement(line)
    except InvalidRequirement as error:
        raise SpecError(f"{place}: {line!r} is not a requirement", hint=hint) from error
    if parsed.url is not None:
        raise SpecError(f"{place}: {parsed.name} names an address", hint=hint)
    return line
