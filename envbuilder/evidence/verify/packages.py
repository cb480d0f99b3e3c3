"""Compare the packages that an image's layers hold with those of the lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envbuilder.layers.contents import Contents, Distribution
from envbuilder.model.image import Image
from envbuilder.model.lock import ArchiveSource, DebianBase, ImageBase, Lock, Wheel

from .findings import Finding, FindingStatus, Level


def compare_packages(lock: Lock, contents: Contents) -> Iterator[Finding]:
    """Name what is missing, extra, of another version or commit; and caches left inside.

    Debian packages are compared where the base is made of locked .deb files.
    """
    found = contents.distributions()
    faults = [
        *_differences("python", locked_python(lock), found, allowed=_brought(lock)),
        *_differences("deb", locked_debs(lock), found, allowed=set()),
    ]
    yield from faults
    if not faults:
        yield _finding("packages", FindingStatus.OK, explanation=f"{len(found)} packages as locked")
    for tool, size in sorted(contents.caches().items()):
        explanation = f"the cache of {tool} was left inside"
        yield _finding(
            f"cache {tool}", FindingStatus.MISMATCH, "0 bytes", f"{size} bytes", explanation
        )


def compare_base(base: ImageBase, image: Image) -> Finding:
    """Return whether ``image`` stands on the locked base, by the digests of its layers' tars."""
    locked = [layer.diff_id for layer in base.layers]
    if [layer.diff_id for layer in image.layers[: len(locked)]] == locked:
        return _finding(
            "base", FindingStatus.OK, explanation=f"stands on {base.reference}, as locked"
        )
    return _finding(
        "base", FindingStatus.MISMATCH, base.reference, "(another)", "other lowest layers"
    )


def locked_python(lock: Lock) -> tuple[Distribution, ...]:
    """List the Python packages that the lock promises."""
    named: list[Wheel | ArchiveSource] = [*lock.wheels, *lock.archives]
    wheels = (Distribution(kind="python", name=each.name, version=each.version) for each in named)
    sources = (
        Distribution(kind="python", name=source.name, version=source.version, commit=source.commit)
        for source in lock.sources
    )
    return (*wheels, *sources)


def locked_debs(lock: Lock) -> tuple[Distribution, ...]:
    """List the .deb packages that the lock promises; none if the base is an image."""
    packages = lock.base.packages if isinstance(lock.base, DebianBase) else ()
    return tuple(
        Distribution(kind="deb", name=package.name, version=package.version) for package in packages
    )


def _brought(lock: Lock) -> set[tuple[str, str]]:
    """Name the Python packages that the base brings: those of its .debs, by name and version."""
    python = lock.base.python if isinstance(lock.base, DebianBase) else ()
    return {(package.name, package.version) for package in python}


def _differences(
    kind: str,
    locked: Iterable[Distribution],
    found: Iterable[Distribution],
    *,
    allowed: set[tuple[str, str]],
) -> Iterator[Finding]:
    wanted = {each.name: each for each in locked}
    if not wanted:
        return
    there: dict[str, list[Distribution]] = {}
    for each in found:
        if each.kind == kind:
            there.setdefault(each.name, []).append(each)
    for name in sorted(wanted.keys() | there.keys()):
        held = there.get(name, [])
        if name in wanted and any(_is_same(wanted[name], each) for each in held):
            continue
        if name not in wanted and all((name, each.version) in allowed for each in held):
            continue
        expected = _shown(wanted[name]) if name in wanted else "(none)"
        actual = ", ".join(map(_shown, held)) or "(none)"
        why = "missing" if not held else ("other version" if name in wanted else "not in the lock")
        yield _finding(f"{kind} {name}", FindingStatus.MISMATCH, expected, actual, why)


def _is_same(wanted: Distribution, held: Distribution) -> bool:
    if wanted.version != held.version:
        return False
    return not wanted.commit or wanted.commit == held.commit


def _shown(distribution: Distribution) -> str:
    commit = f" ({distribution.commit[:12]})" if distribution.commit else ""
    return f"{distribution.version}{commit}"


def _finding(
    subject: str, status: FindingStatus, expected: str = "", actual: str = "", explanation: str = ""
) -> Finding:
    return Finding(
        level=Level.PACKAGES,
        subject=subject,
        status=status,
        expected=expected,
        actual=actual,
        explanation=explanation,
    )
