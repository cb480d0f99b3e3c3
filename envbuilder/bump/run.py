"""One bump from beginning to end: edit, lock, compare, build, smoke, and keep it or not.

Nothing beside the spec is touched before the smoke test is green; then all files change at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import InvalidVersion, Version

from envbuilder.difference import Change, Known, compare, new_layers
from envbuilder.document import read_document
from envbuilder.errors import BuildError, LockError, NetworkError, ResolutionError
from envbuilder.image import Layer
from envbuilder.keep import Kept, keep
from envbuilder.layers.store import Store
from envbuilder.ledger import now
from envbuilder.lock import Lock
from envbuilder.lock_file import dump_lock, lock_path, read_lock, write_text
from envbuilder.pipeline import Outcome
from envbuilder.progress import Progress
from envbuilder.spec_file import parse

from .apply import Request, apply_pins
from .edit import set_scalar
from .pins import Pin
from .stages import Stages
from .transaction import transaction

_NEAREST = 3
_OWN = ("environment", "lock", "settings")  # as Docker's layers are called


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a bump would change: the spec's new text, the locks, and what moved and why."""

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
    """What a bump did; ``outcome`` is None where nothing moved and so nothing was built.

    ``layers`` are those of packages or the base that the image before did not have; ``own`` are
    those of the environment's own files, which change with every lock since the image carries it.
    ``failed`` is the folder that keeps spec, lock and report of a red bump, None for a green one.
    """

    proposal: Proposal
    outcome: Outcome | None = None
    layers: tuple[Layer, ...] = ()
    own: tuple[Layer, ...] = ()
    failed: Path | None = None


def propose(
    spec_path: Path, pins: Sequence[Pin], *, stages: Stages, progress: Progress
) -> Proposal:
    """Work out what ``pins`` would change, and change nothing.

    Raises SpecError, LockError where there is no lock yet, UsageError for pins that do not fit,
    and ResolutionError that names the nearest versions where one does not exist.
    """
    document = read_document(spec_path)
    before = _read_lock(spec_path)
    request = apply_pins(document, parse(document), pins, lock=before, refs=stages.refs)
    spec = parse(request.document)
    try:
        lock = stages.resolve(spec, before, request.release)
    except ResolutionError as error:
        raise _with_nearest(error, pins, before, stages) from error
    text, lock = _pinned_again(request, lock)
    asked = frozenset(pin.name for pin in pins)
    known = _known(before, lock, asked, stages=stages, progress=progress)
    changes = compare(before, lock, known)
    return Proposal(text=text, before=before, lock=lock, changes=changes)


def bump(
    spec_path: Path, pins: Sequence[Pin], *, stages: Stages, store: Store, progress: Progress
) -> Bumped:
    """Bump the environment of ``spec_path``; green is kept and recorded, red leaves all as it was.

    Raises what :func:`propose` and the stages raise, and UsageError where another bump runs.
    """
    with transaction(spec_path) as held:
        proposal = propose(spec_path, pins, stages=stages, progress=progress)
        if not proposal.moves:
            return Bumped(proposal=proposal)
        for change in proposal.changes:
            progress.note(f"moves    {change}")
        outcome = stages.build(proposal.lock)
        bumped = _bumped(proposal, outcome)
        if not outcome.good:
            return replace(bumped, failed=keep_failure(store, proposal.text, outcome))
        entry, text = stages.entry(outcome), dump_lock(outcome.lock)
        keep(store, entry.lock, Kept(spec=proposal.text.encode(), lock=text.encode()))
        held.commit(spec=proposal.text, lock=text, entry=entry)
        return bumped


def keep_failure(store: Store, spec_text: str, outcome: Outcome) -> Path:
    """Keep spec, lock and report of a red build in the store's ``failed`` folder; return it."""
    name = outcome.lock.spec.name
    moment = now().replace(":", "").replace("-", "")
    folder = store.root / "failed" / f"{name}-{moment}-{outcome.image.digest.hex[:8]}"
    report = {} if outcome.report is None else outcome.report.to_dict()
    write_text(folder / f"{name}.yaml", spec_text)
    write_text(folder / f"pylock.{name}.toml", dump_lock(outcome.lock))
    write_text(folder / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return folder


def _read_lock(spec_path: Path) -> Lock:
    path = lock_path(spec_path)
    if not path.exists():
        raise LockError(
            f"there is no lock {path} to bump from", hint=f"envbuilder build {spec_path.stem}"
        )
    return read_lock(path)


def _pinned_again(request: Request, lock: Lock) -> tuple[str, Lock]:
    """Pin what was loosened to what was found, in the spec's text and in the lock's spec."""
    document = request.document
    versions = {wheel.name: wheel.version for wheel in lock.wheels}
    for name, key in request.repin.items():
        document = set_scalar(document, ("packages", key), f"=={versions[name]}")
    return document.text, replace(lock, spec=parse(document))


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


def _bumped(proposal: Proposal, outcome: Outcome) -> Bumped:
    assert outcome.lock.seal is not None  # noqa: S101 - build seals
    layers = new_layers(proposal.before.seal, outcome.lock.seal)
    titles = {*_OWN, f"environment {outcome.lock.spec.name}"}
    return Bumped(
        proposal=proposal,
        outcome=outcome,
        layers=tuple(layer for layer in layers if layer.title not in titles),
        own=tuple(layer for layer in layers if layer.title in titles),
    )


def _with_nearest(
    error: ResolutionError, pins: Sequence[Pin], lock: Lock, stages: Stages
) -> ResolutionError:
    """Name the nearest versions where a pin asks for one that does not exist."""
    for pin in pins:
        exact = re.fullmatch(r"===?\s*([^,*\s]+)", pin.specifier or "")
        if exact is None:
            continue
        offered = [each.version for each in stages.releases(pin.name, lock) if not each.yanked]
        if exact[1] not in offered:
            near = ", ".join(_nearest(exact[1], offered)) or "none that fits this platform"
            return ResolutionError(
                f"{pin.name} has no version {exact[1]} for this platform and Python",
                hint=f"the nearest: {near}",
            )
    return error


def _nearest(wanted: str, offered: Sequence[str]) -> list[str]:
    """Give the versions just below and just above ``wanted``, oldest first."""
    try:
        version = Version(wanted)
    except InvalidVersion:
        return list(offered[-_NEAREST:])
    below = [each for each in offered if Version(each) < version][-_NEAREST:]
    above = [each for each in offered if Version(each) > version][:_NEAREST]
    return below + above
