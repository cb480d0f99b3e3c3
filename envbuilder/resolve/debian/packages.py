"""A Debian base as a list of .deb files: apt resolves, and every file is named by its hash."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from envbuilder.model.errors import ResolutionError, UsageError
from envbuilder.model.lock import DebianBase, DebPackage
from envbuilder.model.reference import Digest
from envbuilder.resolve.context import Context
from envbuilder.storage.store import Store

from .apt import PrivateApt
from .archives import MIRROR_VARIABLE, Archive, debian_archives
from .debs import fetch_debs
from .distribution import DEBIAN, DISTRIBUTIONS
from .system_python import find_distributions

_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def lock_base(
    context: Context,
    *,
    suite: str,
    packages: Sequence[str],
    architecture: str,
    held: Sequence[DebPackage] = (),
    distribution: str = "debian",
) -> DebianBase:
    """Resolve a base and look inside its files for the Python distributions that they bring.

    ``packages`` are names or ``NAME=VERSION``; ``architecture`` is Debian's (``amd64``); ``held``
    are the files of an earlier lock, whose versions are kept where the archive still has them and
    they fit. The files are in the store afterwards. Raises ResolutionError, NetworkError and
    MissingToolError.
    """
    of = DISTRIBUTIONS[distribution]
    archives = debian_archives(suite, of=of)
    store = context.store
    with context.progress.step("resolve", f"{of.name} {suite}", unit="items"):
        debs = resolve_debs(
            packages, architecture=architecture, archives=archives, store=store, held=held
        )
    fetch_debs(context, debs, archives=archives)
    python = find_distributions(debs, store=store)
    derivative = None if of is DEBIAN else of.id
    return DebianBase(suite=suite, packages=debs, python=python, derivative=derivative)


def resolve_debs(
    packages: Sequence[str],
    *,
    architecture: str,
    archives: Sequence[Archive],
    store: Store,
    held: Sequence[DebPackage] = (),
) -> tuple[DebPackage, ...]:
    """Find the .deb files of all essential packages, ``packages`` and what these depend on.

    Recommended packages and apt itself are left out. Sorted by name.
    """
    with store.scratch() as root:
        apt = PrivateApt(root, architecture=architecture, archives=archives)
        apt.update()
        _refuse_unknown(packages, apt)
        chosen = _choose(apt, packages, held)
        return _described(apt, chosen)


def _choose(
    apt: PrivateApt, packages: Sequence[str], held: Sequence[DebPackage]
) -> list[tuple[str, str]]:
    """Solve with the held versions; give up only those that apt's refusals name, then all."""
    pins = {deb.name: deb.version for deb in held}
    while True:
        apt.prefer(pins.items())
        try:
            return apt.closure(packages)
        except ResolutionError as error:
            if not pins:
                raise
            named = pins.keys() & set(_NAME.findall(error.message))
            pins = {name: pins[name] for name in pins.keys() - named} if named else {}


def _described(apt: PrivateApt, chosen: list[tuple[str, str]]) -> tuple[DebPackage, ...]:
    wanted = set(chosen)
    found = {(deb.name, deb.version): deb for deb in map(described_by, apt.records(chosen))}
    if missing := wanted - found.keys():
        raise ResolutionError(f"apt describes no file for {sorted(missing)}")
    return tuple(sorted(found[pair] for pair in wanted))


def described_by(record: Mapping[str, str]) -> DebPackage:
    """Read what an archive says of one file; raise ResolutionError if it leaves something out."""
    try:
        return DebPackage(
            name=record["Package"],
            version=record["Version"],
            architecture=record["Architecture"],
            filename=record["Filename"],
            size=int(record["Size"]),
            sha256=Digest.parse(f"sha256:{record['SHA256']}"),
        )
    except (KeyError, ValueError, UsageError) as error:
        raise ResolutionError(
            f"the Debian archive describes {record.get('Package', 'a package')} wrongly: {error!r}",
            hint=f"set {MIRROR_VARIABLE} to another mirror",
        ) from error


def _refuse_unknown(packages: Sequence[str], apt: PrivateApt) -> None:
    """Name what does not exist: apt itself would take an unknown name for a regular expression."""
    known = apt.names()
    for package in packages:
        name, _, version = package.partition("=")
        if name not in known:
            near = get_close_matches(name, known, n=3)
            raise ResolutionError(
                f"the {apt.name} archive has no package {name!r}",
                hint=f"did you mean {' or '.join(near)}?" if near else "check `system: packages:`",
            )
        if version and version not in (versions := apt.versions(name)):
            raise ResolutionError(
                f"the {apt.name} archive has no version {version} of {name}",
                hint=f"it has {', '.join(versions)}",
            )
