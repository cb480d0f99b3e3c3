"""Standalone builds of Python, those that uv manages: found, fetched and locked by their hash.

uv's own list tells what there is, and ``UV_PYTHON_INSTALL_MIRROR`` where. The lock holds a path
below that place and the archive's hash, and no address.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct
from packaging.version import Version

from envbuilder.model.codec import MisfitError, from_json
from envbuilder.model.errors import NetworkError, ResolutionError
from envbuilder.model.lock import StandalonePython
from envbuilder.model.spec import Spec
from envbuilder.model.spec_words import MACHINES
from envbuilder.storage.temporary import work_folder

from .uv import run_uv

if TYPE_CHECKING:
    from envbuilder.resolve.context import Context

LARGEST = 1 << 30
"""Bytes of one archive; they have a tenth."""
_GZIP = b"\x1f\x8b"


class _Download(Struct, frozen=True):
    """What uv says of one build."""

    version: str
    url: str
    implementation: str
    os: str
    arch: str
    libc: str
    variant: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    version: str
    url: str

    @property
    def path(self) -> str:
        """The build's date and the archive's name: what is the same in every mirror."""
        return "/".join(unquote(urlsplit(self.url).path).split("/")[-2:])

    @property
    def place(self) -> str:
        """The address that paths count from."""
        return self.url.rsplit("/", 2)[0]


def lock_standalone(
    context: Context, spec: Spec, held: StandalonePython | None
) -> StandalonePython:
    """Pin a build of the spec's Python: what is ``held`` if that still is one, else the newest.

    The archive is in the store afterwards. Raises ResolutionError if uv knows none, NetworkError.
    """
    if held is not None and _is_wanted(held.version, spec):
        bring_standalone(context, spec, held)
        return held
    found = [each for each in _builds(spec) if _is_wanted(each.version, spec)]
    if not found:
        raise ResolutionError(
            f"there is no standalone build of Python {spec.python} for {spec.platform}",
            hint="another `python`, or `uv` in a newer version, which knows more of them",
        )
    newest = max(found, key=lambda each: Version(each.version))
    return _fetched(context, newest)


def bring_standalone(context: Context, spec: Spec, python: StandalonePython) -> None:
    """Put a locked archive into the store; raises NetworkError for one that does not come."""
    if context.store.has(python.sha256):
        return
    if context.offline:
        raise NetworkError(
            f"--offline, and the store lacks {python.path}",
            hint=f"run envbuilder fetch {spec.name} while there is a network",
        )
    place = next((each.place for each in _builds(spec)), None)
    if place is None:
        raise ResolutionError(f"uv knows no place of {python.path}", hint="update uv")
    with (
        context.progress.step("fetch", f"Python {python.version}", total=python.size) as step,
        context.store.writer() as target,
    ):
        context.indexes.download(
            f"{place}/{quote(python.path)}",
            target.write,
            sha256=python.sha256,
            size=python.size,
            step=step,
        )
        target.commit(python.sha256)


def _is_wanted(version: str, spec: Spec) -> bool:
    release = Version(version)
    minor = f"{release.major}.{release.minor}"
    return not release.is_prerelease and spec.python in {minor, version}


def _builds(spec: Spec) -> Iterator[_Found]:
    """Ask uv which builds of the spec's Python there are for its platform."""
    arguments = ["python", "list", spec.minor, "--only-downloads", "--all-versions", "--all-arches"]
    with work_folder("envbuilder-python") as folder:
        said = run_uv([*arguments, "--output-format", "json"], environment=os.environ, cwd=folder)
    try:
        known = from_json(said.output.encode(), list[_Download])
    except MisfitError as error:
        raise ResolutionError(f"uv's list of Pythons is another than expected: {error}") from error
    wanted = ("cpython", "linux", MACHINES[spec.platform], "gnu", "default")
    for each in known:
        if (each.implementation, each.os, each.arch, each.libc, each.variant) == wanted:
            yield _Found(version=each.version, url=each.url)


def _fetched(context: Context, found: _Found) -> StandalonePython:
    size = 0
    with (
        context.progress.step("fetch", f"Python {found.version}") as step,
        context.store.writer() as target,
    ):
        for chunk in context.indexes.read_whole(found.url, announced=_check_size):
            if not size and not chunk.startswith(_GZIP):
                raise NetworkError(
                    f"{found.url} sent no archive, but something that begins with {chunk[:20]!r}",
                    hint="check UV_PYTHON_INSTALL_MIRROR; a page that asks for a login, maybe",
                )
            size += len(chunk)
            _check_size(size)
            target.write(chunk)
            step.advance(len(chunk))
        return StandalonePython(
            version=found.version, path=found.path, size=size, sha256=target.commit()
        )


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ResolutionError(f"an archive of Python has {size:,} bytes, more than {LARGEST:,}")
