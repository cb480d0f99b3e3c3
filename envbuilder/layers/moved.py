"""A wheel's layer shown at another place: what it lacks to be the same wheel there.

A wheel writes its files below one prefix and names that prefix in few of them: launchers, scripts,
RECORD. So whoever wants it at two places needs all of its layer once, and a layer of some kilobytes
for the second: what installing makes there, and which files are not to be there at all.
"""

from __future__ import annotations

from dataclasses import replace

from envbuilder.model.image import Layer, canonical_json
from envbuilder.model.plan import LAYOUT_VERSION
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

from .install import InstalledFile, Target, install
from .tar import parents
from .wheel import WheelInput, check_hash
from .wheel_reconstruction import wheel_file
from .wheelfile import Member, WheelFile
from .writer import layer_writer

_WHITEOUT = ".wh."


def moved_layer(
    store: Store, wheel: WheelInput, *, target: Target, prefix: str, title: str
) -> Layer:
    """Return what makes the layer of ``wheel`` at ``target`` one at ``prefix``, laid above it.

    There it is a wheel that nobody asked for: without what ``requested`` and ``direct_url`` add.
    The wheel must be in the store. Raises BuildError for one that is damaged or hostile.
    """
    facts = {"from": target.prefix, "to": prefix, "python": target.python, **wheel.facts()}
    key = canonical_json({"layout": LAYOUT_VERSION, **facts}).decode()
    with store.lock(f"moved-{Digest.of(key.encode()).hex}"):
        layer = store.record("moved", key, Layer)
        if layer is None:
            layer = _make(store, wheel, target, prefix)
            store.put_record("moved", key, layer, blobs=[layer.digest])
    return replace(layer, title=title)


def _make(store: Store, wheel: WheelInput, target: Target, prefix: str) -> Layer:
    there = replace(target, prefix=prefix)
    with (
        wheel_file(store, wheel.sha256) as path,
        WheelFile.open(path, wheel.filename) as opened,
    ):
        check_hash(store, wheel, path)
        laid = install(
            opened, target=target, requested=wheel.requested, direct_url=wheel.direct_url
        )
        files = _differing(_below(laid, target), _below(install(opened, target=there), there))
    with layer_writer(store) as out:
        placed = {f"{there.root}/{path}": entry for path, entry in files.items()}
        for folder in sorted({each for place in placed for each in parents(place)}):
            out.entry(folder, mode=0o755)
        for place, (mode, content) in sorted(placed.items()):
            out.entry(place, mode=mode, content=content)
        return out.finish()


_Entry = tuple[int, Member | bytes]


def _below(files: list[InstalledFile], target: Target) -> dict[str, _Entry]:
    """Return what is installed, by the path from the prefix."""
    return {file.path.removeprefix(f"{target.root}/"): (file.mode, file.source) for file in files}


def _differing(here: dict[str, _Entry], there: dict[str, _Entry]) -> dict[str, tuple[int, bytes]]:
    """Return the files that installing makes ``there``, and marks of what only ``here`` has.

    Members are the wheel's own bytes, and where they go depends on no prefix. Of what is made some
    is the same at both places; RECORD stands in any case, so that no layer is empty and no two
    wheels have the same one.
    """
    changed = {
        path: (mode, source) for path, (mode, source) in there.items() if isinstance(source, bytes)
    }
    for path in here.keys() - there.keys():
        folder, _, name = path.rpartition("/")
        changed[f"{folder}/{_WHITEOUT}{name}"] = (0o644, b"")
    return changed
