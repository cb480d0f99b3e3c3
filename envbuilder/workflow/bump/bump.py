"""One bump from beginning to end: edit, lock, compare, build, smoke, and keep it or not.

Nothing beside the spec is touched before the smoke test is green; then all files change at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envbuilder.model.atomic import write_text
from envbuilder.model.errors import BuildError, LockError, NetworkError, ResolutionError
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import OWN
from envbuilder.model.lock import Lock
from envbuilder.model.lock_diff import Change, Known, compare, new_layers
from envbuilder.model.progress import Progress
from envbuilder.model.pylock import dump_lock, lock_path, read_lock
from envbuilder.model.spec_file import parse
from envbuilder.model.yaml_document import Document, read_document
from envbuilder.model.yaml_edit import set_scalar
from envbuilder.resolve.context import Context
from envbuilder.storage.build_records import BuildTexts, keep, present
from envbuilder.storage.ledger import ledger_path, now, read
from envbuilder.storage.store import Store
from envbuilder.workflow.build import BuildResult
from envbuilder.workflow.smoke import record_answers

from .apply import BumpRequest, apply_pins
from .pins import Pin
from .stages import Stages
from .transaction import transaction

_NEAREST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a bump would change: the spec's new text, the locks, and what moved and why.

    ``over`` are the texts that it was worked out from, and would replace.
    """

    over: BuildTexts
    text: str
    before: Lock
    lock: Lock
    changes: tuple[Change, ...]

    @property
    def moves(self) -> bool:
        """Whether anything is to be locked, and so built, anew."""
        return self.lock.unsealed() != self.before.unsealed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bumped:
    """What a bump did; ``outcome`` is None if nothing moved and so nothing was built.

    ``layers`` are those of packages or the base that the image before did not have; ``own`` are
    those of the environment's own files, which change with every lock since the image carries it.
    ``failed`` is the folder that keeps spec, lock and report of a red bump, None for a green one.
    """

    proposal: Proposal
    outcome: BuildResult | None = None
    layers: tuple[Layer, ...] = ()
    own: tuple[Layer, ...] = ()
    failed: Path | None = None


def propose(
    spec_path: Path, pins: Sequence[Pin], *, stages: Stages, progress: Progress
) -> Proposal:
    """Work out what ``pins`` would change, and change nothing.

    Raises SpecError, LockError if there is no lock yet, UsageError for pins that do not fit,
    and ResolutionError that names the nearest versions if one does not exist.
    """
    over = present(spec_path)  # before it is read again: an edit in between shows at the commit
    document = read_document(spec_path)
    before = read_lock(lock_path(spec_path))
    request = apply_pins(document, parse(document), pins, lock=before, refs=stages.refs)
    document, lock = _resolved(request, pins, before, stages)
    asked = frozenset(pin.name for pin in pins)
    known = _known(before, lock, asked, stages=stages, progress=progress)
    changes = compare(before, lock, known)
    return Proposal(over=over, text=document.text, before=before, lock=lock, changes=changes)


def bump(
    context: Context,
    spec_path: Path,
    pins: Sequence[Pin],
    *,
    stages: Stages,
    allow_unproven: bool = False,
) -> Bumped:
    """Bump the environment of ``spec_path``; green is kept and recorded, red leaves all as it was.

    What is unproven is red, unless ``allow_unproven``: it is kept then, and not recorded as good.

    Raises what :func:`propose` and the stages raise, UsageError if another bump runs, and
    LockError if the files changed while it built: they stay, and the evidence is kept.
    """
    with transaction(spec_path) as held:
        read(ledger_path(spec_path))  # one that is damaged is to be told before all the work
        proposal = propose(spec_path, pins, stages=stages, progress=context.progress)
        if not proposal.moves:
            return Bumped(proposal=proposal)
        for change in proposal.changes:
            context.progress.note(f"moves    {change}")
        outcome = stages.build(proposal.lock)
        bumped = _bumped(proposal, outcome)
        if not outcome.passes(allow_unproven=allow_unproven):
            return replace(bumped, failed=keep_failure(context.store, proposal.text, outcome))
        entry = stages.entry(outcome)
        texts = BuildTexts(spec=proposal.text.encode(), lock=dump_lock(outcome.lock).encode())
        keep(context.store, entry.lock, texts)
        try:
            held.commit(texts, entry=entry, over=proposal.over)
        except LockError as error:
            folder = keep_failure(context.store, proposal.text, outcome)
            raise LockError(
                error.message, hint=f"{error.hint}; what was built is in {folder}"
            ) from error
        if outcome.report is not None:
            record_answers(outcome.report, outcome.lock.spec, folder=spec_path.parent)
        return bumped


def keep_failure(store: Store, spec_text: str, outcome: BuildResult) -> Path:
    """Keep spec, lock and report of a red build in the store's ``failed`` folder; return it."""
    name = outcome.lock.spec.name
    moment = now().replace(":", "").replace("-", "")
    folder = store.root / "failed" / f"{name}-{moment}-{outcome.image.digest.hex[:8]}"
    report = {} if outcome.report is None else outcome.report.to_dict()
    write_text(folder / f"{name}.yaml", spec_text)
    write_text(folder / f"pylock.{name}.toml", dump_lock(outcome.lock))
    write_text(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return folder


def _resolved(
    request: BumpRequest, pins: Sequence[Pin], before: Lock, stages: Stages
) -> tuple[Document, Lock]:
    """Resolve what is wished for; what is to be pinned anew is loosened for that, and then pinned.

    The loosened text is only ever read: the pins are written into the one that the user wrote.
    """
    loose = request.document
    for path in request.repin.values():
        loose = set_scalar(loose, path, "*")
    spec = parse(loose)
    try:
        lock = stages.resolve(spec, before, request.release)
    except ResolutionError as error:
        raise _with_nearest(error, pins, replace(before, spec=spec), stages) from error
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    versions |= {archive.name: archive.version for archive in lock.archives}
    document = request.document
    for name, path in request.repin.items():
        document = set_scalar(document, path, f"=={versions[name]}")
    wanted = parse(document)
    moved = {key for key, pin in wanted.packages.items() if spec.packages[key] != pin}
    if moved == {path[1] for path in request.repin.values()}:
        return document, replace(lock, spec=wanted)
    return document, stages.resolve(wanted, before, request.release)  # aliases moved as well


def _known(
    before: Lock, after: Lock, asked: frozenset[str], *, stages: Stages, progress: Progress
) -> Known | None:
    """Read the packages' requirements; a bump does not fail because its reasons stay unknown."""
    if before.unsealed() == after.unsealed():
        return None
    try:
        return Known(old=stages.needs(before), new=stages.needs(after), asked=asked)
    except (NetworkError, ResolutionError, BuildError) as error:
        progress.note(f"warning: cannot tell why packages move: {error.message}")
        return None


def _bumped(proposal: Proposal, outcome: BuildResult) -> Bumped:
    assert outcome.lock.seal is not None  # noqa: S101 - build seals
    layers = new_layers(proposal.before.seal, outcome.lock.seal)
    return Bumped(
        proposal=proposal,
        outcome=outcome,
        layers=tuple(layer for layer in layers if layer.kind not in OWN),
        own=tuple(layer for layer in layers if layer.kind in OWN),
    )


def _with_nearest(
    error: ResolutionError, pins: Sequence[Pin], wanted: Lock, stages: Stages
) -> ResolutionError:
    """Add the nearest versions where a pin asks for one that does not exist.

    ``wanted`` tells the platform, the Python and the indexes that were asked.
    """
    for pin in pins:
        exact = re.fullmatch(r"===?\s*([^,*\s]+)", pin.specifier or "")
        if exact is None:
            continue
        try:
            offered = stages.releases(pin.name, wanted)
        except (NetworkError, ResolutionError):
            return error  # it says what is wrong; what is near must stay unknown
        fits = SpecifierSet(exact[0], prereleases=True)
        if not any(each.version in fits for each in offered):
            sound = [each.version for each in offered if not each.yanked]
            near = ", ".join(_nearest(exact[1], sound)) or "none that fits this platform"
            lacks = f"{pin.name} has no version {exact[1]} for this platform and Python"
            return ResolutionError(f"{error.message}\n{lacks}", hint=f"the nearest: {near}")
    return error


def _nearest(wanted: str, offered: Sequence[str]) -> list[str]:
    """Return the versions just below and just above ``wanted``, oldest first."""
    try:
        version = Version(wanted)
    except InvalidVersion:
        return list(offered[-_NEAREST:])
    below = [each for each in offered if Version(each) < version][-_NEAREST:]
    above = [each for each in offered if Version(each) > version][:_NEAREST]
    return below + above
