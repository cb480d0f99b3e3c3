"""Licences as packages state them, in SPDX's words: of core metadata, and of Debian's copyright.

What SPDX has no identifier for becomes a ``LicenseRef-…`` that keeps the package's own word.
Sources: SPDX 2.3 annex D, PEP 639, DEP 5 ("License specification").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

_LONGEST = 80  # characters of a name; more is the licence's text, pasted
_GNU = re.compile(r"(A?GPL|LGPL|GFDL|GFDL-NIV)-?(\d(?:\.\d)?)(\+|-or-later|-only)?", re.IGNORECASE)
_OPERATOR = re.compile(r",?\s+(and|or)\s+|\s*\|\s*", re.IGNORECASE)
_WORDS = {  # by what names people call them that mean one licence only, in lower case
    "0bsd": "0BSD",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "artistic": "Artistic-1.0",
    "artistic-2": "Artistic-2.0",
    "beerware": "Beerware",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd-2": "BSD-2-Clause",
    "bsd-3": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsl": "BSL-1.0",
    "cc0": "CC0-1.0",
    "expat": "MIT",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mit/x11": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mpl 2.0": "MPL-2.0",
    "new bsd": "BSD-3-Clause",
    "psf": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "gnu general public license v2 (gplv2)": "GPL-2.0-only",
    "gnu general public license v2 or later (gplv2+)": "GPL-2.0-or-later",
    "gnu general public license v3 (gplv3)": "GPL-3.0-only",
    "gnu general public license v3 or later (gplv3+)": "GPL-3.0-or-later",
    "gnu lesser general public license v3 or later (lgplv3+)": "LGPL-3.0-or-later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """An SPDX ``expression``, empty if nothing is known; ``named`` has the words behind its refs.

    ``named`` maps each ``LicenseRef-…`` of the expression to what the package calls it.
    """

    expression: str = ""
    named: tuple[tuple[str, str], ...] = field(default=())


UNKNOWN = License()


def license_of_metadata(head: Message) -> License:
    """Return the licence that a Python package's core metadata states.

    ``License-Expression`` decides; else a short ``License``, else the classifiers.
    """
    stated = str(head["License-Expression"] or "").strip()
    if stated and (found := _identified(stated)):
        return License(expression=found)
    if short := _short(str(head["License"] or stated)):
        return _called(short)
    classifiers = [str(each) for each in head.get_all("Classifier") or ()]
    words = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")]
    return _all_of(_called(each) for each in words if each != "OSI Approved")


def license_of_debian(synopses: Iterable[str]) -> License:
    """Return what holds for a Debian package: all the ``License`` lines of its copyright file."""
    return _all_of(term for each in synopses for term in _terms(each))


def _terms(synopsis: str) -> Iterator[License]:
    """Read one line of DEP 5: all of what it gives hold; what mixes "and" with "or" is a name."""
    names = _OPERATOR.split(synopsis)[::2]
    operators = {(match[1] or "or").lower() for match in _OPERATOR.finditer(synopsis)}
    if operators == {"and"}:
        yield from map(_called, names)
    elif operators == {"or"}:
        yield _joined(map(_called, names), " OR ")
    else:
        yield _called(synopsis)


def _called(name: str) -> License:
    """Return what one name means; any word may be a licence's."""
    plain = " ".join(name.split()) or "unnamed"
    if found := _identified(_WORDS.get(plain.lower(), plain)) or _gnu(plain):
        return License(expression=found)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", plain.replace("+", "-or-later")).strip("-")
    reference = f"LicenseRef-{slug or 'unnamed'}"
    return License(expression=reference, named=((reference, plain),))


def _identified(text: str) -> str:
    """Return ``text`` as a canonical SPDX expression; nothing if it is none."""
    try:
        return "" if _GNU.fullmatch(text) else str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return ""


def _gnu(name: str) -> str:
    """Read GNU's licences, whose bare number means "only" in Debian: SPDX says which."""
    match = _GNU.fullmatch(name)
    if match is None:
        return ""
    family, _, variant = match[1].upper().partition("-")
    number = match[2] if "." in match[2] else f"{match[2]}.0"
    infix = "-no-invariants" if variant else ""
    later = (match[3] or "").lower() in {"+", "-or-later"}
    return f"{family}-{number}{infix}-{'or-later' if later else 'only'}"


def _short(text: str) -> str:
    """Return a one-line name; nothing for a text, or for the words that say nothing."""
    plain = text.strip()
    said = plain.lower() not in {"", "unknown", "other", "dual license"}
    return plain if said and "\n" not in plain and len(plain) <= _LONGEST else ""


def _all_of(licenses: Iterable[License]) -> License:
    return _joined(licenses, " AND ")


def _joined(licenses: Iterable[License], operator: str) -> License:
    parts = sorted({each for each in licenses if each.expression}, key=lambda each: each.expression)
    if not parts:
        return UNKNOWN
    terms = [each.expression for each in parts]
    if terms[1:] and operator == " AND ":
        terms = [f"({term})" if " OR " in term else term for term in terms]
    named = tuple(sorted({pair for each in parts for pair in each.named}))
    return License(expression=operator.join(terms), named=named)
