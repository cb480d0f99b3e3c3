"""The main job, stage by stage: spec -> lock -> image -> smoke -> seal -> ledger.

Commands, ``bump`` and ``bisect`` all go through here; what differs is what they do with the
:class:`BuildResult`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from envbuilder.engines.docker import build_with_docker
from envbuilder.engines.embedded import NO_REUSE, assemble, seal
from envbuilder.engines.foundation import fetch_base
from envbuilder.engines.reuse import ReusableLayers
from envbuilder.engines.source_wheels import fetch_sources, with_wheels
from envbuilder.engines.system import system_layers
from envbuilder.engines.system_pins import pin_packages
from envbuilder.model.errors import LockError, NetworkError
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock, Seal, spec_checksum
from envbuilder.model.progress import Progress
from envbuilder.model.pylock import (
    check_fresh,
    dump_lock,
    lock_checksum,
    lock_path,
    read_lock,
    write_lock,
)
from envbuilder.model.spec import Spec
from envbuilder.model.spec_file import load
from envbuilder.model.yaml_document import read_document
from envbuilder.resolve.git.locking import lock_spec
from envbuilder.resolve.python.wheels import supply
from envbuilder.resolve.resolve import EVERYTHING, SYSTEM, releasable
from envbuilder.runtime import Runtime
from envbuilder.smoke import Report
from envbuilder.storage import build_records, ledger
from envbuilder.storage.store import Store

from .smoke import record_answers, smoke_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a build goes about it: nothing of this changes a byte of the result.

    ``locked`` forbids to write the lock, ``offline`` to use the network; ``reseal`` accepts an
    image that differs from the sealed one. ``engine`` is "embedded" or "docker"; ``builder`` names
    the buildx builder where Docker is needed.
    """

    locked: bool = False
    offline: bool = False
    reseal: bool = False
    engine: str = "embedded"
    builder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build gave; ``report`` is None if the smoke was left out."""

    lock: Lock
    image: Image
    report: Report | None

    @property
    def good(self) -> bool:
        """Whether the image passed its smoke test."""
        return self.report is not None and self.report.ok


def resolve_spec(
    spec: Spec,
    *,
    store: Store,
    progress: Progress,
    previous: Lock | None = None,
    release: Collection[str] = (),
    builder: str | None = None,
) -> Lock:
    """Pin all of ``spec``: base, system and git packages, Python packages.

    What ``previous`` pinned stays, but for what ``release`` names; see ``resolve``. ``builder``
    runs the package manager of an image base.
    """
    lock = lock_spec(spec, store=store, progress=progress, previous=previous, release=release)
    kept = None if {SYSTEM, EVERYTHING} & set(release) else previous
    return pin_packages(lock, store=store, progress=progress, previous=kept, builder=builder)


def lock_environment(
    spec_path: Path,
    *,
    store: Store,
    progress: Progress,
    release: Collection[str] = (),
    builder: str | None = None,
) -> Lock:
    """Resolve the spec at ``spec_path``, write its lock beside it, and return it.

    Pins that nothing forces stay; see ``resolve_spec``. A seal stays where the lock does. Raises
    LockError where the present lock cannot be read, unless EVERYTHING in it is let go, and
    UsageError where ``release`` names what it does not hold.
    """
    spec = load(spec_path)
    path = lock_path(spec_path)
    try:
        previous = read_lock(path) if path.exists() else None
    except LockError:
        if EVERYTHING not in release:
            raise
        previous = None
    lock = resolve_spec(
        spec,
        store=store,
        progress=progress,
        previous=previous,
        release=releasable(release, spec, previous),
        builder=builder,
    )
    if previous is not None and lock == previous.unsealed():
        return previous
    write_lock(path, lock)
    return lock


def current_lock(spec_path: Path, *, store: Store, progress: Progress, options: Options) -> Lock:
    """Read the lock of ``spec_path``; make it if there is none and that is allowed.

    Raises LockError if it is older than its spec: locking anew is a decision, not a side
    effect.
    """
    path = lock_path(spec_path)
    if path.exists() or options.locked:
        lock = read_lock(path)
        check_fresh(lock, load(spec_path), name=spec_path.stem)
        return lock
    if options.offline:
        raise NetworkError(f"--offline, and there is no lock {path}", hint="lock while online")
    return lock_environment(spec_path, store=store, progress=progress, builder=options.builder)


def fetch(lock: Lock, *, store: Store, progress: Progress, options: Options) -> None:
    """Bring every artifact of ``lock`` into the store, and what builds its git sources."""
    fetch_base(lock, store=store, offline=options.offline, progress=progress)
    source = supply(lock, lock.wheels, store=store, offline=options.offline, progress=progress)
    source.bring_all(lock.wheels)
    fetch_sources(lock, store=store, progress=progress, offline=options.offline)


def with_source_wheels(lock: Lock, *, store: Store, progress: Progress, options: Options) -> Lock:
    """Return ``lock`` with the wheels of its git sources, built by the engine of ``options``."""
    return with_wheels(
        lock,
        store=store,
        progress=progress,
        offline=options.offline,
        engine=options.engine,
        builder=options.builder,
    )


def engine_of(lock: Lock) -> str:
    """Name the engine that builds an environment: the one that it had so far, or needs."""
    return engine_needed(lock.spec) if lock.seal is None else lock.seal.engine


def engine_needed(spec: Spec) -> str:
    """Name the engine that can build ``spec``: only Docker runs steps on top of the packages."""
    return "docker" if spec.steps.after_python else "embedded"


def make_all(
    lock: Lock, *, store: Store, progress: Progress, options: Options
) -> tuple[Lock, Image]:
    """Build the wheels of git sources, then the image; give the lock with those wheels, too."""
    lock = with_source_wheels(lock, store=store, progress=progress, options=options)
    return lock, make_image(lock, store=store, progress=progress, options=options)


def make_image(
    lock: Lock,
    *,
    store: Store,
    progress: Progress,
    options: Options,
    held: ReusableLayers = NO_REUSE,
) -> Image:
    """Build the image of ``lock`` with the engine of ``options``.

    The embedded one wants the wheels of git sources (Docker would compile them each time anew);
    layers that are ``held`` elsewhere it does not make: the store then lacks them.
    """
    if options.engine == "docker":
        return build_with_docker(
            lock,
            store=store,
            progress=progress,
            builder=options.builder,
            offline=options.offline,
        )
    elsewhere = {wheel for group in held.wheels for wheel in group.wheels}
    wheels = [wheel for wheel in lock.wheels if wheel not in elsewhere]
    source = supply(lock, wheels, store=store, offline=options.offline, progress=progress)
    return assemble(
        lock,
        store=store,
        foundation=lambda stop: system_layers(
            lock,
            store=store,
            progress=progress,
            stop=stop,
            builder=options.builder,
            offline=options.offline,
        ),
        bring=source.bring,
        progress=progress,
        held=held,
    )


def build_environment(
    spec_path: Path,
    *,
    store: Store,
    progress: Progress,
    options: Options,
    runtime: Runtime | None,
    reuse: Callable[[Lock], ReusableLayers] = lambda _: NO_REUSE,
) -> BuildResult:
    """Do the main job for the spec at ``spec_path``; ``runtime`` None leaves the smoke out.

    ``reuse`` names layers that need not be made, as a push does; such an image cannot be smoked.

    The lock is sealed and the ledger gets its line whether the smoke is green or red: an image is
    known to be good by its ledger entry, not by its existence.
    """
    spec_text = read_document(spec_path).text
    lock = current_lock(spec_path, store=store, progress=progress, options=options)
    lock_text = lock_path(spec_path).read_bytes()
    lock = with_source_wheels(lock, store=store, progress=progress, options=options)
    image = make_image(lock, store=store, progress=progress, options=options, held=reuse(lock))
    sealed = _seal(lock, image, over=lock_text, spec_path=spec_path, options=options)
    report = None
    if runtime is not None:
        report = smoke_image(
            lock,
            image,
            store=store,
            runtime=runtime,
            progress=progress,
            offline=options.offline,
            folder=spec_path.parent,
        )
    outcome = BuildResult(lock=sealed, image=image, report=report)
    if report is not None and runtime is not None:
        _record(spec_path, spec_text, outcome, store=store, runtime=runtime.name)
    return outcome


def _seal(lock: Lock, image: Image, *, over: bytes, spec_path: Path, options: Options) -> Lock:
    """Seal ``lock`` and write it, where its file is still ``over``: a build takes minutes."""
    sealed = seal(lock, image, engine=options.engine)
    if lock.seal is not None and not options.reseal:
        _check_seal(lock.seal, sealed, image, name=spec_path.stem)
        if options.locked and sealed.seal != lock.seal:
            raise LockError(
                f"{spec_path.stem} is sealed as {lock.seal.manifest} ({lock.seal.engine} engine), "
                f"and this build gave {image.digest} ({options.engine} engine)",
                hint="without --locked the seal is renewed: the files are the same, but not the "
                "engine, the image's settings or the compression",
            )
    path = lock_path(spec_path)
    text = dump_lock(sealed)
    if not options.locked and text.encode() != over:
        if path.read_bytes() not in {over, text.encode()}:  # another build may seal it alike
            raise LockError(
                f"{path} changed while it was built, and stays as it is now", hint="build again"
            )
        write_lock(path, sealed)
    return sealed


def _check_seal(old: Seal, new: Lock, image: Image, *, name: str) -> None:
    """Refuse an image whose content is not what was sealed: something is not reproducible."""
    assert new.seal is not None  # noqa: S101 - seal() made it
    if (old.engine, old.layout) != (new.seal.engine, new.seal.layout):
        return
    before = [layer.diff_id for layer in old.layers]
    after = [layer.diff_id for layer in image.layers]
    if before == after:
        return
    known = set(before)
    changed = [layer.title for layer in image.layers if layer.diff_id not in known]
    raise LockError(
        f"the lock of {name} gave another image than the sealed one; these layers differ: "
        f"{', '.join(changed) or 'only their order'}",
        hint="find out why (another mmdebstrap?), then accept it with --reseal",
    )


def _record(
    spec_path: Path, spec_text: str, outcome: BuildResult, *, store: Store, runtime: str
) -> None:
    entry = ledger_entry(outcome, runtime=runtime)
    texts = build_records.BuildTexts(spec=spec_text.encode(), lock=dump_lock(outcome.lock).encode())
    build_records.keep(store, entry.lock, texts)
    ledger.append(ledger.ledger_path(spec_path), entry)
    if outcome.report is not None:
        record_answers(outcome.report, name=outcome.lock.spec.name, folder=spec_path.parent)


def ledger_entry(outcome: BuildResult, *, runtime: str) -> ledger.LedgerEntry:
    """Return the ledger's line for a smoked ``outcome``, as of now."""
    assert outcome.report is not None  # noqa: S101 - nothing is said of what was not smoked
    return ledger.LedgerEntry(
        time=ledger.now(),
        spec=spec_checksum(outcome.lock.spec),
        lock=lock_checksum(outcome.lock),
        image=outcome.image.digest,
        engine=outcome.lock.seal.engine if outcome.lock.seal else "embedded",
        good=outcome.good,
        smoke=outcome.report.summary,
        host=_host(outcome.report, runtime),
    )


def _host(report: Report, runtime: str) -> ledger.BuildHost:
    gpu = report.environment.get("gpu") or {}
    return ledger.BuildHost(
        kernel=platform.release(),
        runtime=runtime,
        gpu=str(gpu.get("name", "")),
        driver=str(gpu.get("driver", "")),
    )
