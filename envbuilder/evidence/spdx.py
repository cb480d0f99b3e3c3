"""A bill of materials in SPDX 2.3 (ISO/IEC 5962 and its successor), as JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from envbuilder import __version__

from .bill import Bill, Part

_NONE = "NOASSERTION"
_PURPOSES = {"image": "CONTAINER"}


def spdx(bill: Bill) -> dict[str, Any]:
    """Write ``bill`` as an SPDX document, a function of the bill alone."""
    ids = [_identifier(number, part) for number, part in enumerate(bill.parts, start=1)]
    root = "SPDXRef-image"
    moment = datetime.fromisoformat(bill.finished).astimezone(UTC)
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": bill.name,
        "documentNamespace": f"urn:gpu-envbuilder:sbom:{bill.image}",
        "creationInfo": {
            "created": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": [f"Tool: envbuilder-{__version__}"],
        },
        "packages": [
            _root(bill, root),
            *_system(bill.release),
            *map(_package, ids, bill.parts),
        ],
        "hasExtractedLicensingInfos": _extracted(bill),
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", root),
            *(_relation(root, "CONTAINS", each) for each in [*_system_ids(bill.release), *ids]),
        ],
    }


def _identifier(number: int, part: Part) -> str:
    name = re.sub(r"[^A-Za-z0-9.]+", "-", part.name)
    return f"SPDXRef-{part.kind}-{number}-{name}"


def _root(bill: Bill, identifier: str) -> dict[str, Any]:
    return {
        **_plain(identifier, bill.name, str(bill.image)),
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": bill.image.hex}],
    }


def _system_ids(release: tuple[str, str]) -> list[str]:
    return ["SPDXRef-OperatingSystem"] if release[0] else []


def _system(release: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {**_plain(each, *release), "primaryPackagePurpose": "OPERATING-SYSTEM"}
        for each in _system_ids(release)
    ]


def _package(identifier: str, part: Part) -> dict[str, Any]:
    package = {
        **_plain(identifier, part.name, part.version),
        "licenseDeclared": part.license.expression or _NONE,
        "primaryPackagePurpose": _PURPOSES.get(part.kind, "LIBRARY"),
    }
    if part.vcs:
        package["downloadLocation"] = part.vcs
    if part.sha256 is not None:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": part.sha256.hex}]
    if part.source:
        package["sourceInfo"] = f"built from {part.source} {part.source_version}"
    if part.sdist is not None:
        package["sourceInfo"] = f"built from {part.sdist[0]}, {part.sdist[1]}"
    if part.purl:
        package["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": part.purl,
            }
        ]
    return package


def _plain(identifier: str, name: str, version: str) -> dict[str, Any]:
    return {
        "SPDXID": identifier,
        "name": name,
        "versionInfo": version,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "licenseConcluded": _NONE,
        "licenseDeclared": _NONE,
        "copyrightText": _NONE,
    }


def _extracted(bill: Bill) -> list[dict[str, str]]:
    """Say what each ``LicenseRef-…`` stands for: the package's own word for it."""
    named = {pair for part in bill.parts for pair in part.license.named}
    words: dict[str, list[str]] = {}
    for reference, name in sorted(named):
        words.setdefault(reference, []).append(name)
    return [
        {"licenseId": reference, "name": names[0], "extractedText": "\n".join(names)}
        for reference, names in words.items()
    ]


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
