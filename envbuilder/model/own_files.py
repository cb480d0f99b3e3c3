"""A user's own files in the image: what a spec may say of them, and which patterns leave out.

Patterns are those of a ``.dockerignore`` (``*``, ``?``, ``[a-z]``, ``**``, and ``!`` for what stays
after all; the last that fits decides), but for one thing: a pattern without a slash fits names in
every folder, as in a ``.gitignore``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from .image_spec import OwnFiles, OwnUser
from .plan import PREFIX, STANDALONE
from .spec import Spec
from .spec_words import HIGHEST_ID
from .yaml_document import KeyPath

MOST_ENTRIES = 32
"""Entries of one spec: each is a layer, and a runtime mounts few of those."""
_TAKEN = (PREFIX, STANDALONE, "/usr/share/envbuilder", "/proc", "/sys", "/dev", "/run")
_EMPTIED = ("/tmp", "/var/tmp")  # noqa: S108 - named, not used
_TOKEN = re.compile(r"\*\*/?|\*|\?|\[\^?[^]]+\]|\\.|.", re.DOTALL)


def file_problems(spec: Spec) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield what is wrong with ``files``: place, message, hint."""
    if len(spec.files) > MOST_ENTRIES:
        yield ("files",), f"more than {MOST_ENTRIES} entries", "name a folder that holds several"
    for number, entry in enumerate(spec.files):
        at: KeyPath = ("files", number)
        yield from _place_problems((*at, "to"), entry.to)
        yield from _owner_problems((*at, "owner"), entry, spec)
        if PurePosixPath(entry.from_).is_absolute():
            hint = "a path from the folder of the spec, like ../app"
            yield (*at, "from"), f"{entry.from_!r} is a path of this machine alone", hint
        yield from pattern_problems((*at, "exclude"), entry.exclude)


def _place_problems(at: KeyPath, place: str) -> Iterator[tuple[KeyPath, str, str]]:
    if not {".", ".."}.isdisjoint(place.split("/")):
        yield at, f"{place!r} is not a plain path", "write it without . and .."
    if taken := taken_by(place):
        yield at, f"{taken} is no place for files of one's own", "/srv/app or /opt/app, maybe"


def taken_by(place: str) -> str | None:
    """Return which folder of others ``place`` (absolute) is or lies in, if it does."""
    inside = f"{place.rstrip('/')}/"
    folders = (*_TAKEN, *_EMPTIED)
    return next((taken for taken in folders if inside.startswith(f"{taken}/")), None)


def _owner_problems(at: KeyPath, entry: OwnFiles, spec: Spec) -> Iterator[tuple[KeyPath, str, str]]:
    try:
        numbers = owner_of(entry, spec)
    except ValueError:
        hint = f"add user: {{name: {entry.owner}, uid: 1000}}, or write a number"
        yield at, f"the spec makes no user {entry.owner!r}", hint
        return
    if max(numbers) > HIGHEST_ID:
        yield at, f"{entry.owner} is beyond {HIGHEST_ID}, the last number of a user", "owner: 1000"


def owner_of(entry: OwnFiles, spec: Spec) -> tuple[int, int]:
    """Return user and group, as numbers, that own ``entry``; raise ValueError for another name."""
    owner = entry.owner or "root"
    if owner == "root":
        return 0, 0
    if isinstance(spec.user, OwnUser) and owner == spec.user.name:
        return spec.user.uid, spec.user.group
    uid, _, gid = owner.partition(":")
    return int(uid), int(gid or uid)


def pattern_problems(at: KeyPath, patterns: Iterable[str]) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield what is wrong with patterns that leave files out: place, message, hint."""
    for number, text in enumerate(patterns):
        try:
            _Pattern.parse(text)
        except re.error:
            yield (*at, number), f"{text!r} is no pattern", 'like "*.pyc" or "data/**/raw"'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    keeps: bool
    regex: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> _Pattern:
        """Read one pattern; raises re.error."""
        stripped = text.strip()
        path = stripped.removeprefix("!").strip().strip("/").removeprefix("./")
        anywhere = "" if "/" in path or stripped.lstrip("!").startswith("/") else "(?:.*/)?"
        body = "".join(map(_as_regex, _TOKEN.findall(path)))
        return cls(keeps=stripped.startswith("!"), regex=re.compile(f"{anywhere}{body}", re.DOTALL))


class Patterns:
    """Which paths of a folder are left out."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._patterns = [_Pattern.parse(text) for text in texts if text.strip()]
        self._has_exceptions = any(each.keeps for each in self._patterns)

    def excludes(self, path: str) -> bool:
        """Return whether ``path``, from the folder, is left out, by its name or by a folder's."""
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        out = False
        for pattern in self._patterns:
            if any(pattern.regex.fullmatch(each) for each in above):
                out = not pattern.keeps
        return out

    def closes(self, folder: str) -> bool:
        """Return whether nothing below ``folder`` can count, so that it need not be opened."""
        return not self._has_exceptions and self.excludes(folder)


def _as_regex(token: str) -> str:
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if token in fixed:
        return fixed[token]
    if len(token) > 1 and token[0] == "[":
        inner = token[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return f"[{inner}]"
    return re.escape(token.removeprefix("\\") if len(token) > 1 else token)
