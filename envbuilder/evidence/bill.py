"""What an image consists of, as one list that every format of a bill of materials is written from.

Names, versions and hashes come from the lock. Licences and sources are what the packages say of
themselves, as far as they are at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.message import Message
from urllib.parse import quote

from envbuilder.layers.installed import (
    DebInstalled,
    SystemFacts,
    facts_in_store,
    source_version_of,
)
from envbuilder.layers.wheel_metadata import stored_metadata
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import ArchiveSource, DebianBase, DebPackage, GitSource, Lock, Wheel
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from .licenses import UNKNOWN, License, license_of_debian, license_of_metadata
from .statements import package_url, public_address

_RELEASES = {
    "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15",
    "focal": "20.04", "jammy": "22.04", "noble": "24.04", "plucky": "25.04", "questing": "25.10",
}  # fmt: skip
"""Debian's suites by the number that scanners know them by; sid has none."""
_POOL = re.compile(r"(?:.*/)?pool/(?:updates/)?[^/]+/[^/]+/([^/]+)/[^/]+")
_SYSTEM = frozenset({LayerKind.BASE, LayerKind.SYSTEM, LayerKind.STEP})

AskMetadata = Callable[[str, Digest | None], Message | None]
"""Give the core metadata of a Python package, by canonical name and by its wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One package, or the image below; ``purl`` names it, ``source`` is what a .deb is built from.

    ``vcs`` is the commit of what comes from git, ``sdist`` the file name and hash of what a wheel
    was built from; ``sha256`` is None where only a name is known.
    """

    kind: str
    name: str
    version: str
    purl: str = ""
    sha256: Digest | None = None
    license: License = UNKNOWN
    vcs: str = ""
    sdist: tuple[str, Digest] | None = None
    source: str = ""
    source_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """The parts of ``image``; ``release`` is the system's ID and VERSION_ID, such as debian, 13.

    ``finished`` is RFC 3339.
    """

    name: str
    image: Digest
    finished: str
    release: tuple[str, str]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """What is known of the packages beyond the lock; by default nothing."""

    system: SystemFacts | None = None
    metadata: AskMetadata = lambda _name, _wheel: None


def facts_of_store(store: Store, lock: Lock) -> PackageFacts:
    """Return what wheels and layers in ``store`` say; raise BuildError for a damaged one."""
    layers = (
        [] if lock.seal is None else [each for each in lock.seal.layers if each.kind in _SYSTEM]
    )
    # Of a Debian base the lock names each package, which what is found is held against.
    partial = isinstance(lock.base, DebianBase)
    return PackageFacts(
        system=facts_in_store(store, layers, partial=partial) if layers else None,
        metadata=lambda _name, wheel: None if wheel is None else stored_metadata(store, wheel),
    )


def bill_of_lock(
    lock: Lock, image: Digest, *, finished: str, facts: PackageFacts | None = None
) -> Bill:
    """List the parts of the ``image`` that ``lock`` made; ``finished`` is RFC 3339."""
    known = facts or PackageFacts()
    system = known.system or SystemFacts()
    parts = [
        *(_wheel(each, known.metadata) for each in lock.wheels),
        *(_git(each, known.metadata) for each in lock.sources),
        *(_archive(each, known.metadata) for each in lock.archives),
    ]
    release = system.release
    if isinstance(lock.base, DebianBase):
        suite = lock.base.suite
        release = (lock.base.distribution, _RELEASES.get(suite, suite))
        parts += [*_standalone(lock.base), *_locked_debs(lock.base, system, release)]
    else:
        base = Part(
            kind="image", name=lock.base.reference, version=str(lock.base.digest),
            sha256=lock.base.digest,
        )  # fmt: skip
        parts += [base, *_debs(system, release)]
    return Bill(
        name=lock.spec.name, image=image, finished=finished, release=release, parts=tuple(parts)
    )


def _standalone(base: DebianBase) -> Iterator[Part]:
    """Name the Python that is no package of the base."""
    if (python := base.standalone) is not None:
        purl = package_url("generic", "cpython", python.version)
        yield Part(
            kind="python", name="cpython", version=python.version, purl=purl, sha256=python.sha256
        )


def bill_of_image(
    name: str, image: Digest, *, finished: str, python: list[Part], system: SystemFacts
) -> Bill:
    """List the parts of an image that came without a lock, by what its files say."""
    parts = (*python, *_debs(system, system.release))
    return Bill(name=name, image=image, finished=finished, release=system.release, parts=parts)


def python_part(name: str, version: str, metadata: Message | None, sha256: Digest | None) -> Part:
    """Return the part of one Python package."""
    return Part(
        kind="python",
        name=name,
        version=version,
        purl=package_url("pypi", name, version),
        sha256=sha256,
        license=UNKNOWN if metadata is None else license_of_metadata(metadata),
    )


def unlicensed(bill: Bill) -> tuple[str, ...]:
    """Name the packages whose licence the bill does not have."""
    return tuple(
        each.name for each in bill.parts if each.kind != "image" and not each.license.expression
    )


def _wheel(wheel: Wheel, metadata: AskMetadata) -> Part:
    return python_part(wheel.name, wheel.version, metadata(wheel.name, wheel.sha256), wheel.sha256)


def _git(source: GitSource, metadata: AskMetadata) -> Part:
    digest = source.wheel.sha256 if source.wheel else None
    purl = package_url("pypi", source.name, source.version)
    found = metadata(source.name, digest)
    return Part(
        kind="git",
        name=source.name,
        version=source.version,
        purl=purl,
        sha256=digest,
        license=UNKNOWN if found is None else license_of_metadata(found),
        vcs=f"git+{public_address(source.repository)}@{source.commit}",
    )


def _archive(archive: ArchiveSource, metadata: AskMetadata) -> Part:
    digest = archive.wheel.sha256 if archive.wheel else None
    part = python_part(archive.name, archive.version, metadata(archive.name, digest), digest)
    return replace(part, sdist=(archive.filename, archive.sha256))


def _locked_debs(base: DebianBase, system: SystemFacts, release: tuple[str, str]) -> Iterator[Part]:
    installed = {each.name: each for each in system.debs or ()}
    for package in base.packages:
        deb = installed.get(package.name)
        if deb is None or deb.version != package.version:
            deb = locked_deb(package)
        yield _deb(deb, system, release, package.sha256)


def locked_deb(package: DebPackage) -> DebInstalled:
    """Return what the lock alone tells of a package: its path in the pool names its source."""
    pool = _POOL.fullmatch(package.filename)
    return DebInstalled(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        source=pool[1] if pool else package.name,
        source_version=source_version_of(package.version),
    )


def _debs(system: SystemFacts, release: tuple[str, str]) -> Iterator[Part]:
    return (_deb(each, system, release, None) for each in system.debs or ())


def _deb(
    deb: DebInstalled, system: SystemFacts, release: tuple[str, str], sha256: Digest | None
) -> Part:
    """Name a .deb as syft does: scanners look its source up under ``upstream``."""
    vendor = release[0] or "debian"
    qualifiers = {"arch": deb.architecture, "distro": "-".join(filter(None, release))}
    if (deb.source, deb.source_version) != (deb.name, deb.version):
        same = deb.source_version == deb.version
        qualifiers["upstream"] = deb.source if same else f"{deb.source}@{deb.source_version}"
    said = "&".join(f"{key}={quote(value, safe='')}" for key, value in qualifiers.items() if value)
    return Part(
        kind="deb",
        name=deb.name,
        version=deb.version,
        purl=f"{package_url('deb', f'{vendor}/{deb.name}', deb.version)}?{said}",
        sha256=sha256,
        license=license_of_debian(system.licenses.get(deb.name, ())),
        source=deb.source,
        source_version=deb.source_version,
    )
