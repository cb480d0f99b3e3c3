"""What any two of lock and image differ in: packages, settings, layers, files.

``difference.py`` compares two locks and says why; here images are compared by what they hold,
whoever built them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from envbuilder.evidence.verify.content import flat, image_facts
from envbuilder.evidence.verify.packages import locked_debs, locked_python
from envbuilder.layers.contents import Contents, Distribution, LayerFile
from envbuilder.model.image import Image, Layer
from envbuilder.model.image_config import LABEL, image_settings
from envbuilder.model.lock import Lock
from envbuilder.model.lock_diff import Change, Kind
from envbuilder.model.progress import Progress
from envbuilder.model.pylock import lock_checksum, parse_lock
from envbuilder.registry.open_image import OpenedImage

_KINDS = {"python": Kind.PACKAGE, "deb": Kind.DEB}
_OURS = frozenset({f"label {LABEL}.spec", f"label {LABEL}.lock"})  # they differ by what they name


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two things that are compared; ``files`` is None if nobody asked for them."""

    name: str
    packages: tuple[Distribution, ...]
    settings: Mapping[str, str]
    layers: tuple[Layer, ...]
    files: Mapping[str, LayerFile] | None = None


def side_of_lock(name: str, lock: Lock) -> Side:
    """Take a lock as one side; its layers are known once it is sealed."""
    system, _, architecture = lock.spec.platform.partition("/")
    facts = {"os": system, "architecture": architecture} | flat(image_settings(lock, {}))
    return Side(
        name=name,
        packages=(*locked_python(lock), *locked_debs(lock)),
        settings=facts,
        layers=() if lock.seal is None else lock.seal.layers,
    )


def side_of_image(opened: OpenedImage, progress: Progress, *, files: bool = False) -> Side:
    """Take an image as one side.

    An image of ours names its packages in the lock that its last layer carries; of others, and
    if ``files`` are asked for, every layer is read.
    """
    carried = None if files else carried_lock(opened)
    if carried is not None:
        packages: tuple[Distribution, ...] = (*locked_python(carried), *locked_debs(carried))
        contents = Contents()
    else:
        contents = opened.contents(progress, hashed=files)
        packages = contents.distributions()
    return Side(
        name=opened.name,
        packages=packages,
        settings=image_facts(opened.image),
        layers=opened.image.layers,
        files=contents.files if files else None,
    )


def carried_lock(opened: OpenedImage) -> Lock | None:
    """Read the lock that an image of ours carries, if it is the one that its label names."""
    label = _label(opened.image)
    if label is None or not opened.image.layers:
        return None
    text = opened.scan_layer(opened.image.layers[-1]).lock_text()
    if text is None:
        return None
    lock = parse_lock(text.decode(), name=f"the lock in {opened.name}")
    return lock if str(lock_checksum(lock)) == label else None


def compare_sides(old: Side, new: Side) -> tuple[Change, ...]:
    """List what differs, packages first; files if both sides have them."""
    return (
        *_packages(old, new),
        *_mapped(Kind.SETTING, old.settings, new.settings),
        *_layers(old, new),
        *_files(old, new),
    )


def _packages(old: Side, new: Side) -> Iterator[Change]:
    for kind, label in _KINDS.items():
        before, after = (_versions(side, kind) for side in (old, new))
        yield from _mapped(label, before, after)


def _versions(side: Side, kind: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for each in side.packages:
        if each.kind == kind:
            commit = f"@{each.commit[:12]}" if each.commit else ""
            found.setdefault(each.name, []).append(f"{each.version}{commit}")
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _layers(old: Side, new: Side) -> Iterator[Change]:
    """Compare layers by their tars; those of a lock that was never built are not known."""
    if not old.layers or not new.layers:
        return
    before, after = ({layer.diff_id: layer for layer in side.layers} for side in (old, new))
    for diff_id in (*before, *(each for each in after if each not in before)):
        if diff_id not in before or diff_id not in after:
            layer = before.get(diff_id) or after[diff_id]
            shown = f"{str(diff_id)[:19]} ({layer.size} bytes)"
            gone = diff_id in before
            yield Change(
                kind=Kind.LAYER,
                name=layer.title or "untitled",
                old=shown if gone else None,
                new=None if gone else shown,
            )


def _files(old: Side, new: Side) -> Iterator[Change]:
    if old.files is not None and new.files is not None:
        before, after = (
            {path: _shown(file) for path, file in files.items()} for files in (old.files, new.files)
        )
        yield from _mapped(Kind.FILE, before, after)


def _mapped(kind: Kind, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted((before.keys() | after.keys()) - _OURS):
        if before.get(name) != after.get(name):
            yield Change(kind=kind, name=name, old=before.get(name), new=after.get(name))


def _shown(file: LayerFile) -> str:
    what = file.target or f"{file.size} bytes"
    digest = f" {file.sha256.hex[:12]}" if file.sha256 else ""
    return f"{file.kind} {file.mode:04o} {what}{digest}"


def _label(image: Image) -> str | None:
    return image_facts(image).get(f"label {LABEL}.lock")
