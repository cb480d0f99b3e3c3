"""The main job, stage by stage: spec -> lock -> image -> smoke -> seal -> ledger.

Commands, ``bump`` and ``bisect`` all go through here; what differs is what they do with the
:class:`BuildResult`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from envbuilder.engines.embedded import seal
from envbuilder.engines.reuse import ReusableLayers
from envbuilder.engines.source_wheels import with_wheels
from envbuilder.model.errors import LockError
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock, spec_checksum
from envbuilder.model.pylock import (
    dump_lock,
    lock_checksum,
    lock_path,
    read_lock,
    write_lock,
)
from envbuilder.model.samples import check_samples
from envbuilder.model.seal import Seal
from envbuilder.model.spec_file import load
from envbuilder.model.spec_words import Platform
from envbuilder.model.yaml_document import read_document
from envbuilder.resolve.context import Context
from envbuilder.runtime import Runtime
from envbuilder.smoke import Report
from envbuilder.storage import build_records, ledger
from envbuilder.storage.store import Store

from .foreign import check_runs
from .lock import current_lock
from .make import make_image
from .smoke import check_at_hand, record_answers, record_touched, smoke_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What was decided for one build; nothing of this changes a file in the image.

    ``engine`` is "embedded" or "docker"; ``locked`` forbids to write the lock; ``reseal`` accepts
    an image that differs from the sealed one.
    """

    engine: str = "embedded"
    locked: bool = False
    reseal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build gave; ``report`` is None if the smoke was left out."""

    lock: Lock
    image: Image
    report: Report | None

    @property
    def good(self) -> bool:
        """Whether the image passed its smoke test."""
        return self.passes(allow_unproven=False)

    def passes(self, *, allow_unproven: bool) -> bool:
        """Return whether it passed; what is unproven counts as if, where that is allowed."""
        return self.report is not None and self.report.passes(allow_unproven=allow_unproven)


def build_environment(
    context: Context,
    spec_path: Path,
    decisions: Decisions,
    *,
    runtime: Runtime | None,
    reuse: Callable[[Lock], ReusableLayers] | None = None,
) -> BuildResult:
    """Do the main job for the spec at ``spec_path``; ``runtime`` None leaves the smoke out.

    ``reuse`` names layers that need not be made, as a push does; such an image cannot be smoked.

    The lock is sealed and the ledger gets its line whether the smoke is green or red: an image is
    known to be good by its ledger entry, not by its existence.
    """
    spec_text = read_document(spec_path).text
    outcome = make_sealed(context, spec_path, decisions, runtime=runtime, reuse=reuse)
    if runtime is not None:
        lock = dump_lock(outcome.lock).encode()
        texts = build_records.BuildTexts(spec=spec_text.encode(), lock=lock)
        entry = ledger_entry(outcome, runtime=runtime.name)
        record(spec_path, texts, entry, [outcome], store=context.store)
    return outcome


def make_sealed(
    context: Context,
    spec_path: Path,
    decisions: Decisions,
    *,
    runtime: Runtime | None,
    reuse: Callable[[Lock], ReusableLayers] | None = None,
    platform: Platform | None = None,
) -> BuildResult:
    """Build, seal and smoke as :func:`build_environment` does, and write no ledger.

    Of a spec for several platforms it is the image of ``platform``.
    """
    spec, lock_file = load(spec_path, platform), lock_path(spec_path, platform)
    over = lock_file.read_bytes() if lock_file.exists() else None
    known = None if over is None else read_lock(lock_file)
    check_runs(context, spec, known, engine=decisions.engine)
    locked = decisions.locked
    lock = current_lock(context, spec_path, locked=locked, platform=platform, known=known)
    if runtime is not None:
        check_at_hand(lock, runtime=runtime, folder=spec_path.parent)
    over = lock_file.read_bytes() if over is None else over
    lock = with_wheels(context, lock, engine=decisions.engine)
    image = make_image(context, lock, engine=decisions.engine, held=reuse(lock) if reuse else None)
    sealed = _seal(lock, image, over=over, path=lock_file, decisions=decisions)
    if runtime is None:
        return BuildResult(lock=sealed, image=image, report=None)
    report = smoke_image(context, lock, image, runtime=runtime, folder=spec_path.parent)
    return BuildResult(lock=sealed, image=image, report=report)


def build_elsewhere(
    context: Context,
    spec_path: Path,
    build: Callable[[Lock], Iterable[tuple[BuildResult, ledger.LedgerEntry]]],
) -> None:
    """Do the main job for the spec at ``spec_path`` where ``build`` makes and smokes its lock.

    It gives each result with its line for the ledger; each is sealed and recorded, as if it had
    been made here, before the next one is asked for, and no line twice.
    """
    spec_text = read_document(spec_path).text
    lock = current_lock(context, spec_path)
    check_samples(lock.spec, spec_path.parent)
    path = lock_path(spec_path)
    over = path.read_bytes()
    for outcome, entry in build(lock):
        made, decisions = replace(outcome.lock, seal=lock.seal), Decisions(engine=entry.engine)
        sealed = _seal(made, outcome.image, over=over, path=path, decisions=decisions)
        if outcome.report is not None:
            image = context.store.add(outcome.image.manifest)
            build_records.keep_report(context.store, image, outcome.report.to_dict())
        lock_text = dump_lock(sealed).encode()
        texts = build_records.BuildTexts(spec=spec_text.encode(), lock=lock_text)
        record(spec_path, texts, entry, [replace(outcome, lock=sealed)], store=context.store)


def _seal(lock: Lock, image: Image, *, over: bytes, path: Path, decisions: Decisions) -> Lock:
    """Seal ``lock`` and write it, where its file is still ``over``: a build takes minutes."""
    sealed = seal(lock, image, engine=decisions.engine)
    if lock.seal is not None and not decisions.reseal:
        _check_seal(lock.seal, sealed, image, name=lock.spec.name)
        if decisions.locked and sealed.seal != lock.seal:
            raise LockError(
                f"{lock.spec.name} is sealed as {lock.seal.manifest} ({lock.seal.engine} engine), "
                f"and this build gave {image.digest} ({decisions.engine} engine)",
                hint="without --locked the seal is renewed: the files are the same, but not the "
                "engine, the image's settings or the compression",
            )
    text = dump_lock(sealed)
    if not decisions.locked and text.encode() != over:
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


def record(
    spec_path: Path,
    texts: build_records.BuildTexts,
    entry: ledger.LedgerEntry,
    outcomes: Iterable[BuildResult],
    *,
    store: Store,
) -> None:
    """Write ``entry`` into the ledger, its ``texts`` into the store, and new answers beside it."""
    build_records.keep(store, entry.lock, texts)
    ledger.append_new(ledger.ledger_path(spec_path), entry)
    for outcome in outcomes:
        if outcome.report is not None:
            record_answers(outcome.report, outcome.lock.spec, folder=spec_path.parent)
            record_touched(outcome.report, outcome.lock, folder=spec_path.parent)


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
