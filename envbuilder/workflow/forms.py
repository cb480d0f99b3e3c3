"""The sealed image -> the same image in the compression that it is to travel in."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from envbuilder.model.errors import LockError
from envbuilder.model.image import Image, Layer, recompressed
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.progress import Step
from envbuilder.model.pylock import read_lock, write_lock
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Form, FormLayer
from envbuilder.model.spec import Spec
from envbuilder.model.spec_words import COMPRESSIONS, Compression
from envbuilder.registry.transfer import check, each, largest_first
from envbuilder.resolve.context import Context

if TYPE_CHECKING:
    from envbuilder.layers.forms import FormedLayer


def chosen_compression(spec: Spec, asked: Compression | None) -> Compression:
    """Return the compression to publish in: as ``asked`` for, or as the spec says."""
    return asked or spec.publish.compression


def is_sealed_form(compression: Compression) -> bool:
    """Return whether the sealed image itself is in ``compression``."""
    return compression == COMPRESSIONS[0]


def in_form(
    context: Context, lock: Lock, image: Image, compression: Compression
) -> tuple[Image, Form | None]:
    """Return the sealed ``image`` of ``lock`` in ``compression``, and the form for the seal.

    Neither changes for the compression that images are built in. Layers that the store lacks are
    fetched or made first. Raises BuildError for a damaged layer, and what those raise.
    """
    if is_sealed_form(compression):
        return image, None
    _bring(context, lock, image)
    made = _recompress(context, image, compression)
    formed = [made[layer.digest] for layer in image.layers]
    result = recompressed(
        image, [each.layer for each in formed], [each.annotations for each in formed]
    )
    context.store.add(result.manifest)
    layers = tuple(_form_layer(each) for each in formed)
    return result, Form(compression=compression, manifest=result.digest, layers=layers)


def keep_form(
    context: Context, path: Path, lock: Lock, form: Form | None, *, locked: bool = False
) -> None:
    """List ``form`` in the seal of ``lock``, whose file is ``path``; leave one that changed.

    What was published is published: where the form cannot be listed, or is not to be since the lock
    is ``locked``, a note says so.
    """
    if form is None or lock.seal is None:
        return
    sealed = replace(lock, seal=lock.seal.with_form(form))
    if sealed == lock:
        return
    why = "--locked changes no lock" if locked else write_over(path, lock, sealed)
    if why:
        context.progress.note(f"warning: {path} does not list the form {form.compression}: {why}")


def write_over(path: Path, lock: Lock, sealed: Lock) -> str:
    """Write ``sealed`` in the place of ``lock``; return why not, or nothing."""
    try:
        if read_lock(path) != lock:
            return "it changed meanwhile"
        write_lock(path, sealed)
    except LockError as error:
        return error.message
    except OSError as error:
        return str(error)
    return ""


def _bring(context: Context, lock: Lock, image: Image) -> None:
    """Have all layers in the store."""
    if _has_all(context, image):
        return
    # All that builds takes half a second to load, and what is built already needs none of it.
    from envbuilder.engines.foundation import fetch_base  # noqa: PLC0415

    from .make import engine_of, make_image  # noqa: PLC0415

    if isinstance(lock.base, ImageBase):
        fetch_base(context, lock)
    if not _has_all(context, image):
        make_image(context, lock, engine=engine_of(lock))


def _has_all(context: Context, image: Image) -> bool:
    return all(context.store.has(layer.digest) for layer in image.layers)


def _recompress(
    context: Context, image: Image, compression: Compression
) -> Mapping[Digest, FormedLayer]:
    """Recompress the layers, some at a time, and pieces of each on all cores; by their digests."""
    from envbuilder.layers.forms import recompress  # noqa: PLC0415 (its libraries are rarely used)

    made: dict[Digest, FormedLayer] = {}

    def work(layer: Layer, stop: threading.Event, *, pool: Executor) -> None:
        title = layer.title or str(layer.digest)
        with context.progress.step("compress", title, total=layer.size) as step:
            found = recompress(
                context.store, layer, compression, pool=pool, advance=_stoppable(step, stop)
            )
        if found.why_no_table:
            context.progress.note(f"{title} travels without a table: {found.why_no_table}")
        made[layer.digest] = found

    distinct = {layer.digest: layer for layer in image.layers}
    with ThreadPoolExecutor(_cores(), thread_name_prefix="compress") as pool:
        each(largest_first(distinct.values()), partial(work, pool=pool))
    return made


def _stoppable(step: Step, stop: threading.Event) -> Callable[[int], None]:
    def advance(amount: int) -> None:
        check(stop)
        step.advance(amount)

    return advance


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _form_layer(formed: FormedLayer) -> FormLayer:
    layer = formed.layer
    return FormLayer(digest=layer.digest, size=layer.size, table=formed.table)
