"""Judge what the image starts: program, interpreter, libraries, user, folders, TLS roots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from envbuilder.smoke.report import Check

from . import jobs
from .finding import Fault, conclude, skipped

Facts = Mapping[str, Any]


def judge(document: Facts) -> list[Check]:
    """Return the checks of the entry point, of user and folders, of TLS, and of the command."""
    job = jobs.named(document, "start")
    if job is None:
        return []
    stopped = jobs.failure(job)
    if stopped:
        return [conclude("start", [stopped], good=("", ""), seconds=job["seconds"])]
    facts = job["facts"]
    ran = jobs.named(document, "start.run")
    return [
        _program(job),
        _place(facts),
        _roots(facts),
        *([_command(ran)] if ran else []),
    ]


def _program(job: jobs.Job) -> Check:
    """Judge whether what the image starts can be started, link by link."""
    args = " ".join(job["facts"]["args"])
    if not args:
        return skipped("start.program", "the image names no program: whoever runs it must")
    findings = [
        Fault(
            kind="start-program",
            text=f"`{args}` cannot start: {link['role']} {link['program']!r}: {link['problem']}",
            expected=link["program"],
            actual=link["problem"],
            facts={"message": link["problem"], "program": link["program"]},
        )
        for link in job["items"]
        if link["problem"]
    ]
    chain = " → ".join(str(link["path"] or link["program"]) for link in job["items"])
    return conclude(
        "start.program",
        findings,
        good=(args if job["items"] else "", f"it is there with all that runs it: {chain}"),
        seconds=job["seconds"],
        details={"links": job["items"]},
    )


def _place(facts: Facts) -> Check:
    user, home, workdir = facts["user"], facts["home"], facts["workdir"]
    who = f"user {user['uid']}"
    unseen = "" if home["writable"] is not None else " (whether it may be written is not seen here)"
    return conclude(
        "start.user",
        [*_user(user, who), *_home(user, home, who), *_workdir(workdir, who)],
        good=(
            f"{user['name']} in {workdir['path']}",
            f"{who} is {user['name']}, at home in {home['path']}{unseen}; here it has "
            f"{_told(facts['limits'])}",
        ),
        details={key: facts[key] for key in ("user", "home", "workdir", "limits")},
    )


def _user(user: Facts, who: str) -> Iterator[Fault]:
    if user["problem"]:
        yield Fault(
            kind="user-nameless",
            text=f"{who} has no name: /etc/passwd lacks it, and getpass.getuser() raises "
            f"{user['problem']}",
            expected="a name",
            actual="none",
            facts={"message": user["problem"]},
        )


def _home(user: Facts, home: Facts, who: str) -> Iterator[Fault]:
    if user["uid"] and not home["exists"]:
        problem = "does not exist"
    elif home["writable"] is False:
        problem = "may not be written by it"
    else:
        return
    yield Fault(
        kind="home-not-writable",
        text=f"the home of {who}, {home['path']}, {problem}: caches of models, of kernels and of "
        "compilers go there",
        expected="a home that it may write",
        actual=f"{home['path']} {problem}",
    )


def _workdir(workdir: Facts, who: str) -> Iterator[Fault]:
    if not workdir["exists"]:
        problem = "does not exist: a runtime makes an empty one, which belongs to root"
    elif not workdir["enters"]:
        problem = f"may not be entered by {who}"
    else:
        return
    yield Fault(
        kind="workdir-missing",
        text=f"the working directory {workdir['path']} {problem}",
        expected=workdir["path"],
        actual="none" if not workdir["exists"] else "closed",
    )


def _told(limits: Facts) -> str:
    shared = limits["shm"]
    memory = "no /dev/shm" if shared is None else f"{shared / 1e6:.0f} MB of /dev/shm"
    locked = limits["memlock"]
    memlock = "any memory" if locked < 0 else f"{locked / 1e6:.1f} MB"
    return f"{memory}, {limits['files']} open files, and may lock {memlock}"


def _roots(facts: Facts) -> Check:
    readers = ", ".join(facts["read_roots"])
    if not readers:
        return skipped("start.tls", "nothing that is installed reads the system's TLS roots")
    findings = []
    if not facts["roots"]:
        findings.append(
            Fault(
                kind="tls-roots-missing",
                text=f"there are no TLS root certificates, which {readers} read: every https "
                "request fails",
                expected="root certificates",
                actual="none",
            )
        )
    return conclude("start.tls", findings, good=("TLS roots", f"{readers} find TLS roots"))


def _command(job: jobs.Job) -> Check:
    """Judge the command that the spec names: it ends with 0."""
    findings = [
        Fault(
            kind="start-fails",
            text=f"`{' '.join(item['args'])}` ended with {_ending(item)}: {_last(item['output'])}",
            expected="exit code 0",
            actual=_ending(item),
            facts={"message": item["output"]},
        )
        for item in job["items"]
        if item["exit_code"] != 0
    ]
    stopped = jobs.failure(job) or jobs.nothing_counted(job)
    if stopped:
        findings.append(stopped)
    said = "; ".join(_last(item["output"]) for item in job["items"])
    ran = "; ".join(" ".join(item["args"]) for item in job["items"])
    return conclude(
        "start.run",
        findings,
        good=(ran, f"`{ran}` ends with 0" + (f" and says: {said}" if said else "")),
        seconds=job["seconds"],
        details={"runs": job["items"]},
    )


def _ending(item: Facts) -> str:
    code = item["exit_code"]
    return "no exit code" if code is None else f"exit code {code}"


def _last(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1][:300] if lines else "it says nothing"
