"""What a source is asked while there is only a lock to be made, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import msgspec

from envbuilder.model.image import canonical_json
from envbuilder.model.lock import ArchiveSource, Source, Wheel
from envbuilder.model.package_spec import Index
from envbuilder.model.spec import BUILD_TIMEOUT
from envbuilder.resolve.python.requirements import PythonTarget
from envbuilder.storage.store import Store

from .build_sources import identity
from .checkout import Checkout

_FORMAT = 4
_DOUBTED = "source-doubted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an answer depends on: a source, how the spec wants it built, and for what.

    ``held`` maps names to the versions that the build environment keeps unless something forces
    others; ``tools`` is what else decides on what in it is built first. Whoever has not answered
    after ``timeout`` seconds never will. ``requested``, the names that the spec asks for itself,
    only say which layers can be shared: no answer depends on it.
    """

    checkout: Checkout
    index: Index
    constraints: tuple[str, ...]
    target: PythonTarget
    held: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, object] = field(default_factory=dict)
    timeout: int = BUILD_TIMEOUT
    requested: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """Name the question: equal keys, asked in equal places, have equal answers."""
        checkout, pin = self.checkout, self.checkout.pin
        facts = {
            "format": _FORMAT,
            **checkout.tree.facts,
            "described": checkout.described,
            "subdirectory": pin.subdirectory,
            "submodules": pin.submodules,
            "requires": pin.build.requires,
            "env": pin.build.env,
            "index": msgspec.to_builtins(self.index),
            **({"sources": identity(checkout.sources)} if checkout.sources else {}),
            "constraints": self.constraints,
            "held": dict(self.held),
            "target": asdict(self.target),
            **({"tools": dict(self.tools)} if self.tools else {}),
        }
        return canonical_json(facts).decode()

    @property
    def requires(self) -> list[str]:
        """The lines that pyproject.toml and the spec say are needed to build."""
        return [*map(str, self.checkout.project.requires), *self.checkout.pin.build.requires]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A source's core metadata, and what builds it on the target: wheels, and tools.

    ``requires_dist`` is what the source says, addresses included: never hand it to a resolver.
    """

    name: str
    version: str
    requires_dist: tuple[str, ...]
    requires: tuple[Wheel, ...]
    tools: tuple[ArchiveSource, ...] = ()


def doubt(store: Store, source: Source) -> None:
    """Remember that a source, once built, was another one than it had said on this machine."""
    store.put_record(_DOUBTED, source.identity, source.identity)


def is_doubted(store: Store, question: Question) -> bool:
    """Return whether a build of the source gave something else than asking here did."""
    return store.record(_DOUBTED, question.checkout.tree.identity, str) is not None
