"""Words as a Dockerfile and a shell have them: quotes, escapes, ``$NAME`` and its kin."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODIFIED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-+?])(.*))?", re.DOTALL)
_CLOSING = {"(": ")", "{": "}"}
_DEEPEST = 40


class UnreadableError(ValueError):
    """A text that is not shell, or a part of it that is not read here."""


@dataclass(slots=True)
class Expansion:
    """Variables and how commands in ``$(…)`` are answered; ``unknown`` grows with what is not.

    A variable that is None was declared without a value. One that is absent may have any, for the
    base may set it, unless ``complete`` says that nothing else does.
    """

    variables: Mapping[str, str | None]
    complete: bool = False
    substitute: Callable[[str], str | None] = lambda _: None
    mark: Callable[[str], str] = "${{{}}}".format
    unknown: set[str] = field(default_factory=set)


def split_words(text: str) -> list[str]:
    """Split at blanks outside of quotes and ``$(…)``; quotes and escapes stay."""
    words, word, at = [], "", 0
    while at < len(text):
        if text[at].isspace():
            if word:
                words.append(word)
            word, at = "", at + 1
        else:
            end = skip(text, at)
            word, at = word + text[at:end], end
    return [*words, word] if word else words


def skip(text: str, at: int) -> int:
    """Return the end of what begins at ``at``: a quoted text, an escape, ``$(…)``, a character.

    Raises UnreadableError for what is nested deeper than people write.
    """
    closing: list[str] = []
    while at < len(text):
        at = _step(text, at, closing)
        if len(closing) > _DEEPEST:
            raise UnreadableError("nested too deeply")
        if not closing:
            break
    return at


def _step(text: str, at: int, closing: list[str]) -> int:
    """Go on by one sign; ``closing`` are the signs that end what is open, the innermost last."""
    sign, within = text[at], closing[-1] if closing else ""
    if sign == "\\":
        return min(at + 2, len(text))
    if sign == within:
        closing.pop()
    elif sign == "$" and text[at + 1 : at + 2] in _CLOSING:
        closing.append(_CLOSING[text[at + 1]])
        return at + 2
    elif sign in {"'", "`"} and within != '"':
        found = text.find(sign, at + 1)
        return len(text) if found < 0 else found + 1
    elif sign == '"' or (sign == "(" and within == ")"):
        closing.append('"' if sign == '"' else ")")
    return at + 1


def unquoted(word: str) -> str:
    """Take quotes and escapes away, and expand nothing."""
    return re.sub(r"\\(.)|[\"']", lambda match: match[1] or "", word)


def expand(word: str, using: Expansion) -> str:
    """Expand one word: quotes go, variables and commands give their values.

    What is not known stays as ``${NAME}``, and ``using.unknown`` names it.
    """
    return "".join(_parts(word, using))


def _parts(word: str, using: Expansion) -> Iterator[str]:
    at = 0
    while at < len(word):
        end = skip(word, at)
        yield _part(word, at, end, using)
        if word[at] == "$" and end == at + 1 and (name := _NAME.match(word, end)):
            end = name.end()
        at = end


def _part(word: str, at: int, end: int, using: Expansion) -> str:
    sign, inner = word[at], word[at + 1 : end]
    if sign == "\\":
        return inner.removeprefix("\n")
    if sign == "'":
        return inner.removesuffix("'").replace("\\\n", "")
    if sign == '"':
        return "".join(_within_quotes(inner.removesuffix('"'), using))
    if sign == "`":
        return _command(inner.removesuffix("`"), using)
    if sign != "$":
        return word[at:end]
    if inner:
        return _command(inner[1:-1], using) if inner[0] == "(" else _modified(inner[1:-1], using)
    name = _NAME.match(word, end)
    return _value(name[0], using) if name else "$"


def _within_quotes(text: str, using: Expansion) -> Iterator[str]:
    at = 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in {'"', "\\", "$", "`", "\n"}:
            yield text[at + 1].removeprefix("\n")
            at += 2
        elif text[at] in "$`":
            end = skip(text, at)
            yield _part(text, at, end, using)
            name = _NAME.match(text, end) if end == at + 1 and text[at] == "$" else None
            at = name.end() if name else end
        else:
            yield text[at]
            at += 1


def _value(name: str, using: Expansion) -> str:
    found = using.variables.get(name)
    if found is None:
        using.unknown.add(name)
        return using.mark(name)
    return found


def _command(text: str, using: Expansion) -> str:
    found = using.substitute(text)
    if found is None:
        using.unknown.add(f"$({text.strip()})")
        return f"$({text})"
    return found


def _modified(text: str, using: Expansion) -> str:
    """Expand ``NAME``, ``NAME:-word``, ``NAME:+word``, ``NAME%%pattern`` and ``NAME#pattern``."""
    match = _MODIFIED.fullmatch(text)
    if match is None:
        return _trimmed(text, using)
    name, how, word = match[1], match[2], match[3] or ""
    if how and name not in using.variables and not using.complete:
        return _of_base(name, how, word, using)
    value = using.variables.get(name)
    given = bool(value) if how and how[0] == ":" else value is not None
    if how and how[-1] == "-":
        return value or "" if given else expand(word, using)
    if how and how[-1] == "+":
        return expand(word, using) if given else ""
    return _value(name, using)


def _of_base(name: str, how: str, word: str, using: Expansion) -> str:
    """Expand ``NAME:-word`` and its kin where only the base knows whether NAME is set.

    Without a word it is what the base has, and so is a list that is joined where it has one. With
    another word nobody here knows, and the text stays.
    """
    if not word or how[-1] == "?":
        return _value(name, using)
    if how[-1] == "+" and re.fullmatch(rf"[: ]*(\${name}|\$\{{{name}\}})[: ]*", word):
        return expand(word, using)
    text = f"${{{name}{how}{word}}}"
    using.unknown.add(text)
    return text


def _trimmed(text: str, using: Expansion) -> str:
    match = re.fullmatch(r"([A-Za-z_]\w*)(%%|%|##|#)(.*)", text)
    value = using.variables.get(match[1]) if match else None
    if match is None or value is None:
        using.unknown |= {f"${{{text}}}"} | ({match[1]} if match else set())
        return f"${{{text}}}"
    return trim(value, match[2], match[3])


def trim(value: str, how: str, pattern: str) -> str:
    """Cut what ``pattern`` matches off the end (``%``) or start (``#``); doubled, the longest."""
    end = how[0] == "%"
    sizes = range(len(value) + 1)
    for size in reversed(sizes) if len(how) == 2 else sizes:
        part = value[len(value) - size :] if end else value[:size]
        if fnmatch.fnmatchcase(part, pattern):
            return value[: len(value) - size] if end else value[size:]
    return value
