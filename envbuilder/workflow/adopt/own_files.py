"""Files that go into the image: as a source names them, and as a spec in its folder does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from envbuilder.model.own_files import MOST_ENTRIES

from .statements import Fact, Setting, Statement
from .texts import lines_of, read_text

_NEVER = (".git/",)
_IGNORE = ".dockerignore"


def own_files(
    origin: Path, to: str, *, owner: str = "", mode: str = "", exclude: Sequence[str] = ()
) -> Setting:
    """Return an entry of ``files`` for a file or folder, by its absolute path."""
    entry: dict[str, object] = {"from": str(origin), "to": to}
    entry |= {"owner": owner} if owner else {}
    entry |= {"mode": mode} if mode else {}
    entry |= {"exclude": [*_NEVER, *exclude]} if origin.is_dir() else {}
    return Setting(path=("files",), value=[entry])


def ignored(context: Path) -> tuple[str, ...]:
    """Return the patterns of a build context's .dockerignore, none without one.

    Raises UsageError for one that cannot be read: what it leaves out is often secret.
    """
    if not os.path.lexists(context / _IGNORE):
        return ()
    lines = lines_of(read_text(context / _IGNORE))
    return tuple(line.strip() for line in lines if line.strip() and line.lstrip()[0] != "#")


def relative_files(statements: Iterable[Statement], folder: Path) -> Iterator[Statement]:
    """Let the paths of own files count from the spec's ``folder``, which is none of them."""
    entries = 0
    for each in statements:
        own = sum(_is_files(fact) for fact in each.facts)
        entries += own
        if own and entries > MOST_ENTRIES:
            facts = tuple(fact for fact in each.facts if not _is_files(fact))
            why = f"files has {MOST_ENTRIES} entries at most: copy a folder that holds several"
            yield replace(each, facts=facts, left=why)
            entries -= own
        else:
            facts = tuple(_relative(fact, folder.resolve()) for fact in each.facts)
            yield replace(each, facts=facts)


def _is_files(fact: Fact) -> bool:
    return isinstance(fact, Setting) and fact.path == ("files",)


def _relative(fact: Fact, folder: Path) -> Fact:
    if not isinstance(fact, Setting) or fact.path != ("files",):
        return fact
    return replace(fact, value=[_entry(dict(entry), folder) for entry in fact.value])


def _entry(entry: dict[str, object], folder: Path) -> dict[str, object]:
    origin = Path(str(entry["from"]))
    if folder.is_relative_to(origin) and "exclude" in entry:
        below = folder.relative_to(origin).as_posix()
        written = ["pylock.*.toml", "*.ledger.jsonl"] if below == "." else [f"/{below}/"]
        entry["exclude"] = [*_list(entry["exclude"]), *written]
    entry["from"] = os.path.relpath(origin, folder)
    return entry


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []
