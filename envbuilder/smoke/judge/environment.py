"""Judge what is installed: the lock's versions and commits, whole files, met needs, imports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuilder.smoke.plan import Expected, SmokePlan
from envbuilder.smoke.report import Check

from . import jobs
from .finding import Fault, conclude, skipped, unproven


def judge(plan: SmokePlan, document: Mapping[str, Any]) -> list[Check]:
    """Return the checks packages, files, requirements, and one import per requested package."""
    job = jobs.named(document, "environment")
    if job is None:
        return []
    stopped = jobs.failure(job)
    if stopped:
        return [conclude("environment", [stopped], good=("", ""), seconds=job["seconds"])]
    facts = job["facts"]
    return [
        _packages(plan, facts, job["seconds"]),
        _files(plan, facts["files"]),
        _requirements(facts),
        *(_import(one) for one in jobs.starting(document, "import.")),
    ]


def _packages(plan: SmokePlan, facts: Mapping[str, Any], seconds: float) -> Check:
    if not plan.expected:
        return skipped("environment.packages", "no lock says what should be installed")
    owned = [entry for entry in facts["distributions"] if entry["owned"]]
    findings = [*_differences(plan.expected, facts["distributions"]), *_extra(plan.expected, owned)]
    count = len(plan.expected)
    return conclude(
        "environment.packages",
        findings,
        good=(f"{count} packages", f"all {count} are installed exactly as locked, and no others"),
        seconds=seconds,
        details={"prefix": facts["prefix"]},
    )


def _differences(
    expected: tuple[Expected, ...], distributions: list[Mapping[str, Any]]
) -> Iterator[Fault]:
    """Yield what is missing, or active in another version or commit, than the lock states."""
    active = {entry["name"]: entry for entry in distributions if entry["active"]}
    for item in expected:
        found = active.get(canonicalize_name(item.name))
        wanted = f"{item.name} {item.version}"
        if found is None:
            yield Fault(
                kind="package-missing",
                text=f"{wanted} is locked but not installed",
                expected=wanted,
                actual="not installed",
            )
        elif not _same_version(item.version, found["version"]):
            yield Fault(
                kind="package-version",
                text=f"the lock states {wanted}, but {found['version']} is what Python imports "
                f"(from {found['place']})",
                expected=wanted,
                actual=f"{item.name} {found['version']}",
            )
        elif item.commit and found["commit"] != item.commit:
            yield Fault(
                kind="package-commit",
                text=f"{wanted} is locked to commit {item.commit}, but direct_url.json records "
                f"{found['commit'] or 'none'}",
                expected=item.commit[:12],
                actual=(found["commit"] or "no commit")[:12],
            )


def _same_version(wanted: str, found: str) -> bool:
    try:
        return Version(wanted) == Version(found)
    except ValueError:
        return wanted == found


def _extra(expected: tuple[Expected, ...], owned: list[Mapping[str, Any]]) -> Iterator[Fault]:
    """Yield distributions of the environment that the lock does not name, or that stand twice."""
    names = {canonicalize_name(item.name) for item in expected}
    places: set[tuple[str, str]] = set()
    for entry in owned:
        label = f"{entry['name']} {entry['version']}"
        if entry["name"] not in names:
            yield Fault(
                kind="package-extra",
                text=f"{label} is installed (by {entry['installer'] or 'nobody known'}) but the "
                "lock does not name it",
                expected="only what is locked",
                actual=label,
            )
        elif (entry["name"], entry["place"]) in places:
            yield Fault(
                kind="package-twice",
                text=f"{entry['name']} has two sets of metadata in {entry['place']}: an older "
                "version was not removed",
                expected="one version",
                actual=label,
            )
        places.add((entry["name"], entry["place"]))


def _files(plan: SmokePlan, facts: Mapping[str, Any]) -> Check:
    if not facts["hashed"] and not facts["damaged"]:
        why = "no RECORD states the hash of any file"
        seconds = facts["seconds"]
        return (unproven if plan.expected else skipped)("environment.files", why, seconds=seconds)
    findings = [
        Fault(
            kind="file-damaged",
            text=f"{bad['path']} (of {bad['owner']}): {bad['problem']}",
            expected="as RECORD states",
            actual=f"{facts['damaged_count']} files differ",
        )
        for bad in facts["damaged"]
    ]
    size = facts["bytes"] / 1e6
    return conclude(
        "environment.files",
        findings,
        good=(
            f"{facts['hashed']} files",
            f"{facts['hashed']} files ({size:.0f} MB) have the hashes that RECORD states",
        ),
        seconds=facts["seconds"],
        details={key: facts[key] for key in ("unlisted", "unlisted_count", "without_record")},
    )


def _requirements(facts: Mapping[str, Any]) -> Check:
    if "requirements_note" in facts:
        return skipped("environment.requirements", facts["requirements_note"])
    unread = facts.get("unread_requirements", ())
    besides = f", as far as it can be read ({len(unread)} cannot)" if unread else ""
    findings = [
        Fault(
            kind="requirement-broken",
            text=f"{broken['by']} needs {broken['needs']}, and {broken['found'] or 'none'} is "
            "installed",
            expected=broken["needs"],
            actual=broken["found"] or "not installed",
        )
        for broken in facts["broken_requirements"]
    ]
    return conclude(
        "environment.requirements",
        findings,
        good=("consistent", "every package has what its metadata requires" + besides),
        details={"unread": unread},
    )


def _import(job: jobs.Job) -> Check:
    stopped = jobs.failure(job)
    if stopped and job["outcome"] in {"error", "crashed"}:
        text = f"{job['name'][7:]} cannot be imported: {stopped.text}"
        stopped = Fault(
            kind="import-fails",
            text=text,
            expected="imports",
            actual=stopped.actual,
            facts=stopped.facts,
        )
    name = f"environment.{job['name']}"
    modules = ", ".join(item["module"] for item in job["items"])
    if not stopped and not modules:
        return skipped(name, "it installs no module", seconds=job["seconds"])
    return conclude(
        name,
        [stopped] if stopped else [],
        good=("imports", f"import {modules}"),
        seconds=job["seconds"],
    )
