"""Requirements of a source that name an address instead of a version (PEP 508, ``NAME @ URL``).

No address of a source's own choosing is ever fetched: it could hold other bytes tomorrow, and this
machine would ask any server, or read any file, at the source's word. Where the spec pins the same
package itself, its pin is what counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from envbuilder.model.errors import ResolutionError, without_login
from envbuilder.model.spec import Spec
from envbuilder.resolve.python.requirements import PythonTarget

_NEVER = "==0+address.not.locked"


def read_requirement(line: str, *, what: str) -> Requirement:
    """Parse ``line``; raise ResolutionError that says ``what`` it is if that cannot be done."""
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        raise ResolutionError(f"{what} {line!r} cannot be read: {error}") from error


def without_addresses(
    lines: Iterable[str],
    *,
    pinned: Collection[str],
    extras: Collection[str],
    markers: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the requirement ``lines`` of a source with no address left in them.

    ``pinned`` are the canonical names that the spec pins: an address of theirs is left out.
    Another one is refused (ResolutionError) if it applies: its marker holds with one of the
    ``extras`` that the spec asks for, or without any. One that does not apply becomes a version
    that nothing has, so that whoever asks for that extra after all is told, instead of getting
    what an index has under that name.
    """
    return tuple(
        _without_address(line, pinned=pinned, extras=extras, markers=markers) for line in lines
    )


def plain_requirements(
    lines: Iterable[str], source: str, spec: Spec, target: PythonTarget
) -> tuple[str, ...]:
    """Return the requirements of ``source`` (its canonical name) as ``spec`` takes them."""
    return without_addresses(
        lines, pinned=spec.requested, extras=spec.extras(source), markers=target.markers()
    )


def _without_address(
    line: str, *, pinned: Collection[str], extras: Collection[str], markers: Mapping[str, str]
) -> str:
    parsed = read_requirement(line, what="its requirement")
    if parsed.url is None:
        return line
    if canonicalize_name(parsed.name) in pinned:
        return _plain(parsed, "")
    if _applies(parsed, extras, markers):
        raise ResolutionError(
            f"its requirement {without_login(line)!r} names an address, which no lock can hold",
            hint=f"add it to the spec's packages: {without_login(_key(parsed))}",
        )
    return _plain(parsed, _NEVER)


def _applies(parsed: Requirement, extras: Collection[str], markers: Mapping[str, str]) -> bool:
    if parsed.marker is None:
        return True
    return any(parsed.marker.evaluate({**markers, "extra": extra}) for extra in {"", *extras})


def _plain(parsed: Requirement, specifier: str) -> str:
    extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
    marker = f"; {parsed.marker}" if parsed.marker is not None else ""
    return f"{parsed.name}{extras}{specifier}{marker}"


def _key(parsed: Requirement) -> str:
    """Return the line of a spec that pins ``parsed``, as far as its address says."""
    url = parsed.url or ""
    if not url.startswith("git+"):
        return f"{parsed.name}: with a version of an index, or {{git: …}}"
    address, _, ref = url.removeprefix("git+").partition("#")[0].rpartition("@")
    if "/" in ref or not address:  # the last @ was a user's, or there is none
        address, ref = url.removeprefix("git+").partition("#")[0], ""
    return f"{parsed.name}: {{git: {address}, {f'tag: {ref}' if ref else 'tag: …'}}}"
