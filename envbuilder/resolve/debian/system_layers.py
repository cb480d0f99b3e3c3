"""A Debian base as layers: a root file system made of exactly the locked .deb files.

mmdebstrap runs the packages' own scripts, offline; :mod:`.rootfs` settles what comes out, so that
two builds at other times and places are the same layers, and :mod:`.cut` cuts it by the owner of
each file, so that a new version of one package is a new version of one layer and of the last,
small one. The store remembers them.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from threading import Event

from envbuilder.layers.installed import SystemFacts, remember, system_facts
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Layer, canonical_json
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase
from envbuilder.model.progress import Progress, Step
from envbuilder.model.system_plan import SystemLayer, system_plan
from envbuilder.resolve.context import Context
from envbuilder.runtime.emulation import can_run, no_emulator
from envbuilder.storage.store import Store
from envbuilder.storage.stream import Writer
from envbuilder.storage.temporary import translated

from .compression import PackedTar, compressor
from .cut import Cut
from .deb_repository import write_repository
from .mmdebstrap import bootstrap
from .owners import Owners, read_owners
from .rootfs import settle
from .work_place import work_place

SYSTEM_LAYOUT = 5
"""Raise it whenever the same .deb files give other layers."""
_KIND = "system"


def stored_system_layers(
    store: Store, base: DebianBase, *, architecture: str
) -> tuple[Layer, ...] | None:
    """Return the layers of ``base`` if the store has them all, with or without the .deb files."""
    return store.record(_KIND, _key(base, architecture), tuple[Layer, ...])


def system_layers(context: Context, base: DebianBase, *, architecture: str) -> tuple[Layer, ...]:
    """Return the layers of ``base`` as ``system_plan`` has them, built if they are not there.

    The .deb files lie in the store; ``architecture`` is Debian's (``amd64``). One process builds,
    others wait for it; the context's ``stop`` ends the build. Raises BuildError and
    MissingToolError, and leaves nothing behind.
    """
    store = context.store
    with store.lock("system", waiting=_Waiting(context.progress, context.stop)):
        layers = stored_system_layers(store, base, architecture=architecture)
        if layers is None:
            if not can_run(f"linux/{architecture}"):
                raise no_emulator(f"linux/{architecture}", "making a Debian base")
            with work_place() as work:
                layers = _build(context, work, base, architecture=architecture)
            blobs = {layer.digest for layer in layers}
            store.put_record(_KIND, _key(base, architecture), layers, blobs=blobs)
        return layers


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


def _build(
    context: Context, work: Path, base: DebianBase, *, architecture: str
) -> tuple[Layer, ...]:
    store, progress = context.store, context.progress
    repository, dpkg = work / "repository", work / "dpkg.tar"
    with translated(work):
        repository.mkdir()
        repository.chmod(0o755)
        write_repository(
            repository, base.packages, suite=base.suite, architecture=architecture, store=store
        )
    title = f"{base.distribution.title()} {base.suite}: {len(base.packages)} packages"
    steps = 2 * len(base.packages)  # each is unpacked and configured
    with (
        progress.step("system", title, total=steps, unit="items") as step,
        ExitStack() as writers,
    ):
        planned = system_plan(base)
        outs = [writers.enter_context(store.writer()) for _ in planned]
        facts, tars = bootstrap(
            work,
            repository=repository,
            suite=base.suite,
            architecture=architecture,
            packages=[deb.name for deb in base.packages],
            say=lambda line: _advance(step, line),
            consume=lambda tar: _pack(tar, outs, planned, dpkg, progress),
            stop=context.stop,
            records=dpkg,
        )
        _expect(base, facts)
        layers = tuple(
            _layer(group, out, tar) for group, out, tar in zip(planned, outs, tars, strict=True)
        )
    for layer, each in zip(layers, facts, strict=True):
        remember(store, layer.diff_id, each)
    return layers


def _pack(
    tar: BufferedReader,
    outs: list[Writer],
    planned: tuple[SystemLayer, ...],
    dpkg: Path,
    progress: Progress,
) -> tuple[list[SystemFacts], list[PackedTar]]:
    """Cut the tar into ``outs``; return what each layer says, and the tars that were packed."""
    if not tar.peek(1):  # the packages are installed, and dpkg's records there, before it comes
        raise tarfile.ReadError("the run ended before its tar began")
    places = {deb.name: place for place, group in enumerate(planned) for deb in group.packages}
    with progress.step("layer", "Debian system") as step, compressor() as shared:
        tars = [PackedTar(out, shared) for out in outs]
        cut = Cut([_counted(each, step) for each in tars], owners=_owners(dpkg), places=places)
        told: list[dict[str, bytes]] = [{} for _ in outs]
        for path, content in settle(tar, cut).items():
            told[cut.place(path)][path] = content
        for each in tars:
            each.flush()
    return [system_facts(documents) for documents in told], tars


def _counted(tar: PackedTar, step: Step) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        tar.write(data)
        step.advance(len(data))

    return write


def _owners(dpkg: Path) -> Owners:
    with dpkg.open("rb") as records:
        return read_owners(records)


def _advance(step: Step, line: str) -> None:
    if line.startswith(("Unpacking ", "Setting up ")):
        step.advance(1)


def _expect(base: DebianBase, facts: Sequence[SystemFacts]) -> None:
    installed = {deb.name: deb.version for each in facts for deb in each.debs or ()}
    locked = {deb.name: deb.version for deb in base.packages}
    if installed != locked:
        wrong = sorted(name for name, _ in installed.items() ^ locked.items())
        raise BuildError(f"what is installed is not what the lock says: {', '.join(wrong)}")


def _layer(group: SystemLayer, out: Writer, tar: PackedTar) -> Layer:
    size = out.size
    return Layer(
        digest=out.commit(),
        size=size,
        diff_id=tar.diff_id,
        title=group.title,
        inputs=tuple(str(deb.sha256) for deb in group.packages),
        kind=LayerKind.SYSTEM,
        bucket=group.bucket,
    )


def _key(base: DebianBase, architecture: str) -> str:
    debs = sorted(deb.sha256.hex for deb in base.packages)
    facts = {"suite": base.suite, "architecture": architecture, "debs": debs}
    if base.distribution != "debian":
        facts["distribution"] = base.distribution
    return canonical_json({"system": SYSTEM_LAYOUT, **facts}).decode()
