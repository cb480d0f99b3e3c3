"""What all that is built is called in a rendered Dockerfile: stages, tars and targets.

A package has its name. A tool, which is built for others and of which there may be several of one
name, has a part of its recipe as well, unless a package is built by that very recipe.
"""

from __future__ import annotations

from envbuilder.model.lock import Lock, Source, in_build_order
from envbuilder.model.reference import Digest
from envbuilder.resolve.git.recipe import Recipe

_SHORT = 12  # digits


def labelled(lock: Lock) -> dict[str, Source]:
    """Return all that is built for ``lock`` by its label, each behind what it is built with."""
    return {label(lock, source): source for source in in_build_order(lock.built)}


def label(lock: Lock, source: Source) -> str:
    """Return the label of a package of ``lock``, or of a tool of one."""
    own = [each for each in lock.built if each.name == source.name]
    if source in own:
        return source.name
    recipe = Recipe.of(lock, source).key
    if recipe in {Recipe.of(lock, each).key for each in own}:
        return source.name
    return f"{source.name}.{Digest.of(recipe.encode()).hex[:_SHORT]}"
