"""The part of GitHub's expressions that our workflows use; anything else is an error.

Known are paths (``github.base_ref``), texts, ``fromJSON(PATH)``, ``==``, ``!=`` and ``&&``.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_PLACED = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_PATH = re.compile(r"[a-z]\w*(\.[\w-]+)+")
_COMPARED = re.compile(r"(\S+)\s*(==|!=)\s*(\S+)")


def value(text: str, known: Mapping[str, Any]) -> Any:
    """Evaluate one expression; raise LookupError for a name that is not known."""
    if "&&" in text:
        return all(value(part.strip(), known) for part in text.split("&&"))
    if compared := _COMPARED.fullmatch(text):
        same = value(compared[1], known) == value(compared[3], known)
        return same == (compared[2] == "==")
    if called := re.fullmatch(r"fromJSON\((.*)\)", text):
        return json.loads(value(called[1], known))
    if re.fullmatch(r"'[^']*'", text):
        return text[1:-1]
    assert _PATH.fullmatch(text), f"an expression that these tests do not know: {text}"
    found: Any = known
    for name in text.split("."):
        if name not in found:
            raise LookupError(f"{text}: there is no {name}")
        found = found[name]
    return found


def filled(given: Any, known: Mapping[str, Any]) -> Any:
    """Replace each ``${{ … }}`` in texts, at any depth; one alone keeps its type."""
    if isinstance(given, dict):
        return {key: filled(each, known) for key, each in given.items()}
    if isinstance(given, list):
        return [filled(each, known) for each in given]
    if not isinstance(given, str):
        return given
    if alone := _PLACED.fullmatch(given):
        return value(alone[1], known)
    return _PLACED.sub(lambda match: str(value(match[1], known)), given)
