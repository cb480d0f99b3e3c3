"""The wheels that were built, by recipe: nobody compiles the same source twice.

A recipe is everything that a build may depend on. Under its key the store remembers the wheel, and
what the wheel held, so that another outcome of the same recipe is noticed and told file by file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.image import canonical_json
from envbuilder.model.lock import ArchiveSource, ImageBase, Lock, Source, Wheel
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated

from .build_sources import identity
from .normal_wheel import Contents, normalise

LAYOUT = 1
"""Raise it whenever the same recipe gives other bytes by our own doing."""
_KIND, _DURATION = "built-wheel", "build-duration"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a wheel is made from; equal keys are expected to give equal bytes.

    ``tools`` are the recipes of what is built first, to build the source with.
    """

    source: Source
    env: Mapping[str, str]
    builder: Digest
    python: str
    platform: str
    tools: tuple[Recipe, ...] = ()

    @classmethod
    def of(cls, lock: Lock, source: Source) -> Recipe:
        """Return the recipe of a source in ``lock``, which is built in the lock's base."""
        return cls(
            source=source,
            env=lock.spec.build_of(source.name).env,
            builder=builder_identity(lock),
            python=lock.spec.minor,
            platform=lock.spec.platform,
            tools=tuple(cls.of(lock, tool) for tool in source.tools),
        )

    @property
    def key(self) -> str:
        """Name the recipe."""
        source = self.source
        facts = {
            "layout": LAYOUT,
            **_files(source),
            "requires": sorted(str(wheel.sha256) for wheel in source.requires),
            "env": dict(self.env),
            **({"sources": identity(source.sources)} if source.sources else {}),
            **({"tools": sorted(tool.key for tool in self.tools)} if self.tools else {}),
            "builder": str(self.builder),
            "python": self.python,
            "platform": self.platform,
        }
        return canonical_json(facts).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A wheel that a recipe gave, and its contents."""

    wheel: Wheel
    contents: Contents


def take_wheel(source: Source, output: Path, filename: str, store: Store) -> Built:
    """Put the wheel ``filename`` that a build of ``source`` left in ``output`` into the store.

    It gets its normal form. Raises BuildError as ``normalise`` does.
    """
    with (
        translated(output),
        tempfile.TemporaryFile(dir=output) as normal,
        store.writer() as blob,
    ):
        contents = normalise(output / filename, filename, normal)
        normal.seek(0)
        while piece := normal.read(_CHUNK):
            blob.write(piece)
        digest, size = blob.commit(), blob.size
    wheel = Wheel(
        name=source.name, version=source.version, filename=filename, size=size, sha256=digest
    )
    return Built(wheel=wheel, contents=contents)


def remembered(store: Store, recipe: Recipe) -> Built | None:
    """Find what ``recipe`` gave before, on this machine or on one that it was imported from.

    The wheel itself may be gone from the store; see ``wheel_reconstruction.has_wheel``.
    """
    return store.record(_KIND, recipe.key, Built)


def remember(store: Store, key: str, built: Built) -> None:
    """Record what the recipe ``key`` gave."""
    store.put_record(_KIND, key, built)


def remember_duration(store: Store, source: Source, seconds: float) -> None:
    """Record how long some state of the source took to become a wheel on this machine."""
    store.put_record(_DURATION, _place(source), seconds)


def last_duration(store: Store, source: Source) -> float | None:
    """Return how many seconds the last build of any state of the source took; None if unknown."""
    return store.record(_DURATION, _place(source), float)


def _place(source: Source) -> str:
    """Name what a source is a state of: a project in a repository, or an archive's project."""
    if isinstance(source, ArchiveSource):
        return source.name
    return canonical_json([source.repository, source.subdirectory]).decode()


def _files(source: Source) -> dict[str, object]:
    """Return what a build depends on of the source's own files."""
    if isinstance(source, ArchiveSource):
        return {"archive": str(source.sha256), "time": source.time}
    return {
        "repository": source.repository,
        "commit": source.commit,
        "subdirectory": source.subdirectory,
        "submodules": source.submodules,
        "describe": source.describe,
    }


def builder_identity(lock: Lock) -> Digest:
    """Name what wheels are built in by content, without building or pulling it."""
    if lock.builder is not None:
        image, added = lock.builder, lock.spec.build.system.packages
        if not added:
            return image.digest
        return Digest.of(canonical_json([str(image.digest), added, image.packages]))
    base, spec = lock.base, lock.spec
    if isinstance(base, ImageBase):
        below: list[object] = [str(base.digest), spec.system.packages, base.packages]
    else:
        below = [sorted(str(deb.sha256) for deb in base.packages)]
        below += [str(base.standalone.sha256)] if base.standalone is not None else []
    return Digest.of(canonical_json([*below, spec.steps.before_python]))
