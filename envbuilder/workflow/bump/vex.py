"""Which holes matter to an image, and why the others do not: OpenVEX 0.2.0, which scanners read.

A file says what we found, and keeps what people stated in it: a hole that somebody calls
``not_affected``, with a reason, is nothing that a bump has to close.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from packageurl import PackageURL

from envbuilder import __version__
from envbuilder.evidence.bill import Bill
from envbuilder.model.codec import MisfitError, from_json
from envbuilder.model.errors import UsageError
from envbuilder.model.image import canonical_json

from .advisories import Concern

_OURS = "stated by envbuilder"
_CONTEXT = "https://openvex.dev/ns/v0.2.0"


class _Vulnerability(Struct, kw_only=True):
    name: str
    aliases: tuple[str, ...] = ()


class _Subcomponent(Struct, kw_only=True, rename={"id": "@id"}):
    id: str = ""


class _Product(Struct, kw_only=True, rename={"id": "@id"}):
    id: str = ""
    subcomponents: tuple[_Subcomponent, ...] = ()


class _Statement(Struct, kw_only=True):
    vulnerability: _Vulnerability
    status: Literal["not_affected", "affected", "fixed", "under_investigation"]
    products: tuple[_Product, ...] = ()
    status_notes: str = ""
    justification: str = ""
    impact_statement: str = ""


class _Document(Struct, kw_only=True):
    statements: list[dict[str, Any]]


class Stated:
    """What people say in a VEX file: their statements, each as it stands there."""

    def __init__(self, statements: Iterable[dict[str, Any]], where: str) -> None:
        self.kept: list[dict[str, Any]] = []
        self._excuses: list[_Statement] = []
        for number, plain in enumerate(statements):
            read = _read(plain, f"{where}: statements[{number}]")
            if read.status_notes.startswith(_OURS):
                continue
            self.kept.append(plain)
            if read.status == "not_affected":
                _require_reason(read, f"{where}: statements[{number}]")
                self._excuses.append(read)

    def excuses(self, concern: Concern) -> bool:
        """Return whether somebody says that the hole does not matter here, and why."""
        return any(_speaks_of(each, concern) for each in self._excuses)

    def knows(self, concern: Concern) -> bool:
        """Return whether somebody says anything of that hole in that package."""
        reads = (_read(plain, "") for plain in self.kept)
        return any(_speaks_of(each, concern) for each in reads)


def read_vex(path: Path) -> Stated:
    """Read what people stated in ``path``, nothing if there is no such file.

    Raises UsageError for what is no OpenVEX document, or excuses a hole without a reason.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Stated((), str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        return Stated(from_json(text, _Document).statements, str(path))
    except MisfitError as error:
        raise UsageError(f"{path} is no OpenVEX document: {error}") from error


def vex(bill: Bill, concerns: Sequence[Concern], stated: Stated) -> dict[str, Any]:
    """Write what holds for the image of ``bill``: people's statements first, then ours."""
    product = f"pkg:oci/{bill.name}@{str(bill.image).replace(':', '%3A')}"
    ours = [_statement(each, product) for each in concerns if not stated.knows(each)]
    content = {
        "author": f"envbuilder {__version__}",
        "timestamp": bill.finished,
        "version": 1,
        "statements": [*stated.kept, *ours],
    }
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    return {"@context": _CONTEXT, "@id": f"urn:gpu-envbuilder:vex:{digest}", **content}


def _statement(concern: Concern, product: str) -> dict[str, Any]:
    name, *aliases = concern.names
    part = concern.part
    said: dict[str, str] = {"status": "affected"}
    if concern.affected:
        said["action_statement"] = _action(concern)
    elif concern.fixed:
        said = {"status": "fixed", "impact_statement": f"Closed since {concern.fixed}."}
    else:
        said = {
            "status": "not_affected",
            "justification": "vulnerable_code_not_present",
            "impact_statement": f"{part.version} is none of the versions that have the hole.",
        }
    return {
        "vulnerability": {"name": name, **({"aliases": aliases} if aliases else {})},
        "products": [{"@id": product, "subcomponents": [{"@id": part.purl}]}],
        "status_notes": f"{_OURS}, by the OSV database",
        **said,
    }


def _action(concern: Concern) -> str:
    if not concern.fixed:
        return "No fix is known."
    if concern.part.kind == "deb":
        return f"Bump system: {concern.part.source} {concern.fixed} closes it."
    return f"Bump {concern.part.name} to {concern.fixed}."


def _read(plain: dict[str, Any], place: str) -> _Statement:
    try:
        return from_json(canonical_json(plain), _Statement)
    except MisfitError as error:
        raise UsageError(f"{place} is no statement of OpenVEX: {error}") from error


def _require_reason(statement: _Statement, place: str) -> None:
    if not (statement.justification or statement.impact_statement):
        raise UsageError(
            f"{place} calls {statement.vulnerability.name} not_affected without a reason",
            hint="add a justification or an impact_statement",
        )


def _speaks_of(statement: _Statement, concern: Concern) -> bool:
    named = {statement.vulnerability.name, *statement.vulnerability.aliases}
    if named.isdisjoint(concern.names):
        return False
    about = [
        each.id for product in statement.products for each in product.subcomponents or (product,)
    ]
    return not about or any(_is_of(purl, concern.part.purl) for purl in about)


def _is_of(purl: str, held: str) -> bool:
    """Return whether ``purl`` names the package ``held``: that version, or all if it has none."""
    try:
        wanted, found = PackageURL.from_string(purl), PackageURL.from_string(held)
    except ValueError:
        return False
    if wanted.type == "oci":  # the whole image
        return True
    same = (wanted.type, wanted.namespace, wanted.name)
    return same == (found.type, found.namespace, found.name) and wanted.version in {
        None,
        found.version,
    }
