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
    """The sealed image in another compression: the same config, and layers of the same tars.

    ``index`` lists it beside the images of other platforms, where there are such.
    """

    compression: Compression
    manifest: Digest
    layers: tuple[FormLayer, ...]
    index: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What building the lock gave: the image, by digest, down to each layer's inputs.

    ``forms`` are those that it was published in beside its own, one for each compression.
    ``index`` lists it beside the images of the spec's other platforms, where there are such.
    """

    engine: str
    layout: int
    layers: tuple[Layer, ...]
    config: Digest
    manifest: Digest
    forms: tuple[Form, ...] = ()
    index: Digest | None = None

    @property
    def indexes(self) -> frozenset[Digest]:
        """The indexes that list the sealed image, in whatever form."""
        known = (self.index, *(form.index for form in self.forms))
        return frozenset(each for each in known if each is not None)

    @property
    def images(self) -> frozenset[Digest]:
        """What a ledger may call the sealed image: its manifest, or an index that lists it."""
        return frozenset({self.manifest, *self.indexes})

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

    def index_in(self, compression: Compression) -> Digest | None:
        """Return the index of the images in ``compression``; None if it was not made yet."""
        if compression == COMPRESSIONS[0]:
            return self.index
        form = self.form(compression)
        return None if form is None else form.index

    def in_index(self, compression: Compression, index: Digest) -> Seal:
        """Return the seal with ``index`` as that of the images in ``compression``."""
        form = self.form(compression)
        if compression == COMPRESSIONS[0] or form is None:
            return replace(self, index=index)
        return self.with_form(replace(form, index=index))

    def form(self, compression: Compression) -> Form | None:
        """Return the form of the image in ``compression``; None if it was not made yet."""
        return next((each for each in self.forms if each.compression == compression), None)

    def with_form(self, form: Form) -> Seal:
        """Return the seal with ``form`` in the place of an older one in that compression."""
        others = (each for each in self.forms if each.compression != form.compression)
        forms = sorted((*others, form), key=lambda each: each.compression)
        return replace(self, forms=tuple(forms))
