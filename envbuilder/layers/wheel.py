"""Wheels to one layer, without recompressing: what is deflated in a zip stays as it is.

Each file becomes a stored gzip member with its tar header and a gzip member with the zip's own
deflate stream; the zip's directory already states the CRC-32 and the size. Content is inflated
once, to check both and to hash the tar.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from isal import isal_zlib

from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer, canonical_json
from envbuilder.model.plan import LAYOUT_VERSION
from envbuilder.model.progress import Progress, Silent, Step
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from . import wheel_reconstruction
from .install import InstalledFile, Target, install
from .tar import parents
from .wheelfile import Member, WheelFile
from .writer import LayerWriter, layer_writer


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelInput:
    """A wheel to install, by file name and hash.

    It is read from ``path``, which stays untouched, or from the store if that is None.
    ``requested`` and ``direct_url`` (the JSON of PEP 610) add the files of these names.
    """

    filename: str
    sha256: Digest
    requested: bool = False
    direct_url: bytes | None = None
    path: Path | None = None

    def facts(self) -> dict[str, object]:
        """Return what the installed bytes depend on, next to the target."""
        url = None if self.direct_url is None else str(Digest.of(self.direct_url))
        return {"sha256": str(self.sha256), "requested": self.requested, "direct_url": url}


def wheel_layer(
    store: Store,
    wheels: Sequence[WheelInput],
    *,
    target: Target,
    title: str,
    progress: Progress | None = None,
) -> Layer:
    """Return the layer that holds ``wheels`` installed into ``target``, made if it is not there.

    Where two of them write one path, the later one wins. A wheel that lies in the store leaves it:
    the layer holds its bytes from then on (``wheel_reconstruction.wheel_file`` makes it again).
    Raises BuildError, which names wheel and member, for what is damaged, hostile or missing.
    """
    key = _key(target, wheels=[wheel.facts() for wheel in wheels])
    with store.lock(f"layer-{Digest.of(key.encode()).hex}"):
        layer = store.record("layer", key, Layer)
        if layer is None:
            layer = _make(store, wheels, target, title=title, progress=progress or Silent())
            store.put_record("layer", key, layer, blobs=[layer.digest])
    for wheel in wheels:
        wheel_reconstruction.release(store, wheel.sha256)
    return replace(layer, title=title)


def has_wheel_layer(store: Store, wheels: Sequence[WheelInput], *, target: Target) -> bool:
    """Return whether ``store`` has the layer of ``wheels``, so that nothing is to be made."""
    key = _key(target, wheels=[wheel.facts() for wheel in wheels])
    return store.record("layer", key, Layer) is not None


def written_paths(store: Store, wheel: WheelInput, *, target: Target) -> dict[str, tuple[int, int]]:
    """Return the files that a wheel in some layer writes, each with size (bytes) and CRC-32.

    Raises BuildError if :func:`wheel_layer` has not seen the wheel yet.
    """
    found = store.record("tree", _key(target, **wheel.facts()), dict[str, tuple[int, int]])
    if found is not None:
        return found
    if not wheel_reconstruction.has_wheel(store, wheel.sha256):
        raise BuildError(f"{wheel.filename} has no layer in {store.root}", hint="build it first")
    with _path(store, wheel) as path, WheelFile.open(path, wheel.filename) as opened:
        return _tree(_installed(wheel, opened, target))  # the layer that told it is pruned


def _key(target: Target, **facts: object) -> str:
    return canonical_json({"layout": LAYOUT_VERSION, "target": asdict(target), **facts}).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """A wheel that is being read: what it installs, and where its bytes went so far."""

    wheel: WheelInput
    zip: WheelFile
    files: list[InstalledFile]
    copies: list[wheel_reconstruction.Copy] = field(default_factory=list)

    @property
    def packed(self) -> int:
        """Bytes to read, compressed as they are."""
        return sum(file.source.packed for file in self.files if isinstance(file.source, Member))


def _make(
    store: Store, wheels: Sequence[WheelInput], target: Target, *, title: str, progress: Progress
) -> Layer:
    with ExitStack() as stack:
        paths = [stack.enter_context(_path(store, wheel)) for wheel in wheels]
        settle = stack.enter_context(_hashed(store, wheels, paths))
        sources = [
            _Source(
                wheel=wheel,
                zip=(opened := stack.enter_context(WheelFile.open(path, wheel.filename))),
                files=_installed(wheel, opened, target),
            )
            for wheel, path in zip(wheels, paths, strict=True)
        ]
        total = sum(source.packed for source in sources)
        with progress.step("layer", title, total=total) as step, layer_writer(store) as out:
            _write(out, sources, step)
            settle()
            layer = out.finish()
        for source in sources:
            _remember(store, source, target, layer.digest)
    return layer


def _installed(wheel: WheelInput, opened: WheelFile, target: Target) -> list[InstalledFile]:
    return install(opened, target=target, requested=wheel.requested, direct_url=wheel.direct_url)


@contextmanager
def _path(store: Store, wheel: WheelInput) -> Iterator[Path]:
    if wheel.path is not None:
        if not wheel.path.is_file():
            raise BuildError(f"{wheel.path} is not a file", hint="build or fetch that wheel again")
        yield wheel.path
    else:
        with wheel_reconstruction.wheel_file(store, wheel.sha256) as path:
            yield path


@contextmanager
def _hashed(
    store: Store, wheels: Sequence[WheelInput], paths: Sequence[Path]
) -> Iterator[Callable[[], None]]:
    """Hash the wheel files beside the work of the block; the function given waits for the verdict.

    A file with the wrong hash explains whatever else is wrong with it, so that error wins.
    """
    with ThreadPoolExecutor(1) as pool:
        checks = [pool.submit(check_hash, store, *pair) for pair in zip(wheels, paths, strict=True)]

        def settle() -> None:
            for check in checks:
                check.result()

        try:
            yield settle
        except BuildError:
            settle()
            raise


def check_hash(store: Store, wheel: WheelInput, path: Path) -> None:
    """Raise BuildError if the file at ``path`` is not ``wheel``; the store then lets go of it."""
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual == wheel.sha256.hex:
        return
    hint = "fetch that file again"
    if wheel.path is None:
        store.discard(wheel.sha256)
        hint = "build again: it is fetched anew"
    raise BuildError(
        f"{wheel.filename} is not what was locked: expected {wheel.sha256}, found sha256:{actual}",
        hint=hint,
    )


def _write(out: LayerWriter, sources: Sequence[_Source], step: Step) -> None:
    """Write the directories of all wheels, then the files of one after another."""
    winners = {file.path: source.wheel for source in sources for file in source.files}
    folders = {path for path in winners if path.endswith("/")}
    for path in winners:
        folders.update(parents(path))
    for folder in sorted(folders):
        if folder[:-1] in winners:
            raise BuildError(
                f"{winners[folder[:-1]].filename} installs a file {folder[:-1]!r} "
                "where another wheel has a directory"
            )
        out.entry(folder, mode=0o755)
    for source in sources:
        for file in source.files:
            if winners[file.path] is source.wheel and not file.path.endswith("/"):
                _write_file(out, source, file, step)


def _write_file(out: LayerWriter, source: _Source, file: InstalledFile, step: Step) -> None:
    member = file.source
    if isinstance(member, bytes):
        out.entry(file.path, mode=file.mode, content=member)
        return
    out.begin(file.path, mode=file.mode, size=member.size)
    place = member.offset
    for packed, content in source.zip.pieces(member):
        if member.deflated:
            at = out.deflated(packed, content)
            source.copies.append((place, len(packed), at))
        else:
            source.copies.extend((place + n, size, at) for n, size, at in out.plain(content))
        place += len(packed)
        step.advance(len(packed))
    out.end(crc=member.crc, size=member.size, deflated=member.deflated)


def _remember(store: Store, source: _Source, target: Target, layer: Digest) -> None:
    key = _key(target, **source.wheel.facts())
    store.put_record("tree", key, _tree(source.files), blobs=[layer])
    wheel_reconstruction.keep(
        store, wheel=source.wheel.sha256, fd=source.zip.fd, layer=layer, copies=source.copies
    )


def _tree(files: Iterable[InstalledFile]) -> dict[str, tuple[int, int]]:
    return {file.path: _size_and_crc(file.source) for file in files}


def _size_and_crc(source: Member | bytes) -> tuple[int, int]:
    if isinstance(source, Member):
        return source.size, source.crc
    return len(source), isal_zlib.crc32(source)
