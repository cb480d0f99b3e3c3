"""Wheels that a spec names by address or path: taken in, read, and locked by their hash.

They take part in the resolution by a stand-in of their metadata, as git sources do. The lock holds
the hash; where the file lies, the spec says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from envbuilder.layers.wheel_reconstruction import has_wheel, wheel_file
from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.errors import EnvbuilderError, NetworkError, ResolutionError
from envbuilder.model.lock import Lock, Wheel
from envbuilder.model.reference import Digest
from envbuilder.model.spec import Package, name_of
from envbuilder.resolve.context import Context

from .beside import digest_of
from .offers import fits
from .requirements import PythonTarget
from .stated_version import agreed_version

LARGEST = 4 << 30
"""Bytes of one wheel; the largest of this field, of a whole CUDA torch, has 3 GB."""
_CHUNK = 1 << 20


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
    found, problems = [], []
    for key, pin in pins:
        held = None if name_of(key) in release else _held(key, pin, previous)
        try:
            found.append(_taken(context, key, pin, folder, held))
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
    filename = unquote(urlsplit(pin.url).path if pin.url else pin.path or "").rpartition("/")[2]
    if pin.path is not None:
        sha256, size = _copied(context, folder / pin.path)
    elif held is not None:
        _fetched_again(context, pin.url or "", held)
        sha256, size = held.sha256, held.size
    else:
        sha256, size = _fetched(context, pin.url or "", filename)
    with wheel_file(context.store, sha256) as path:
        version, requires_dist = _metadata(path, filename, name_of(key))
    wheel = Wheel(name=name_of(key), version=version, filename=filename, size=size, sha256=sha256)
    return DirectWheel(wheel=wheel, requires_dist=requires_dist)


def _copied(context: Context, path: Path) -> tuple[Digest, int]:
    if path.is_symlink():
        raise ResolutionError(f"{path} is a link", hint="name the file itself")
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        raise ResolutionError(f"{path} {what}", hint="the path counts from the folder of the spec")
    _check_size(path.stat().st_size, str(path))
    digest = digest_of(path)
    return context.store.adopt(path, digest), path.stat().st_size


def _fetched(context: Context, url: str, filename: str) -> tuple[Digest, int]:
    size = 0
    with context.progress.step("fetch", filename) as step, context.store.writer() as target:
        for chunk in context.indexes.read_whole(
            url, announced=lambda length: _check_size(length, url)
        ):
            size += len(chunk)
            _check_size(size, url)
            if target.size == 0 and not chunk.startswith(b"PK"):
                raise NetworkError(
                    f"{url} sent no wheel, but something that begins with {chunk[:20]!r}",
                    hint="a page that asks for a login, maybe: put the login into netrc",
                )
            target.write(chunk)
            step.advance(len(chunk))
        return target.commit(), size


def _fetched_again(context: Context, url: str, wheel: Wheel) -> None:
    if has_wheel(context.store, wheel.sha256):
        return
    with (
        context.progress.step("fetch", wheel.filename, total=wheel.size) as step,
        context.store.writer() as target,
    ):
        context.indexes.download(url, target.write, sha256=wheel.sha256, size=wheel.size, step=step)
        target.commit(wheel.sha256)


def _check_size(size: int, place: str) -> None:
    if size > LARGEST:
        raise ResolutionError(f"{place} has more than {LARGEST:,} bytes, too many for a wheel")


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
