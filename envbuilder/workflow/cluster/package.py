"""The package of a job: its order, and of the environment's own files what no index has.

A package is named by its content. Ray keeps it in the head's memory and shows it to everybody in
the cluster, so nothing secret goes in: the machines have the keys and logins that they need.
"""

from __future__ import annotations

import hashlib
import posixpath
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import tomli_w
from msgspec.structs import replace

from envbuilder.evidence.keys import public_pem, read_private, read_public
from envbuilder.evidence.remote_layers import RemoteSettings
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.codec import to_json
from envbuilder.model.errors import UsageError
from envbuilder.model.image import canonical_json
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import dump_lock
from envbuilder.model.reference import Digest
from envbuilder.model.samples import own_samples
from envbuilder.model.spec import Spec
from envbuilder.resolve.python.beside import direct_paths
from envbuilder.storage.store import Store
from envbuilder.workflow.smoke import answer_files

from . import start
from .jobs_api import MOST_OF_A_PACKAGE
from .order import Order

BLOBS = "blobs"
_BELOW = "at"
_TRUST = "trust"
_DATE = (1980, 1, 1, 0, 0, 0)
_HINT = (
    "a model's folder may lie on every machine instead, at the same absolute path; samples can be "
    "shorter"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A zip file, the hash (hex) of all that is in it, and that of it but for the lock's seal.

    The latter is the job's: a build that seals the lock makes no other job of it.
    """

    file: Path
    content: str
    inputs: str

    @property
    def name(self) -> str:
        """What Ray calls it."""
        return f"_ray_pkg_{self.content[:40]}.zip"


def pack(
    order: Order,
    lock: Lock,
    *,
    folder: Path,
    store: Store,
    remote: RemoteSettings | None,
    into: Path,
) -> Package:
    """Write the package of ``order``, whose spec lies in ``folder``, to the file ``into``.

    Raises UsageError if it is larger than Ray takes.
    """
    hashes: dict[str, str] = {}
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in _members(order, lock, folder, store, remote):
            if name not in hashes:
                hashes[name] = _write(archive, name, source)
            if into.stat().st_size > MOST_OF_A_PACKAGE:
                raise UsageError(
                    f"the samples, models and files of {order.name} are larger than the "
                    f"{MOST_OF_A_PACKAGE >> 20} MiB that Ray takes with a job",
                    hint=_HINT,
                )
    bare = to_json(replace(order, lock=dump_lock(lock.unsealed())))
    inputs = hashes | {"request.json": hashlib.sha256(bare).hexdigest()}
    return Package(file=into, content=_hash(hashes), inputs=_hash(inputs))


def _hash(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(canonical_json(hashes)).hexdigest()


def place_of(spec: Spec) -> str:
    """Return where the spec's folder lies in a package: so deep that ``..`` still leads inside."""
    ups = (PurePosixPath(posixpath.normpath(path)).parts.count("..") for path in _models(spec))
    return "/".join([_BELOW] * (max(ups, default=0) + 1))


def _members(
    order: Order, lock: Lock, folder: Path, store: Store, remote: RemoteSettings | None
) -> Iterator[tuple[str, Path | bytes]]:
    yield "request.json", to_json(order)
    yield "start.py", Path(start.__file__)
    if remote is not None:
        yield from _remote(remote)
    for digest in sorted(_own_blobs(lock), key=str):
        with wheel_file(store, digest) as path:  # or any other blob: a wheel may be in a layer
            yield f"{BLOBS}/{digest.hex}", path
    paths = [path for path, _ in own_samples(lock.spec)]
    paths += [path.name for path in answer_files(lock.spec, folder) if path.exists()]
    for named in [*paths, *_models(lock.spec)]:
        for file in _files(folder / named):
            inside = file.relative_to(folder / named).as_posix()
            yield posixpath.normpath(posixpath.join(order.folder, named, inside)), file


def _own_blobs(lock: Lock) -> set[Digest]:
    """Name what the spec takes from its folder, but samples: files, wheels, sdists, projects."""
    files = {file.sha256 for tree in lock.files for file in tree.files if file.link is None}
    wheels = {wheel.sha256 for wheel in direct_paths(lock)}
    keys = {key for key, pin in lock.spec.archives.items() if pin.path is not None}
    archives = {each.sha256 for each in lock.archives if lock.spec.key_of(each.name) in keys}
    return files | wheels | archives


def _models(spec: Spec) -> list[str]:
    """Return the model folders that lie with the spec; others are on the machines, or nowhere."""
    named = (each.path or each.config for each in spec.smoke.served)
    return [path for path in named if path and not path.startswith(("/", "~"))]


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


def _remote(remote: RemoteSettings) -> Iterator[tuple[str, bytes]]:
    """Say where layers are shared, and whom to trust: public keys. The key to sign stays here."""
    keys = [read_public(name) for name in remote.trust]
    if remote.key is not None:
        keys.append(read_private(remote.key).public_key())
    places = [f"{_TRUST}/{number}.pub" for number in range(len(keys))]
    for place, key in zip(places, keys, strict=True):
        yield place, public_pem(key)
    settings = {"store": {"remote": str(remote.place), "trust": places}}
    yield "envbuilder.toml", tomli_w.dumps(settings).encode()


def _write(archive: zipfile.ZipFile, name: str, source: Path | bytes) -> str:
    """Add a member, and return its hash; the same content gives the same bytes, whenever."""
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    with _opened(source) as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
        with archive.open(info, "w", force_zip64=True) as member:
            shutil.copyfileobj(file, member)
    return found


def _opened(source: Path | bytes) -> BinaryIO:
    return BytesIO(source) if isinstance(source, bytes) else source.open("rb")
