"""A bill of materials in CycloneDX 1.6, which the signed evidence has."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL

from envbuilder import __version__
from envbuilder.model.lock import Lock
from envbuilder.model.reference import Digest

from .bill import Bill, PackageFacts, Part, bill_of_lock
from .licenses import License
from .statements import SBOM, Statement

_TRIVY = "aquasecurity:trivy:"
"""Where Trivy looks for the source of a .deb, which it reads in properties alone."""


def sbom(
    lock: Lock, image: Digest, *, finished: str, facts: PackageFacts | None = None
) -> Statement:
    """State what ``image`` consists of; ``finished`` is RFC 3339."""
    bill = bill_of_lock(lock, image, finished=finished, facts=facts)
    return Statement(subject=image, predicate_type=SBOM, predicate=cyclonedx(bill))


def cyclonedx(bill: Bill) -> dict[str, Any]:
    """Write ``bill`` as a CycloneDX document, a function of the bill alone."""
    root = Component(
        name=bill.name,
        version=str(bill.image),
        type=ComponentType.CONTAINER,
        bom_ref=str(bill.image),
        hashes=[_hash(bill.image)],
    )
    tool = Component(name="envbuilder", version=__version__, type=ComponentType.APPLICATION)
    bom = Bom(
        components=[*_system(bill.release), *map(_component, bill.parts)],
        # The library would draw a random number; the image's digest names this bill for good.
        serial_number=UUID(hex=bill.image.hex[:32], version=4),
        metadata=BomMetaData(
            component=root,
            tools=ToolRepository(components=[tool]),
            timestamp=datetime.fromisoformat(bill.finished),
        ),
    )
    bom.register_dependency(root, bom.components)
    document: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return document


def _system(release: tuple[str, str]) -> Iterable[Component]:
    """Name the operating system: without it scanners hold no .deb against its advisories."""
    name, version = release
    if name:
        yield Component(
            name=name,
            version=version,
            type=ComponentType.OPERATING_SYSTEM,
            bom_ref="-".join(filter(None, release)),
        )


def _component(part: Part) -> Component:
    component = Component(
        name=part.name,
        version=part.version,
        type=ComponentType.CONTAINER if part.kind == "image" else ComponentType.LIBRARY,
        purl=PackageURL.from_string(part.purl) if part.purl else None,
        bom_ref=part.purl or part.version,
        hashes=[] if part.sha256 is None else [_hash(part.sha256)],
        licenses=_licenses(part.license),
        properties=_properties(part),
    )
    if part.vcs:
        vcs = ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(part.vcs))
        component.external_references.add(vcs)
    if part.sdist is not None:
        name, sha256 = part.sdist
        component.external_references.add(
            ExternalReference(
                type=ExternalReferenceType.SOURCE_DISTRIBUTION,
                url=XsUri(name),
                hashes=[_hash(sha256)],
            )
        )
    return component


def _licenses(found: License) -> list[DisjunctiveLicense | LicenseExpression]:
    """Write one licence by its identifier or name, and several as one expression."""
    if not found.expression:
        return []
    if is_supported_id(found.expression):
        return [DisjunctiveLicense(id=found.expression)]
    if found.named and found.expression == found.named[0][0]:
        return [DisjunctiveLicense(name=found.named[0][1])]
    return [LicenseExpression(found.expression)]


def _properties(part: Part) -> list[Property]:
    if not part.source:
        return []
    epoch, colon, rest = part.source_version.rpartition(":")
    version, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    said = {"SrcName": part.source, "SrcVersion": version, "SrcRelease": revision}
    if colon:
        said["SrcEpoch"] = epoch
    return [Property(name=_TRIVY + key, value=value) for key, value in said.items() if value]


def _hash(digest: Digest) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest.hex)
