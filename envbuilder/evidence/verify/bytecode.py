"""Hold layers of bytecode against the modules that an image shows (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envbuilder.layers.contents import Contents, source_of
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.plan import PREFIX

from .findings import Finding, FindingStatus, Level


def compare_bytecode(
    layers: Sequence[Layer], held: Sequence[Contents], shown: Contents
) -> Iterator[Finding]:
    """Name what a layer of bytecode holds that is none of a module of the environment.

    ``held`` is what each of ``layers`` holds, ``shown`` what the image shows. Python runs bytecode
    without a look at its source, and whoever reads the layers looks at the source alone.
    """
    for layer, contents in zip(layers, held, strict=True):
        if layer.kind is not LayerKind.BYTECODE:
            continue
        wrong = sorted(_strangers(contents, shown))
        if wrong:
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            yield Finding(
                level=Level.PACKAGES,
                subject=layer.title,
                status=FindingStatus.MISMATCH,
                expected="bytecode of the packages' modules",
                actual=f"/{wrong[0]}{more}",
                explanation="is no bytecode of a module that is there",
            )


def _strangers(contents: Contents, shown: Contents) -> Iterator[str]:
    yield from contents.removed
    yield from contents.emptied
    for path, file in contents.files.items():
        source = source_of(path)
        module = None if source is None else shown.files.get(source)
        inside = path.startswith(f"{PREFIX[1:]}/") or f"{PREFIX[1:]}/".startswith(f"{path}/")
        if file.kind == "dir" and inside:
            continue
        if not inside or file.kind != "file" or module is None or module.kind != "file":
            yield path
