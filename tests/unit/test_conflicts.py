"""Two wheels that write one path: told once, in a line for each pair."""

import tarfile
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from envbuilder.engines.embedded import assemble
from envbuilder.engines.foundation import Foundation
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock, Wheel
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from envbuilder.workflow.smoke import smoke_plan
from tests.contexts import context
from tests.unit.locks import lock
from tests.wheels import Recipe, write_wheel


class Notes(Silent):
    """A Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


def locked(folder: Path, store: Store, *recipes: Recipe) -> Lock:
    wheels = []
    for recipe in recipes:
        path = write_wheel(folder, recipe)
        digest = store.adopt(path, Digest.of(path.read_bytes()))
        wheels.append(
            Wheel(
                name=recipe.name,
                version=recipe.version,
                filename=recipe.filename,
                size=path.stat().st_size,
                sha256=digest,
            )
        )
    made = lock({recipe.name: recipe.version for recipe in recipes})
    return replace(made, wheels=tuple(sorted(wheels)))


def assembled(made: Lock, store: Store, progress: Silent | None = None) -> Image:
    return assemble(
        context(store, progress),
        made,
        foundation=lambda _: Foundation(layers=()),
        bring=lambda _wheel, _stop: None,
    )


def notes(made: Lock, store: Store) -> list[str]:
    progress = Notes()
    assembled(made, store, progress)
    return progress.told


def test_a_pair_is_told_in_one_line_and_only_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    one = Recipe(name="one", files={"shared/a.py": b"1", "shared/b.py": b"1", "same.py": b""})
    two = Recipe(name="two", files={"shared/a.py": b"2", "shared/b.py": b"2", "same.py": b""})
    made = locked(tmp_path, store, one, two)
    (line,) = notes(made, store)
    assert line == (
        "warning: two-1.0-py3-none-any.whl overwrites "
        "opt/venv/lib/python3.12/site-packages/shared/a.py and 1 more of one-1.0-py3-none-any.whl"
    )
    assert notes(made, store) == []
    store.prune(keep=[], unused_for=-1)
    assert store.record_files() == [], "what was told goes with the layers"


def test_who_wins_is_the_later_of_the_plan_as_the_smoke_is_told(tmp_path: Path) -> None:
    """The names are such that the later layer is not the last by name."""
    recipes = [Recipe(name=name, files={"shared.py": name.encode()}) for name in ("aaa", "zzz")]
    for pinned in ("aaa", "zzz"):
        store = Store(tmp_path / pinned)
        made = locked(tmp_path, store, *recipes)
        spec = structs.replace(made.spec, packages={pinned: "*"})
        made = replace(made, spec=spec)
        image = assembled(made, store, told := Notes())
        assert [f"{pinned}-1.0-py3-none-any.whl overwrites" in line for line in told.told] == [True]
        assert smoke_plan(made, folder=tmp_path).installed[-1] == pinned
        assert shared(image, store) == pinned.encode()


def test_who_shares_a_wheel_keeps_no_other_layer_of_an_environment(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    both = [Recipe(name=name, files={f"{name}.py": name.encode()}) for name in ("old", "same")]
    before = assembled(locked(tmp_path, store, *both), store)
    after = assembled(locked(tmp_path, store, both[1]), store)
    kept = {layer.digest for layer in after.layers}
    assert kept & {layer.digest for layer in before.layers}, "they share a layer"
    store.prune(keep=kept, unused_for=-1)
    left = {blob.digest for blob in store.ls()}
    assert not left & {layer.digest for layer in before.layers} - kept


def shared(image: Image, store: Store) -> bytes:
    """Return what the highest layer that has the shared file has in it."""
    found = b""
    for layer in image.layers:
        with store.open(layer.digest) as blob, tarfile.open(fileobj=blob, mode="r:gz") as tar:
            for member in tar:
                if member.name.endswith("/shared.py"):
                    file = tar.extractfile(member)
                    assert file is not None
                    found = file.read()
    return found
