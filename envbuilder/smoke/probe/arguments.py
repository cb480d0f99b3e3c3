"""Read the arguments of programs that start what stands in them: a Python, and small wrappers."""

from __future__ import annotations

import os
import re
import shlex
from typing import List, Optional, Sequence, Tuple

WRAPPERS = {
    "catatonit": "",
    "docker-init": "ep",
    "dumb-init": "r",
    "env": "CSau",
    "tini": "ep",
    "tini-static": "ep",
}
"""Programs that start the first word that is no option, and the letters that take a word."""
VALUED = ("argv0", "check-hash-based-pycs", "chdir", "rewrite", "split-string", "unset")
"""Long options, of all that is read here, that take a word."""
TOLD = ("?", "V", "h", "help", "help-all", "help-env", "help-xoptions", "version")
"""Options of Python with which it says something of itself and ends."""
ELSEWHERE = ("-", "C", "chdir", "i", "ignore-environment", "u", "unset")
"""Options of env after which a program is looked for in other places."""
PYTHON = re.compile(r"python(\d+(\.\d+)*)?t?d?")
"""The names of CPython's program; ``python-config`` and its like are others."""

Options = List[Tuple[str, Optional[str]]]


def options(words: Sequence[str], valued: str, last: str = "") -> Tuple[Options, List[str]]:
    """Return the options that ``words`` begin with, and the words behind them, as getopt does.

    The letters ``valued`` take the rest of their word, or the next one: None if there is none. A
    letter of ``last`` ends the options.
    """
    found: Options = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found.append((name, value if equals or name not in VALUED else _next(rest)))
            continue
        for at, letter in enumerate(word[1:], start=2):
            if letter in valued:
                found.append((letter, word[at:] or _next(rest)))
                break
            found.append((letter, ""))
        if found[-1][0] in last:
            break
    return found, rest


def _next(rest: List[str]) -> Optional[str]:
    return rest.pop(0) if rest else None


def is_python(program: str) -> bool:
    """Return whether ``program`` is CPython's, by its name."""
    return PYTHON.fullmatch(os.path.basename(program)) is not None


def of_python(words: Sequence[str]) -> Tuple[str, Optional[str], List[str]]:
    """Return how Python reads its arguments ``words``: what it runs, and by which flags it looks.

    That is ``m`` with the module, ``script`` with the file, or ``lacks`` with the option that has
    no word; "" with nothing to look for: a text (``-c``), standard input, or Python's own help.
    """
    found, rest = options(words, "WXcm", last="cm")
    flags = ["-" + letter for letter, _ in found if letter in "EIPSs"]
    told = {name for name, _ in found} & {*TOLD}
    last, value = found[-1] if found else ("", "")
    if value is None:
        return "lacks", "-" + last if len(last) == 1 else "--" + last, flags
    if not told and last == "m":
        return "m", value, flags
    if not told and last != "c" and rest and rest[0] != "-":
        return "script", rest[0], flags
    return "", None, flags


def wrapped(args: Sequence[str]) -> List[str]:
    """Return what the wrapper ``args[0]`` starts, with its arguments.

    Empty if it is none, starts nothing, or lets its program be looked for elsewhere than here.
    """
    name = os.path.basename(args[0])
    if name not in WRAPPERS:
        return []
    found, rest = options(args[1:], WRAPPERS[name], last="S")
    if name != "env":
        return rest
    if {option for option, _ in found} & {*ELSEWHERE} or rest[:1] == ["-"]:
        return []
    split = [value for option, value in found if option in ("S", "split-string") and value]
    if split:
        return wrapped([args[0], *_split(split[0]), *rest])
    while rest and "=" in rest[0]:
        if rest.pop(0).startswith("PATH="):
            return []
    return rest


def _split(text: str) -> List[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote without its end: env refuses that, and says so
        return []
