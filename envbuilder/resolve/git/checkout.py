"""A source with the spec's words on it: its project, its files ready to build, its variables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.errors import BuildError
from envbuilder.model.lock import SourceTree
from envbuilder.model.package_spec import ArchivePackage, GitPackage
from envbuilder.resolve.archives.archive import Archive
from envbuilder.runtime import Mount
from envbuilder.storage.temporary import translated

from .build_sources import PLACE, variables, write_trees
from .context import GitContext
from .project import Project, read_project
from .scm_version import variables as scm_variables
from .scm_version import write_archival
from .tree import Commit, export


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A commit, or an archive, that is built as ``pin`` says.

    ``described`` is a commit's locked ``git describe``; ``sources`` are further files that the
    build reads.
    """

    tree: Commit | Archive
    pin: GitPackage | ArchivePackage
    described: str | None = None
    sources: tuple[SourceTree, ...] = ()

    @property
    def project(self) -> Project:
        """The project in the folder that the spec names."""
        return read_project(self.tree, subdirectory=self.pin.subdirectory)

    def write(self, folder: Path, context: GitContext) -> None:
        """Make ``folder`` and write the source's files into it, ready to be built."""
        if isinstance(self.tree, Commit):
            export(self.tree, folder, open_mirror=context.mirror, submodules=self.pin.submodules)
        else:
            self.tree.write(folder)
        project = folder / (self.pin.subdirectory or "")
        if not project.is_dir() or not project.resolve().is_relative_to(folder.resolve()):
            raise BuildError(
                f"the commit has no folder {self.pin.subdirectory!r}",
                hint="correct `subdirectory` in the spec",
            )
        if self.described is not None:
            with translated(folder):
                write_archival(folder, commit=self.tree.identity, described=self.described)

    def mount_sources(self, folder: Path, context: GitContext) -> tuple[Mount, ...]:
        """Write the further sources, if there are any, into ``folder``; return it as a mount."""
        if not self.sources:
            return ()
        write_trees(self.sources, self.pin.build, folder, open_mirror=context.mirror)
        return (Mount(source=folder, target=PLACE),)

    def variables(self, requires: Iterable[str]) -> dict[str, str]:
        """Return the build's variables: the source's time, its version, and what the spec sets.

        ``requires`` names what is in the build environment.
        """
        told = {} if self.described is None else scm_variables(requires, self.described)
        return {"SOURCE_DATE_EPOCH": str(self.tree.time), **told, **variables(self.pin.build)}
