"""How a value enters a Dockerfile: as one word, one JSON array, or one script, and never as more.

BuildKit reads three languages: instruction words (ENV, LABEL, USER, FROM …), shell words inside
RUN, and JSON arrays. :func:`quote` makes words that mean the same to BuildKit's lexer and to sh;
the templates pass every value through it, whether they ask for it or not (``render``).
Source: the Dockerfile reference ("Environment replacement", "Here-documents"), POSIX.1 sh 2.2.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterable

from envbuilder.model.errors import SpecError
from envbuilder.model.variables import parts_of

_BARE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # a tab is text, a line break is not
_NO_TEXT = re.compile(r"[\x00\r]")
_SEGMENT = re.compile(r"`+|[^`]+")


class Quoted(str):
    """Text that may enter a Dockerfile as it is."""

    __slots__ = ()


def quote(value: object) -> Quoted:
    r"""Write ``value`` as one word; bare if that is safe.

    It stands in double quotes, in which both languages take ``\\``, ``\"`` and ``\$`` for what they
    say; backticks, which only sh would escape there, stand in single quotes. Raises SpecError for
    control characters and for what UTF-8 cannot hold.
    """
    if isinstance(value, Quoted):
        return value
    text = _checked(str(value), _CONTROL)
    if _BARE.fullmatch(text):
        return Quoted(text)
    return Quoted("".join(map(_segment, _SEGMENT.findall(text))) or '""')


def with_variables(text: str) -> Quoted:
    """Write ``text``, which may name variables, as one word of ENV that names the same."""
    parts = (f'"${{{part.name}}}"' if part.name else quote(part.text) for part in parts_of(text))
    return Quoted("".join(parts) or '""')


def exec_form(words: Iterable[str]) -> Quoted:
    """Write ``words`` as the JSON array of ENTRYPOINT and CMD, which no shell touches."""
    return Quoted(json.dumps([_checked(word, _CONTROL) for word in words], ensure_ascii=False))


def script(text: str) -> Quoted:
    """Write ``text`` as a here-document that RUN gives to the shell as it stands.

    It first sources the build's own prelude (``context/step.sh``: stop at the first error, clean
    up at the end). The closing word is one that no line of ``text`` is.
    """
    body = _checked(text, _NO_TEXT).rstrip("\n")
    end = _closing_word("STEP", body)
    return Quoted(f"<<'{end}'\n. /run/build/step.sh\n{body}\n{end}")


def document(text: str, path: str) -> Quoted:
    """Write ``text`` (whole lines) as a here-document that COPY puts at ``path``."""
    body = _checked(text, _NO_TEXT).removesuffix("\n")
    end = _closing_word("EOF", body)
    return Quoted(f"<<'{end}' {quote(path)}\n{body}\n{end}")


def csv_row(*fields: str) -> str:
    """Join ``key=value`` fields the way buildx splits them: as one CSV row."""
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(fields)
    return row.getvalue()


def _closing_word(wish: str, body: str) -> str:
    """Choose a word that no line of ``body`` is."""
    lines = {line.strip() for line in body.split("\n")}
    candidates = (wish + "_" * count for count in itertools.count())
    return next(word for word in candidates if word not in lines)


def _segment(text: str) -> str:
    if text.startswith("`"):
        return f"'{text}'"
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def _checked(text: str, refused: re.Pattern[str]) -> str:
    found = refused.search(text)
    if found is not None:
        raise SpecError(
            f"{text!r} holds the control character {found[0]!r}, which a Dockerfile cannot hold",
            hint="take it out of the spec",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SpecError(f"{text!r} holds half a surrogate pair, which is no text") from error
    return text
