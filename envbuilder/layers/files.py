"""Layers of a few files whose content we have at hand: skeleton, metadata, the lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envbuilder.model.errors import UsageError
from envbuilder.model.image import Layer
from envbuilder.storage.store import Store

from .install import Target
from .tar import parents
from .writer import layer_writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file of these bytes; ``mode`` is what chmod takes."""

    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link to ``target``, absolute in the image or relative to the link."""

    target: str


Files = Mapping[str, Content | Link]
"""Absolute paths in the image, and what is to be there."""


def files_layer(store: Store, files: Files, *, title: str) -> Layer:
    """Make a layer of ``files``; their parent directories are 0755. Stored, never compressed.

    Raises UsageError for a path that is not absolute and plain.
    """
    for path in files:
        root, *parts = path.split("/")
        if root or not parts or not {"", ".", ".."}.isdisjoint(parts):
            raise UsageError(f"{path!r} is not a plain absolute path in an image")
    with layer_writer(store) as out:
        for folder in sorted({folder for path in files for folder in parents(path[1:])}):
            out.entry(folder, mode=0o755)
        for path, file in sorted(files.items()):
            if isinstance(file, Link):
                out.symlink(path[1:], file.target)
            else:
                out.entry(path[1:], mode=file.mode, content=file.data)
        layer = out.finish()
    return Layer(digest=layer.digest, size=layer.size, diff_id=layer.diff_id, title=title)


def venv_skeleton(
    target: Target, *, interpreter: str, system_site_packages: bool = False
) -> dict[str, Content | Link]:
    """Return what makes ``target`` a virtual environment of ``interpreter`` (absolute path).

    The links are those of ``uv venv``; its activate scripts are left out, since the image's PATH
    does their work.
    """
    home = interpreter.rpartition("/")[0]
    config = (
        f"home = {home}\n"
        f"include-system-site-packages = {str(system_site_packages).lower()}\n"
        f"version = {target.python}\n"
    )
    prefix = target.prefix
    return {
        f"{prefix}/bin/python": Link(target=interpreter),
        f"{prefix}/bin/python3": Link(target="python"),
        f"{prefix}/bin/python{target.python}": Link(target="python"),
        f"{prefix}/lib64": Link(target="lib"),
        f"{prefix}/pyvenv.cfg": Content(data=config.encode()),
    }
