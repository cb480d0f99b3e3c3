"""One bump from beginning to end: edit, lock, compare, build, smoke, and keep it or not.

Nothing beside the spec is touched before the smoke test is green; then all files change at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envbuilder.model.atomic import write_text
from envbuilder.model.errors import BuildError, LockError, NetworkError, ResolutionError
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import OWN
from envbuilder.model.lock import Lock
from envbuilder.model.lock_diff import Change, Known, compare, new_layers
from envbuilder.model.progress import Progress
from envbuilder.model.pylock import dump_lock, lock_path, read_lock
from envbuilder.model.spec_file import parse
from envbuilder.model.spec_platforms import platforms
from envbuilder.model.spec_words import Platform
from envbuilder.model.yaml_document import Document, read_document
from envbuilder.model.yaml_edit import set_scalar
from envbuilder.resolve.context import Context
from envbuilder.storage.build_records import BuildTexts, keep, present
from envbuilder.storage.ledger import ledger_path, now, read
from envbuilder.storage.store import Store
from envbuilder.workflow.build import BuildResult
from envbuilder.workflow.platforms import PlatformsBuilt, joined, joint_entry, texts_of_locks
from envbuilder.workflow.smoke import record_answers

from .apply import BumpRequest, apply_pins, with_version
from .pins import Pin
from .stages import Stages
from .transaction import transaction

_NEAREST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One lock that a bump would change: what moved, and why."""

    before: Lock
    lock: Lock
    changes: tuple[Change, ...]

    @property
    def moves(self) -> bool:
        """Whether anything is to be locked, and so built, anew."""
        return self.lock.unsealed() != self.before.unsealed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a bump would change: the spec's new text, and the lock of each platform.

    ``over`` are the texts that it was worked out from, and would replace. None stands for the only
    platform of a spec.
    """

    over: BuildTexts
    text: str
    each: Mapping[Platform | None, Move]

    @property
    def moves(self) -> bool:
        """Whether anything is to be locked, and so built, anew."""
        return any(move.moves for move in self.each.values())

    @property
    def changes(self) -> tuple[Change, ...]:
        """What moves on any platform; what moves alike on several stands there once."""
        found = (change for move in self.each.values() for change in move.changes)
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bumped:
    """What a bump did; ``built`` is None if nothing moved and so nothing was built.

    ``layers`` are those of packages or the base that the image before did not have; ``own`` are
    those of the environment's own files, which change with every lock since the image carries it.
    ``failed`` is the folder that keeps spec, lock and report of a red bump, None for a green one.
    """

    proposal: Proposal
    built: PlatformsBuilt | None = None
    layers: tuple[Layer, ...] = ()
    own: tuple[Layer, ...] = ()
    failed: Path | None = None

    @property
    def outcome(self) -> BuildResult | None:
        """What was built; of several platforms, for the first."""
        return None if self.built is None else next(iter(self.built.parts.values()))


def propose(
    spec_path: Path, pins: Sequence[Pin], *, stages: Stages, progress: Progress
) -> Proposal:
    """Work out what ``pins`` would change, and change nothing.

    Of several platforms the first decides on pins that are to be found; the others take those.

    Raises SpecError, LockError if there is no lock yet, UsageError for pins that do not fit,
    and ResolutionError that names the nearest versions if one does not exist.
    """
    over = present(spec_path)  # before it is read again: an edit in between shows at the commit
    document = read_document(spec_path)
    named = platforms(document)
    held = {each: read_lock(lock_path(spec_path, each)) for each in named}
    first, before = named[0], held[named[0]]
    spec = parse(document, first)
    request = apply_pins(document, spec, pins, lock=before, refs=stages.refs)
    document, lock = _resolved(request, pins, before, stages, first)
    locks = {first: lock}
    for each in named[1:]:
        locks[each] = stages.resolve(parse(document, each), held[each], request.release)
    asked = frozenset(pin.name for pin in pins)
    moves = {
        each: _move(held[each], locks[each], asked, stages=stages, progress=progress)
        for each in named
    }
    return Proposal(over=over, text=document.text, each=moves)


def _move(
    before: Lock, lock: Lock, asked: frozenset[str], *, stages: Stages, progress: Progress
) -> Move:
    known = _known(before, lock, asked, stages=stages, progress=progress)
    return Move(before=before, lock=lock, changes=compare(before, lock, known))


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
        built = joined({of: stages.build(move.lock) for of, move in proposal.each.items()})
        bumped = _bumped(proposal, built)
        if not built.passes(allow_unproven=allow_unproven):
            outcome = _worst(built, allow_unproven=allow_unproven)
            return replace(bumped, failed=keep_failure(context.store, proposal.text, outcome))
        entry = joint_entry(built, stages.entry)
        texts = texts_of_locks(proposal.text.encode(), built.locks)
        keep(context.store, entry.lock, texts)
        try:
            held.commit(texts, entry=entry, over=proposal.over)
        except LockError as error:
            outcome = _worst(built, allow_unproven=allow_unproven)
            folder = keep_failure(context.store, proposal.text, outcome)
            raise LockError(
                error.message, hint=f"{error.hint}; what was built is in {folder}"
            ) from error
        for part in built.parts.values():
            if part.report is not None:
                record_answers(part.report, part.lock.spec, folder=spec_path.parent)
        return bumped


def _worst(built: PlatformsBuilt, *, allow_unproven: bool) -> BuildResult:
    """Return the first build that did not pass, or the first where all did."""
    parts = tuple(built.parts.values())
    bad = (each for each in parts if not each.passes(allow_unproven=allow_unproven))
    return next(bad, parts[0])


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
    request: BumpRequest,
    pins: Sequence[Pin],
    before: Lock,
    stages: Stages,
    platform: Platform | None,
) -> tuple[Document, Lock]:
    """Resolve what is wished for; what is to be pinned anew is loosened for that, and then pinned.

    The loosened text is only ever read: the pins are written into the one that the user wrote.
    """
    loose = request.document
    for pin in request.repin.values():
        loose = set_scalar(loose, pin.path, with_version(pin.text, "*"))
    spec = parse(loose, platform)
    try:
        lock = stages.resolve(spec, before, request.release)
    except ResolutionError as error:
        raise _with_nearest(error, pins, replace(before, spec=spec), stages) from error
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    versions |= {archive.name: archive.version for archive in lock.archives}
    document = request.document
    repin = {name: pin for name, pin in request.repin.items() if name in versions}
    for name, pin in repin.items():
        document = set_scalar(document, pin.path, with_version(pin.text, f"=={versions[name]}"))
    wanted = parse(document, platform)
    moved = {key for key, pin in wanted.packages.items() if spec.packages[key] != pin}
    if moved == {pin.path[1] for pin in request.repin.values()}:
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


def _bumped(proposal: Proposal, built: PlatformsBuilt) -> Bumped:
    layers: list[Layer] = []
    for of, lock in built.locks.items():
        assert lock.seal is not None  # noqa: S101 - build seals
        layers += new_layers(proposal.each[of].before.seal, lock.seal)
    return Bumped(
        proposal=proposal,
        built=built,
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
    except ValueError:
        return list(offered[-_NEAREST:])
    below = [each for each in offered if Version(each) < version][-_NEAREST:]
    above = [each for each in offered if Version(each) > version][:_NEAREST]
    return below + above
