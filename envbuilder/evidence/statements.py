"""What we state of an image, as in-toto statements: how it was made, of what, and what it passed.

Source: in-toto attestation framework v1, SLSA provenance v1, in-toto test-result v0.1. Every
statement is about one manifest digest, and a function of its inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

from msgspec import Struct

from envbuilder import __version__
from envbuilder.model.codec import MisfitError, from_json
from envbuilder.model.image import canonical_json
from envbuilder.model.lock import ArchiveSource, DebianBase, Lock, Source, Wheel, spec_checksum
from envbuilder.model.pylock import lock_checksum
from envbuilder.model.reference import Digest

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
SBOM = "https://cyclonedx.org/bom"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""What ``cosign sign`` states in a bundle: that the image is signed, and nothing more."""
NAMES = {"provenance": PROVENANCE, "sbom": SBOM, "test-result": TEST_RESULT}
"""How people name the predicates, and the URIs that they travel under."""
ANY_BUILDER = "urn:gpu-envbuilder"
"""A builder that nobody has named."""

_RESULTS = {"pass": "PASSED", "skip": "WARNED", "unproven": "WARNED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A ``predicate`` of type ``predicate_type`` about the image with manifest ``subject``.

    ``since`` is when it was signed at the latest, by a time stamp or a log; None if nobody tells.
    """

    subject: Digest
    predicate_type: str
    predicate: Mapping[str, Any]
    since: datetime | None = None

    def payload(self, name: str) -> bytes:
        """Return the bytes to sign; ``name`` is how the image is called there."""
        return canonical_json(
            {
                "_type": STATEMENT,
                "subject": [{"name": name, "digest": {"sha256": self.subject.hex}}],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )


class _Subject(Struct, frozen=True):
    digest: dict[str, Any]


class _Content(Struct, frozen=True, rename="camel"):
    subject: tuple[_Subject, ...]
    predicate_type: str
    predicate: dict[str, Any] | None = None  # a signature has nothing to add


def parse_statement(payload: bytes, subject: Digest) -> Statement | None:
    """Read a payload as a statement about ``subject``; None if it is about something else."""
    try:
        content = from_json(payload, _Content)
    except MisfitError:
        return None
    if subject.hex not in [each.digest.get("sha256") for each in content.subject]:
        return None
    return Statement(
        subject=subject,
        predicate_type=content.predicate_type,
        predicate=content.predicate or {},
    )


def provenance(
    lock: Lock, image: Digest, *, engine: str, finished: str, builder: str = ANY_BUILDER
) -> Statement:
    """State how ``image`` was built from ``lock``, by ``engine``; ``finished`` is RFC 3339.

    ``builder`` is the URI of who ran the build, and so answers for all of this.
    """
    spec = lock.spec
    definition = {
        "buildType": f"urn:gpu-envbuilder:build:{engine}:v1",
        "externalParameters": {
            "name": spec.name,
            "platform": spec.platform,
            "spec": str(spec_checksum(spec)),
            "lock": str(lock_checksum(lock)),
        },
        "resolvedDependencies": [
            *_base(lock),
            *map(_distribution, _wheels(lock)),
            *_sources(lock),
            *_files(lock),
        ],
    }
    details = {
        "builder": {"id": builder, "version": {"envbuilder": __version__}},
        "metadata": {"finishedOn": finished},
    }
    predicate = {"buildDefinition": definition, "runDetails": details}
    return Statement(subject=image, predicate_type=PROVENANCE, predicate=predicate)


def test_result(
    lock: Lock, image: Digest, report: Mapping[str, Any], *, finished: str
) -> Statement:
    """State what the smoke checks found on ``image``; ``finished`` is RFC 3339.

    ``report`` is the smoke report in its JSON form (version 1); the statement carries it whole,
    beside what the predicate asks for.
    """
    predicate = {
        "result": result_of(report),
        "configuration": [
            {
                "name": f"pylock.{lock.spec.name}.toml",
                "digest": {"sha256": lock_checksum(lock).hex},
            },
            {
                "name": f"{lock.spec.name}.yaml",
                "digest": {"sha256": spec_checksum(lock.spec).hex},
            },
        ],
        "passedTests": _tests(report, "pass"),
        "warnedTests": [*_tests(report, "skip"), *_tests(report, "unproven")],
        "failedTests": [*_tests(report, "fail"), *_tests(report, "error")],
        "finishedOn": finished,
        "report": report,
    }
    return Statement(subject=image, predicate_type=TEST_RESULT, predicate=predicate)


def result_of(report: Mapping[str, Any]) -> str:
    """Return what a smoke report (JSON form) comes to: PASSED, WARNED or FAILED."""
    return _RESULTS.get(report["verdict"], "FAILED")


def _tests(report: Mapping[str, Any], status: str) -> list[str]:
    """Name the checks that ended with ``status``; of several models with the model's name."""
    several = len(report.get("models", ())) > 1  # older reports knew one
    return [
        f"{check['name']} ({check['model']})" if several and check["model"] else check["name"]
        for check in report["checks"]
        if check["status"] == status
    ]


def finished_on(statement: Statement) -> str:
    """Return the moment (RFC 3339) that a statement names as its own, or nothing."""
    details = statement.predicate
    for step in ("runDetails", "metadata"):
        inner = details.get(step, details)
        details = inner if isinstance(inner, dict) else {}
    moment = details.get("finishedOn") or details.get("timestamp")
    return moment if isinstance(moment, str) else ""


def moment_of(statement: Statement) -> datetime | None:
    """Return when a statement was made: by a time stamp or a log, or else as it says itself."""
    return statement.since or claimed_moment(statement)


def claimed_moment(statement: Statement) -> datetime | None:
    """Return the moment that a statement names as its own; None without one that can be read."""
    try:
        moment = datetime.fromisoformat(finished_on(statement))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def package_url(kind: str, name: str, version: str) -> str:
    """Name a package as a purl (package-url specification)."""
    return f"pkg:{kind}/{quote(name, safe='/')}@{quote(version, safe=':')}"


def public_address(repository: str) -> str:
    """Return a git address without a user or password."""
    parts = urlsplit(repository)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _wheels(lock: Lock) -> Sequence[Wheel]:
    built = [source.wheel for source in lock.built if source.wheel is not None]
    return sorted([*lock.wheels, *built])


def _distribution(file: Wheel | ArchiveSource) -> dict[str, Any]:
    """Describe a wheel, or an sdist."""
    return {
        "name": file.filename,
        "uri": package_url("pypi", file.name, file.version),
        "digest": {"sha256": file.sha256.hex},
    }


def _base(lock: Lock) -> Iterable[dict[str, Any]]:
    if not isinstance(lock.base, DebianBase):
        yield {"name": lock.base.reference, "digest": {"sha256": lock.base.digest.hex}}
        return
    if (python := lock.base.standalone) is not None:
        uri = package_url("generic", "cpython", python.version)
        yield {"name": python.filename, "uri": uri, "digest": {"sha256": python.sha256.hex}}
    for package in lock.base.packages:
        name = package.filename.rpartition("/")[2]
        uri = package_url("deb", f"{lock.base.distribution}/{package.name}", package.version)
        yield {"name": name, "uri": uri, "digest": {"sha256": package.sha256.hex}}


def _files(lock: Lock) -> Iterable[dict[str, Any]]:
    """Yield the spec's own files by their places in the image."""
    for tree in lock.files:
        for file in tree.files:
            place = f"{tree.into.rstrip('/')}/{file.path}"
            yield {"name": place, "digest": {"sha256": file.sha256.hex}}


def _sources(lock: Lock) -> Iterable[dict[str, Any]]:
    for source in lock.sources:
        yield {
            "name": source.name,
            "uri": f"git+{public_address(source.repository)}@{source.requested}",
            "digest": {"gitCommit": source.commit, "gitTree": source.tree},
        }
        yield from _build_requirements(source)
    for archive in lock.archives:
        yield _distribution(archive)
        yield from _build_requirements(archive)


def _build_requirements(source: Source) -> Iterable[dict[str, Any]]:
    """Yield what ``source`` is built with: wheels, and sdists with what these are built with."""
    builds = {"annotations": {"builds": source.name}}
    yield from ({**_distribution(wheel), **builds} for wheel in source.requires)
    for tool in source.tools:
        yield {**_distribution(tool), **builds}
        yield from _build_requirements(tool)
