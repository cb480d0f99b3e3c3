"""The seal: what building a lock gave, image and forms, by digest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .image import Layer
from .reference import Digest
from .spec_words import COMPRESSIONS, Compression


@dataclass(frozen=True, slots=True, kw_only=True)
class FormLayer:
    """A layer as it was recompressed; ``table`` is its table of contents, if it has one."""

    digest: Digest
    size: int
    table: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The sealed image in another compression: the same config, and layers of the same tars."""

    compression: Compression
    manifest: Digest
    layers: tuple[FormLayer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What building the lock gave: the image, by digest, down to each layer's inputs.

    ``forms`` are those that it was published in beside its own, one for each compression.
    """

    engine: str
    layout: int
    layers: tuple[Layer, ...]
    config: Digest
    manifest: Digest
    forms: tuple[Form, ...] = ()

    @property
    def manifests(self) -> frozenset[Digest]:
        """The manifests that are the sealed image, in whatever form."""
        return frozenset({self.manifest, *(form.manifest for form in self.forms)})

    def published(self, compression: Compression) -> Digest | None:
        """Return the manifest of the image in ``compression``; None if it was not made yet."""
        if compression == COMPRESSIONS[0]:
            return self.manifest
        form = self.form(compression)
        return None if form is None else form.manifest

    def form(self, compression: Compression) -> Form | None:
        """Return the form of the image in ``compression``; None if it was not made yet."""
        return next((each for each in self.forms if each.compression == compression), None)

    def with_form(self, form: Form) -> Seal:
        """Return the seal with ``form`` in the place of an older one in that compression."""
        others = (each for each in self.forms if each.compression != form.compression)
        forms = sorted((*others, form), key=lambda each: each.compression)
        return replace(self, forms=tuple(forms))
