"""Sealed locks of one environment -> an image in a registry, or an index and all that it lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from envbuilder.model.errors import LockError
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Form
from envbuilder.model.spec_words import COMPRESSIONS, Compression, Platform
from envbuilder.registry.manifests import Descriptor, Manifest, index_of
from envbuilder.registry.manifests import Platform as Place
from envbuilder.resolve.context import Context

from .forms import chosen_compression, keep_form, write_over
from .publish import Published, publish, publish_index

if TYPE_CHECKING:
    from envbuilder.evidence.signers import Signing


def publish_platforms(
    context: Context,
    locks: Mapping[Platform | None, Lock],
    ref: ImageRef,
    *,
    signing: Signing | None = None,
    built: str | None = None,
    compression: Compression | None = None,
) -> tuple[Published, dict[Platform | None, Lock]]:
    """Push the images of sealed ``locks`` by digest, then the index that lists them, the tag last.

    Each image has its evidence, and the index a signature. Of one image alone there is no index.
    Returns what was left, and the locks with their forms and this index in the seal. Raises what
    ``publish`` does.
    """
    if len(locks) == 1:
        ((platform, lock),) = locks.items()
        only = publish(context, lock, ref, signing=signing, built=built, compression=compression)
        return only, {platform: with_form(lock, only.form)}
    sealed_all(list(locks.values()))  # before any of them travels
    if signing is not None:
        from .signing import style_at  # noqa: PLC0415 (takes 0.1 s to load, and few pushes sign)

        signing = style_at(context, ref, signing)
    aside = replace(ref, tag=None, digest=None)
    pushed, known = [], {}
    for platform, lock in locks.items():
        each = publish(context, lock, aside, signing=signing, built=built, compression=compression)
        assert each.image is not None  # noqa: S101 - it is no index
        pushed.append((lock, each.image))
        known[platform] = with_form(lock, each.form)
    index = image_index(pushed)
    chosen = chosen_compression(pushed[0][0].spec, compression)
    published = publish_index(context, index, ref, signing=signing)
    return published, with_index(known, index.digest, chosen)


def with_form(lock: Lock, form: Form | None) -> Lock:
    """Return ``lock`` with ``form`` in its seal, if there is one to list."""
    if form is None or lock.seal is None:
        return lock
    return replace(lock, seal=lock.seal.with_form(form))


def with_index(
    locks: Mapping[Platform | None, Lock], index: Digest, compression: Compression
) -> dict[Platform | None, Lock]:
    """Return ``locks`` with ``index`` in each seal: it lists their images in ``compression``."""
    return {
        each: replace(lock, seal=lock.seal and lock.seal.in_index(compression, index))
        for each, lock in locks.items()
    }


def image_index(images: Iterable[tuple[Lock, Image]]) -> Manifest:
    """Make the index of ``images``: one entry for each lock's platform, in their order."""
    return index_of(
        Descriptor(
            media_type=image.media_type,
            digest=image.digest,
            size=len(image.manifest),
            platform=Place.parse(lock.spec.platform),
        )
        for lock, image in images
    )


def keep_published(
    context: Context,
    paths: Mapping[Platform | None, Path],
    before: Mapping[Platform | None, Lock],
    locks: Mapping[Platform | None, Lock],
    *,
    locked: bool = False,
) -> None:
    """Write ``locks``, whose seals tell of more forms and indexes, over those ``before``.

    ``paths`` are those of the locks. What was published is published: where that cannot be, or is
    not to be since they are ``locked``, a note says so.
    """
    for platform, lock in locks.items():
        old, path = before[platform], paths[platform]
        if len(locks) == 1:
            known, had = (set(each.seal.forms if each.seal else ()) for each in (lock, old))
            keep_form(context, path, old, next(iter(known - had), None), locked=locked)
        elif lock != old:
            why = "--locked changes no lock" if locked else write_over(path, old, lock)
            if why:
                context.progress.note(f"warning: {path} does not tell of the index: {why}")


def sealed_all(locks: Sequence[Lock]) -> None:
    """Raise LockError unless the image of each lock was built."""
    if unbuilt := [lock.spec.platform for lock in locks if lock.seal is None]:
        name = locks[0].spec.name
        raise LockError(
            f"the lock of {name} for {', '.join(unbuilt)} has no seal: it was never built",
            hint=f"envbuilder build {name}",
        )


def sealed_index(locks: Sequence[Lock], compression: Compression) -> Digest:
    """Return the index that lists the sealed images of ``locks``; raises LockError for none."""
    sealed_all(locks)
    found = {lock.seal.index_in(compression) for lock in locks if lock.seal is not None}
    index = found.pop()
    if index is None or found:
        name, first = locks[0].spec.name, compression == COMPRESSIONS[0]
        raise LockError(
            f"the locks of {name} name no index of their images as {compression}",
            hint=f"envbuilder build {name}" if first else f"envbuilder push {name} HOST/{name}:TAG",
        )
    return index
