"""Carry built wheels to machines that cannot, or should not, build them.

A folder holds each wheel beside ``WHEEL.recipe.json``, which says what it was made from. Whoever
imports it gets that wheel for that recipe, as if it had been built there; a lock that already knows
the wheel still accepts no other.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from envbuilder.layers.wheel_reconstruction import has_wheel, wheel_file
from envbuilder.model.atomic import write_text
from envbuilder.model.codec import MisfitError, from_json, to_plain
from envbuilder.model.errors import BuildError, UsageError
from envbuilder.model.image import canonical_json
from envbuilder.model.lock import Lock, Wheel
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated

from .normal_wheel import Contents
from .recipe import Built, Recipe, remember, remembered

_SUFFIX = ".recipe.json"
_CHUNK = 1 << 20


class _RecipeFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What lies beside a wheel: the key of its recipe, and what that gave."""

    recipe: str
    wheel: Wheel
    contents: Contents


def export_wheels(lock: Lock, folder: Path, *, store: Store) -> list[Path]:
    """Write the wheels of the lock's sources into ``folder`` and return their paths.

    Raises BuildError that names those which were not built here yet.
    """
    recipes = {source.name: Recipe.of(lock, source) for source in lock.built}
    built = {name: remembered(store, recipe) for name, recipe in recipes.items()}
    there = {name: each for name, each in built.items() if each and _is_there(store, each)}
    if missing := sorted(recipes.keys() - there.keys()):
        raise BuildError(
            f"not built on this machine: {', '.join(missing)}",
            hint=f"envbuilder build {lock.spec.name}",
        )
    return [_export(recipes[name], each, folder, store) for name, each in there.items()]


def import_wheels(folder: Path, *, store: Store) -> list[Wheel]:
    """Take the wheels in ``folder`` into the store and return them, sorted.

    Raises UsageError if there is none, BuildError for one that is not what its recipe file says.
    """
    recipes = sorted(folder.glob(f"*{_SUFFIX}"))
    if not recipes:
        hint = "envbuilder wheels export DIR makes such a folder"
        raise UsageError(f"{folder} holds no exported wheels (no *{_SUFFIX})", hint=hint)
    return sorted(_import(path, store) for path in recipes)


def _is_there(store: Store, built: Built) -> bool:
    return has_wheel(store, built.wheel.sha256)


def _export(recipe: Recipe, built: Built, folder: Path, store: Store) -> Path:
    target = folder / built.wheel.filename
    partial = folder / f".{target.name}.part"
    with wheel_file(store, built.wheel.sha256) as path, translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, partial.open("wb") as out:
            while piece := source.read(_CHUNK):
                out.write(piece)
        partial.replace(target)
    facts = _RecipeFile(recipe=recipe.key, wheel=built.wheel, contents=built.contents)
    text = canonical_json(to_plain(facts)).decode()
    write_text(folder / f"{target.name}{_SUFFIX}", f"{text}\n")
    return target


def _import(path: Path, store: Store) -> Wheel:
    wheel = path.with_name(path.name.removesuffix(_SUFFIX))
    try:
        facts = from_json(path.read_bytes(), _RecipeFile)
    except (OSError, MisfitError) as error:
        raise BuildError(f"{path} is not a recipe file: {error}") from error
    built = Built(wheel=facts.wheel, contents=facts.contents)
    if not wheel.is_file() or wheel.name != built.wheel.filename:
        raise BuildError(f"{wheel}, which {path.name} describes, is not there")
    try:
        store.adopt(wheel, built.wheel.sha256)
    except BuildError as error:
        hint = "it was damaged on the way: copy it again"
        raise BuildError(f"{wheel}: {error.message}", hint=hint) from error
    remember(store, facts.recipe, built)
    return built.wheel
