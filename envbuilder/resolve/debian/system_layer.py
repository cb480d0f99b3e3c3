"""A Debian base as one layer: a root file system made of exactly the locked .deb files.

mmdebstrap runs the packages' own scripts, offline; :mod:`.rootfs` settles what comes out, so that
two builds at other times and places are one layer. The store remembers it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from threading import Event

from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer, canonical_json
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase
from envbuilder.model.progress import Progress, Step
from envbuilder.model.reference import Digest
from envbuilder.resolve.context import Context
from envbuilder.storage.store import Store
from envbuilder.storage.stream import Writer
from envbuilder.storage.temporary import translated

from .compression import compressed
from .deb_repository import write_repository
from .mmdebstrap import bootstrap, remove_leftovers
from .rootfs import settle

SYSTEM_LAYOUT = 3
"""Raise it whenever the same .deb files give another layer."""


def stored_system_layer(store: Store, base: DebianBase, *, architecture: str) -> Layer | None:
    """Return the layer of ``base`` if the store has it, whether or not it has the .deb files."""
    return store.record("layer", _key(base, architecture), Layer)


def system_layer(context: Context, base: DebianBase, *, architecture: str) -> Layer:
    """Return the layer of ``base``, built if it is not there; its .deb files lie in the store.

    ``architecture`` is Debian's (``amd64``). One process builds, others wait for it; the
    context's ``stop`` ends the build. Raises BuildError and MissingToolError, and leaves nothing
    behind.
    """
    store = context.store
    with store.lock("system", waiting=_Waiting(context.progress, context.stop)):
        layer = stored_system_layer(store, base, architecture=architecture)
        if layer is not None:
            return layer
        with _work(store) as work:
            layer = _build(context, work, base, architecture=architecture)
        store.put_record("layer", _key(base, architecture), layer, blobs=[layer.digest])
        return layer


class _Waiting:
    """What to do while another process builds: say so once, and give up when told to."""

    def __init__(self, progress: Progress, stop: Event) -> None:
        self._progress = progress
        self._stop = stop
        self._said = False

    def __call__(self) -> None:
        if self._stop.is_set():
            raise BuildError("the build of the Debian base was stopped")
        if not self._said:
            self._progress.note("waiting: another process builds a Debian base in this store")
            self._said = True


def _build(context: Context, work: Path, base: DebianBase, *, architecture: str) -> Layer:
    store, progress = context.store, context.progress
    repository = work / "repository"
    with translated(work):
        repository.mkdir()
        repository.chmod(0o755)
        write_repository(
            repository, base.packages, suite=base.suite, architecture=architecture, store=store
        )
    steps = 2 * len(base.packages)  # each is unpacked and configured
    with (
        progress.step("system", _title(base), total=steps, unit="items") as step,
        store.writer() as out,
    ):
        installed, diff_id = bootstrap(
            work,
            repository=repository,
            suite=base.suite,
            architecture=architecture,
            packages=[deb.name for deb in base.packages],
            say=lambda line: _advance(step, line),
            consume=lambda tar: _pack(tar, out, progress),
            stop=context.stop,
        )
        _expect(base, installed)
        size = out.size
        return _layer(base, out.commit(), size, diff_id)


def _pack(tar: BufferedReader, out: Writer, progress: Progress) -> tuple[dict[str, str], Digest]:
    tar.peek(1)  # the packages are installed before the first byte comes
    with progress.step("layer", "Debian system") as step, compressed(out) as compressor:

        def write(data: bytes) -> None:
            compressor.write(data)
            step.advance(len(data))

        installed = settle(tar, write)
    return installed, compressor.diff_id


def _advance(step: Step, line: str) -> None:
    if line.startswith(("Unpacking ", "Setting up ")):
        step.advance(1)


def _expect(base: DebianBase, installed: dict[str, str]) -> None:
    locked = {deb.name: deb.version for deb in base.packages}
    if installed != locked:
        wrong = sorted(name for name, _ in installed.items() ^ locked.items())
        raise BuildError(f"what is installed is not what the lock says: {', '.join(wrong)}")


def _layer(base: DebianBase, digest: Digest, size: int, diff_id: Digest) -> Layer:
    title, kind = _title(base), LayerKind.SYSTEM
    return Layer(digest=digest, size=size, diff_id=diff_id, title=title, kind=kind)


def _title(base: DebianBase) -> str:
    return f"{base.distribution.title()} {base.suite}: {len(base.packages)} packages"


def _key(base: DebianBase, architecture: str) -> str:
    debs = sorted(deb.sha256.hex for deb in base.packages)
    facts = {"suite": base.suite, "architecture": architecture, "debs": debs}
    if base.distribution != "debian":
        facts["distribution"] = base.distribution
    return canonical_json({"system": SYSTEM_LAYOUT, **facts}).decode()


@contextmanager
def _work(store: Store) -> Iterator[Path]:
    """Lend scratch space that other users may enter, unlike the store; take it back whatever.

    The caller holds the store's lock, so what a killed process left there is nobody's. It may
    take gigabytes: not the place for a /tmp in memory.
    """
    name = hashlib.sha256(os.fsencode(store.root.resolve())).hexdigest()[:12]
    work = Path(os.environ.get("TMPDIR") or "/var/tmp") / f"envbuilder-{name}"  # noqa: S108
    with translated(work):
        remove_leftovers(work)
        work.mkdir(mode=0o755)
        work.chmod(0o755)  # whatever the umask
    try:
        yield work
    finally:
        remove_leftovers(work)
