"""What a source says about how it is built: ``pyproject.toml``, read without running anything.

Sources: PEP 517 and PEP 518 (``[build-system]``), PEP 621 (``[project]``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from packaging.requirements import InvalidRequirement, Requirement

from envbuilder.model.errors import ResolutionError
from envbuilder.model.toml_text import TomlError, parse_toml


class Readable(Protocol):
    """Files that can be read by path; ``place`` is how errors call all of them."""

    @property
    def place(self) -> str: ...  # noqa: D102

    def read(self, path: str) -> bytes | None: ...  # noqa: D102


_LEGACY = ("setuptools.build_meta:__legacy__", ("setuptools>=40.8.0",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project's build system: ``backend`` is ``module[:object]``, found below ``backend_path``.

    ``table`` is the whole of pyproject.toml.
    """

    requires: tuple[Requirement, ...]
    backend: str
    backend_path: tuple[str, ...] = ()
    table: Mapping[str, Any] = field(default_factory=dict)


def read_project(tree: Readable, *, subdirectory: str | None) -> Project:
    """Read the build system of the project in ``subdirectory``; what PEP 517 says if none is.

    Raises ResolutionError for a pyproject.toml that cannot be read, or if there is no project.
    """
    prefix = f"{subdirectory}/" if subdirectory else ""
    content = tree.read(f"{prefix}pyproject.toml")
    place = f"{prefix}pyproject.toml in {tree.place}"
    if content is None:
        if tree.read(f"{prefix}setup.py") is None and tree.read(f"{prefix}setup.cfg") is None:
            raise ResolutionError(
                f"there is no Python project: no {place}, and no setup.py",
                hint="name its folder with `subdirectory`",
            )
        return _project({}, place)
    try:
        return _project(parse_toml(content.decode()), place)
    except (TomlError, UnicodeDecodeError) as error:
        raise ResolutionError(f"{place} cannot be read: {error}") from error


def has_script(tree: Readable, *, subdirectory: str | None) -> bool:
    """Return whether there is a setup.py, which may decide anything while it runs."""
    prefix = f"{subdirectory}/" if subdirectory else ""
    return tree.read(f"{prefix}setup.py") is not None


def _project(table: Mapping[str, Any], place: str) -> Project:
    system = table.get("build-system", {})
    backend, requires = _LEGACY
    try:
        return Project(
            requires=tuple(map(Requirement, _texts(system.get("requires", requires)))),
            backend=str(system.get("build-backend", backend)),
            backend_path=_texts(system.get("backend-path", ())),
            table=table,
        )
    except (InvalidRequirement, TypeError, AttributeError) as error:
        raise ResolutionError(f"{place}: [build-system] cannot be read: {error}") from error


def _texts(value: object) -> tuple[str, ...]:
    """Take a list of texts; one text alone would pass for a list of its letters."""
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"{value!r} is no list of texts")
    return tuple(value)
