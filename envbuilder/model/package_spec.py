"""What a spec says of Python packages: from an index, an address, a folder, or a commit."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import unquote, urlsplit

from msgspec import Meta

from .spec_words import (
    BUILD_SOURCE,
    FETCH_CONTENT,
    STRATEGIES,
    Commit,
    EnvName,
    Frozen,
    GitRef,
    Line,
    Name,
    Strategy,
)

SOURCE_PLACE = re.compile(r"\{sources\.([^{}]*)\}")
"""How a variable of a build names the folder of a further source."""


class BuildSource(Frozen):
    """Further files that a build reads instead of fetching them itself: a commit, as in a package.

    ``fetchcontent`` is the name under which the build's CMake would fetch them.
    """

    git: Line
    tag: GitRef | None = None
    branch: GitRef | None = None
    commit: Commit | None = None
    submodules: bool = False
    fetchcontent: Annotated[str, Meta(pattern=FETCH_CONTENT)] | None = None


class SourceBuild(Frozen):
    """How a source becomes a wheel: more build requirements, its environment, more sources.

    ``{sources.NAME}`` in a variable's value is the folder of the further source NAME.
    """

    requires: tuple[Line, ...] = ()
    env: dict[EnvName, Line] = {}
    sources: dict[Annotated[str, Meta(pattern=BUILD_SOURCE, max_length=64)], BuildSource] = {}


class GitPackage(Frozen):
    """What a :class:`Package` says that is built from git: a tag, a branch or a commit at least."""

    git: Line
    tag: GitRef | None = None
    branch: GitRef | None = None
    commit: Commit | None = None
    subdirectory: Line | None = None
    submodules: bool = False
    build: SourceBuild = SourceBuild()


class ArchivePackage(Frozen):
    """What a :class:`Package` says that is built from an sdist or a folder.

    That holds one project, and all of it.
    """

    build: SourceBuild = SourceBuild()

    @property
    def subdirectory(self) -> str | None:
        """None: the project is not below another one."""
        return None

    @property
    def submodules(self) -> bool:
        """False: only repositories have such."""
        return False


GitPin = GitPackage | BuildSource
"""What names a commit of a repository."""


class Package(Frozen):
    """A package that a version alone does not say.

    Exactly one of these tells where it comes from: ``git``; ``url``, the address of a wheel or an
    sdist; ``path``, such a file or a project's folder, from the folder of the spec; else an index,
    by ``version`` and, where only one will do, the name of that ``index``. ``exclude`` holds
    patterns, as in a ``.dockerignore``, of what a folder is taken without. ``build`` says how what
    is no wheel becomes one; with a ``version`` it allows that an sdist is built.
    """

    version: Line | None = None
    index: Name | None = None
    url: Line | None = None
    path: Line | None = None
    exclude: tuple[Line, ...] = ()
    git: Line | None = None
    tag: GitRef | None = None
    branch: GitRef | None = None
    commit: Commit | None = None
    subdirectory: Line | None = None
    submodules: bool = False
    build: SourceBuild = SourceBuild()

    @property
    def place(self) -> str | None:
        """The address or path, if that is where the package comes from."""
        return self.url if self.url is not None else self.path

    @property
    def filename(self) -> str:
        """The last part of the address or path; empty if there is none."""
        place = unquote(urlsplit(self.url).path) if self.url is not None else self.path or ""
        return place.rstrip("/").rpartition("/")[2]


class Index(Frozen):
    """Which package indexes are asked beyond the machine's own, and as of which moment.

    ``named`` are asked for those packages alone that name one. ``strategy`` says whether the first
    index that has a package tells all its versions, or the best version of all indexes counts.
    ``exempt`` names packages and named indexes to which ``exclude_newer`` does not apply.
    """

    url: Line | None = None
    extra_urls: tuple[Line, ...] = ()
    exclude_newer: Line | None = None
    named: dict[Name, Line] = {}
    strategy: Strategy = STRATEGIES[0]
    exempt: tuple[Line, ...] = ()


class ChosenIndex(Index, frozen=True):
    """A spec's index settings with what its packages say: package -> name of its index."""

    chosen: dict[str, str] = {}
