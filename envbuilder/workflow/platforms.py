"""An environment for several platforms: each is made as if alone, and an index lists the images.

It is one environment all the same: it is good if all its images are, and has one line in the
ledger, whose image is the index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from envbuilder.engines.reuse import ReusableLayers
from envbuilder.model.lock import Lock, joint
from envbuilder.model.pylock import dump_lock, lock_path, read_lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import load_each, platforms_at
from envbuilder.model.spec_words import COMPRESSIONS, Platform
from envbuilder.model.yaml_document import read_document
from envbuilder.registry.manifests import Manifest
from envbuilder.resolve.context import Context
from envbuilder.runtime import Runtime
from envbuilder.storage import build_records, ledger

from .build import (
    BuildResult,
    Decisions,
    build_environment,
    ledger_entry,
    make_sealed,
    record,
)
from .foreign import check_runs
from .lock import current_locks
from .publish_platforms import image_index, keep_published, with_index

Reuse = Callable[[Platform | None], Callable[[Lock], ReusableLayers] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformsBuilt:
    """What a build gave for each platform; of several, ``index`` lists the images.

    The platform None is the only one of a spec.
    """

    parts: Mapping[Platform | None, BuildResult]
    index: Manifest | None = None

    @property
    def good(self) -> bool:
        """Whether every image passed its smoke test."""
        return self.passes(allow_unproven=False)

    @property
    def summary(self) -> str:
        """How the smoke tests ended, in one line that begins with the verdict on all."""
        told = {each: part.report for each, part in self.parts.items() if part.report is not None}
        said = "; ".join(
            report.summary if each is None else f"{each}: {report.summary}"
            for each, report in told.items()
        )
        unproven = not self.good and self.passes(allow_unproven=True)
        return f"unproven: {said}" if unproven and self.index is not None else said

    @property
    def locks(self) -> dict[Platform | None, Lock]:
        """The sealed locks."""
        return {each: part.lock for each, part in self.parts.items()}

    @property
    def digest(self) -> Digest:
        """What names all of it: the index's digest, or that of the only image."""
        if self.index is not None:
            return self.index.digest
        return next(iter(self.parts.values())).image.digest

    def passes(self, *, allow_unproven: bool) -> bool:
        """Return whether every image passed its smoke test, as a BuildResult says it."""
        return all(each.passes(allow_unproven=allow_unproven) for each in self.parts.values())


def build_platforms(
    context: Context,
    spec_path: Path,
    decisions: Decisions,
    *,
    runtime: Runtime | None,
    reuse: Reuse | None = None,
) -> PlatformsBuilt:
    """Do the main job for each platform of the spec: build, seal and smoke.

    ``runtime`` None leaves the smoke out; ``reuse`` names layers that need not be made, as a push
    does. Of several images the index is sealed. The ledger gets its one line once all are there.
    Raises what ``build_environment`` does, which is this for one platform.
    """
    named = platforms_at(spec_path)
    if len(named) == 1:
        only = build_environment(
            context, spec_path, decisions, runtime=runtime, reuse=reuse(None) if reuse else None
        )
        return PlatformsBuilt(parts={None: only})
    spec_text = read_document(spec_path).text
    _lock_all(context, spec_path, decisions)
    parts = {
        each: make_sealed(
            context, spec_path, decisions, runtime=runtime, platform=each,
            reuse=reuse(each) if reuse else None,
        )
        for each in named
    }  # fmt: skip
    built = joined(parts)
    before = {each: part.lock for each, part in parts.items()}
    paths = lock_paths(spec_path)
    keep_published(context, paths, before, built.locks, locked=decisions.locked)
    if runtime is not None:
        texts = texts_of_locks(spec_text.encode(), built.locks)
        entry = joint_entry(built, partial(ledger_entry, runtime=runtime.name))
        record(spec_path, texts, entry, parts.values(), store=context.store)
    return built


def _lock_all(context: Context, spec_path: Path, decisions: Decisions) -> None:
    """See that all platforms can be built here and are locked, before one of them is built."""
    for platform, spec in load_each(spec_path).items():
        path = lock_path(spec_path, platform)
        known = read_lock(path) if path.exists() else None
        check_runs(context, spec, known, engine=decisions.engine)
    current_locks(context, spec_path, locked=decisions.locked)


def joined(parts: Mapping[Platform | None, BuildResult]) -> PlatformsBuilt:
    """Join what was built for each platform; of several, the seals tell of the index."""
    if len(parts) == 1:
        return PlatformsBuilt(parts=parts)
    index = image_index((each.lock, each.image) for each in parts.values())
    locks = with_index(
        {each: part.lock for each, part in parts.items()}, index.digest, COMPRESSIONS[0]
    )
    sealed = {each: replace(part, lock=locks[each]) for each, part in parts.items()}
    return PlatformsBuilt(parts=sealed, index=index)


def texts_of_locks(spec: bytes, locks: Mapping[Platform | None, Lock]) -> build_records.BuildTexts:
    """Return the texts of a build: of its spec, and of the lock of each platform."""
    first, *further = locks.items()
    return build_records.BuildTexts(
        spec=spec,
        lock=dump_lock(first[1]).encode(),
        further={each: dump_lock(lock).encode() for each, lock in further if each is not None},
    )


def joint_entry(
    built: PlatformsBuilt, entry: Callable[[BuildResult], ledger.LedgerEntry]
) -> ledger.LedgerEntry:
    """Return the ledger's one line for a build that was smoked: of several images, the index's.

    ``entry`` gives that for one of them.
    """
    entries = [entry(each) for each in built.parts.values()]
    if built.index is None:
        return entries[0]
    return ledger.LedgerEntry(
        time=entries[-1].time,
        spec=joint(each.spec for each in entries),
        lock=joint(each.lock for each in entries),
        image=built.digest,
        engine=entries[0].engine,
        good=all(each.good for each in entries),
        smoke=built.summary,
        host=entries[0].host,
    )


def lock_paths(spec_path: Path) -> dict[Platform | None, Path]:
    """Name the lock of each platform of the spec at ``spec_path``."""
    return {each: lock_path(spec_path, each) for each in platforms_at(spec_path)}
