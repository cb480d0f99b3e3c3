"""Wheels that a spec names by address or path: taken in, read, and locked by their hash.

They take part in the resolution by a stand-in of their metadata, as git sources do. The lock holds
the hash; where the file lies, the spec says.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import TypeVar

from packaging.utils import canonicalize_name

from envbuilder.layers.wheel_reconstruction import has_wheel, wheel_file
from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.errors import EnvbuilderError, NetworkError, ResolutionError
from envbuilder.model.lock import ArchiveSource, Lock, Wheel
from envbuilder.model.package_spec import Package
from envbuilder.model.reference import Digest
from envbuilder.model.spec import name_of
from envbuilder.resolve.context import Context

from .beside import digest_of
from .offers import fits
from .requirements import PythonTarget
from .stated_version import agreed_version

LARGEST = 4 << 30
"""Bytes of one wheel or sdist; the largest of this field, of a whole CUDA torch, has 3 GB."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectWheel:
    """A wheel that the store holds, and what it requires (core metadata, ``Requires-Dist``)."""

    wheel: Wheel
    requires_dist: tuple[str, ...]


def lock_direct(
    context: Context,
    pins: Iterable[tuple[str, Package]],
    *,
    folder: Path,
    previous: Lock | None,
    release: Collection[str],
) -> tuple[DirectWheel, ...]:
    """Take in what ``pins`` (keys of ``packages``) name; paths count from ``folder``.

    An address that ``previous`` locked stays what it was unless ``release`` names the package.
    Raises ResolutionError that lists all that cannot be used, each with what to do.
    """

    def take(key: str, pin: Package) -> DirectWheel:
        held = None if name_of(key) in release else _held(key, pin, previous)
        return _taken(context, key, pin, folder, held)

    return take_all(pins, take)


def take_all(
    pins: Iterable[tuple[str, Package]], take: Callable[[str, Package], T]
) -> tuple[T, ...]:
    """Take each of ``pins``; raise ResolutionError that lists all that cannot be taken."""
    found, problems = [], []
    for key, pin in pins:
        try:
            found.append(take(key, pin))
        except EnvbuilderError as error:
            hint = f" ({error.hint})" if error.hint else ""
            problems.append(f"{key}: {error.message}{hint}")
    if problems:
        raise ResolutionError("\n".join(problems), hint="correct them under packages: in the spec")
    return tuple(found)


def check_direct(direct: Iterable[DirectWheel], target: PythonTarget) -> None:
    """Raise ResolutionError that names the wheels which do not fit ``target``."""
    names = [each.wheel.filename for each in direct if not fits(each.wheel.filename, target.tags())]
    if names:
        raise ResolutionError(
            f"made for another Python, machine or glibc than Python {target.full} on "
            f"{target.uv_platform}: {', '.join(names)}",
            hint="name wheels that fit, or another `python` or base",
        )


def direct_urls(lock: Lock) -> dict[Wheel, str]:
    """Say where the locked wheels lie that the spec names by address: wheel -> URL."""
    addresses = {name_of(key): pin.url for key, pin in lock.spec.direct.items()}
    pairs = ((wheel, addresses.get(wheel.name)) for wheel in lock.wheels)
    return {wheel: url for wheel, url in pairs if url is not None}


def _held(key: str, pin: Package, previous: Lock | None) -> Wheel | None:
    """Find what an address gave when it was locked."""
    if previous is None or pin.url is None or previous.spec.packages.get(key) != pin:
        return None
    return next((each for each in previous.wheels if each.name == name_of(key)), None)


def _taken(
    context: Context, key: str, pin: Package, folder: Path, held: Wheel | None
) -> DirectWheel:
    filename = pin.filename
    if pin.path is not None:
        sha256, size = copy_file(context, folder / pin.path)
    elif held is not None:
        if not has_wheel(context.store, held.sha256):
            fetch_again(context, pin.url or "", held)
        sha256, size = held.sha256, held.size
    else:
        sha256, size = fetch_file(context, pin.url or "", filename, is_sound=_is_zip)
    with wheel_file(context.store, sha256) as path:
        version, requires_dist = _metadata(path, filename, name_of(key))
    wheel = Wheel(name=name_of(key), version=version, filename=filename, size=size, sha256=sha256)
    return DirectWheel(wheel=wheel, requires_dist=requires_dist)


def copy_file(context: Context, path: Path) -> tuple[Digest, int]:
    """Take the file at ``path`` into the store: its hash, its size. Raises ResolutionError."""
    if path.is_symlink():
        raise ResolutionError(f"{path} is a link", hint="name the file itself")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise ResolutionError(f"{path} {what}", hint="the path counts from the folder of the spec")
    _check_size(path.stat().st_size, str(path))
    digest = digest_of(path)
    return context.store.adopt(path, digest), path.stat().st_size


def fetch_file(
    context: Context, url: str, filename: str, *, is_sound: Callable[[bytes], bool]
) -> tuple[Digest, int]:
    """Fetch ``url`` into the store: its hash, its size.

    ``is_sound`` looks at how it begins. Raises NetworkError, ResolutionError if it is too large.
    """
    size = 0
    with context.progress.step("fetch", filename) as step, context.store.writer() as target:
        for chunk in context.indexes.read_whole(
            url, announced=lambda length: _check_size(length, url)
        ):
            size += len(chunk)
            _check_size(size, url)
            if target.size == 0 and not is_sound(chunk):
                raise NetworkError(
                    f"{url} sent no wheel or sdist, but something that begins with {chunk[:20]!r}",
                    hint="a page that asks for a login, maybe: put the login into netrc",
                )
            target.write(chunk)
            step.advance(len(chunk))
        return target.commit(), size


def fetch_again(context: Context, url: str, file: Wheel | ArchiveSource) -> None:
    """Fetch a locked file into the store; raise NetworkError if another one lies there now."""
    with (
        context.progress.step("fetch", file.filename, total=file.size) as step,
        context.store.writer() as target,
    ):
        context.indexes.download(url, target.write, sha256=file.sha256, size=file.size, step=step)
        target.commit(file.sha256)


def _is_zip(start: bytes) -> bool:
    return start.startswith(b"PK")


def _check_size(size: int, place: str) -> None:
    if size > LARGEST:
        raise ResolutionError(f"{place} has more than {LARGEST:,} bytes, too many for a package")


def _metadata(path: Path, filename: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Read version and requirements; the metadata's version counts, not the file name's."""
    with WheelFile.open(path, filename) as wheel:
        inside = [each for each in wheel.members if each.endswith(".dist-info/METADATA")]
        text = wheel.read(inside[0] if inside else "METADATA")
    headers = BytesHeaderParser().parsebytes(text)
    version = agreed_version(filename, str(headers.get("Version") or ""))
    if canonicalize_name(str(headers.get("Name") or "")) != name:
        raise ResolutionError(f"{filename} holds the package {headers.get('Name')!r}, not {name}")
    return version, tuple(str(line) for line in headers.get_all("Requires-Dist") or ())
