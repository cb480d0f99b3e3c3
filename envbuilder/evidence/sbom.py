"""The bill of materials of an image, in CycloneDX: every wheel, .deb file and git source."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from envbuilder import __version__
from envbuilder.model.lock import DebianBase, GitSource, Lock, Wheel
from envbuilder.model.reference import Digest

from .statements import SBOM, Statement, package_url, public_address

_RELEASES = {
    "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15",
    "focal": "20.04", "jammy": "22.04", "noble": "24.04", "plucky": "25.04", "questing": "25.10",
}  # fmt: skip
"""Suites by the number that scanners know them by; sid has none."""


def sbom(lock: Lock, image: Digest, *, finished: str) -> Statement:
    """State what ``image`` consists of (CycloneDX 1.6); ``finished`` is RFC 3339."""
    root = Component(
        name=lock.spec.name,
        version=str(image),
        type=ComponentType.CONTAINER,
        bom_ref=str(image),
        hashes=[_hash(image)],
    )
    tool = Component(name="envbuilder", version=__version__, type=ComponentType.APPLICATION)
    bom = Bom(
        components=_components(lock),
        # The library would draw a random number; the image's digest names this bill for good.
        serial_number=UUID(hex=image.hex[:32], version=4),
        metadata=BomMetaData(
            component=root,
            tools=ToolRepository(components=[tool]),
            timestamp=datetime.fromisoformat(finished),
        ),
    )
    bom.register_dependency(root, bom.components)
    predicate = json.loads(JsonV1Dot6(bom).output_as_string())
    return Statement(subject=image, predicate_type=SBOM, predicate=predicate)


def _components(lock: Lock) -> Iterable[Component]:
    yield from (_wheel(wheel) for wheel in lock.wheels)
    yield from (_source(source) for source in lock.sources)
    if isinstance(lock.base, DebianBase):
        release = _RELEASES.get(lock.base.suite, lock.base.suite)
        if (python := lock.base.standalone) is not None:
            purl = package_url("generic", "cpython", python.version)
            yield _component("cpython", python.version, purl, python.sha256)
        name = lock.base.distribution
        yield _system(name, release)
        for package in lock.base.packages:
            purl = package_url("deb", f"{name}/{package.name}", package.version)
            purl += f"?arch={package.architecture}&distro={name}-{release}"
            yield _component(package.name, package.version, purl, package.sha256)
    else:
        yield _container(lock.base.reference, lock.base.digest)


def _system(name: str, release: str) -> Component:
    """Name the operating system: without it scanners hold no .deb against its advisories."""
    return Component(
        name=name,
        version=release,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"{name}-{release}",
    )


def _wheel(wheel: Wheel) -> Component:
    purl = package_url("pypi", wheel.name, wheel.version)
    return _component(wheel.name, wheel.version, purl, wheel.sha256)


def _source(source: GitSource) -> Component:
    purl = package_url("pypi", source.name, source.version)
    component = _component(
        source.name, source.version, purl, source.wheel.sha256 if source.wheel else None
    )
    component.external_references.add(
        ExternalReference(
            type=ExternalReferenceType.VCS,
            url=XsUri(f"git+{public_address(source.repository)}@{source.commit}"),
        )
    )
    return component


def _component(name: str, version: str, purl: str, digest: Digest | None) -> Component:
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=PackageURL.from_string(purl),
        bom_ref=purl,
        hashes=[] if digest is None else [_hash(digest)],
    )


def _container(reference: str, digest: Digest) -> Component:
    return Component(
        name=reference,
        version=str(digest),
        type=ComponentType.CONTAINER,
        bom_ref=str(digest),
        hashes=[_hash(digest)],
    )


def _hash(digest: Digest) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest.hex)
