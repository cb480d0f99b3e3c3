"""The stages that layers of wheels are made in, and the files that these read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from envbuilder.engines.given_archives import archive_path
from envbuilder.engines.given_wheels import given_paths, requirements_text
from envbuilder.engines.labels import label
from envbuilder.model.lock import ArchiveSource, GitSource, Lock, LockedCommit, Source
from envbuilder.model.plan import WheelLayer, plan, source_for
from envbuilder.model.reference import Digest
from envbuilder.resolve.git.build_sources import toolchain
from envbuilder.resolve.git.build_sources import variables as build_variables
from envbuilder.resolve.git.scm_version import variables


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelStage:
    """One layer of wheels as a stage: its name, its requirements file and their text.

    ``given``: some of its wheels lie in the folder itself.
    """

    stage: str
    file: str
    requirements: str
    given: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Further files that a build reads: their folder's name, and what to fetch."""

    name: str
    commit: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStages:
    """A package that is built: its stages, from its files to installing, their own files and input.

    ``commit`` is what to fetch from git, or else ``archive`` the tar of its files in the folder,
    ``requested`` its name if the spec names it; ``env`` are the build's variables, ``cache`` is
    whose compilers share one. ``trees`` are further commits that the build reads, ``toolchain`` the
    file for CMake among them. ``tools`` names what is built before it, to build it with; it is such
    a tool itself unless it ``is_package``, and then ``name`` is more than that.
    """

    name: str
    file: str
    origin: str
    cache: str
    env: Mapping[str, str]
    time: int
    commit: Mapping[str, str] = field(default_factory=dict)
    archive: str = ""
    requested: str = ""
    subdirectory: str = ""
    trees: tuple[Tree, ...] = ()
    toolchain: str = ""
    tools: tuple[str, ...] = ()
    is_package: bool = True

    @property
    def equipment(self) -> tuple[tuple[str, str], ...]:
        """The stages of its tools, and where its build environment is given their wheels."""
        places = ((wheel_stage(each), f"/run/tools/{each}") for each in self.tools)
        return tuple(places)

    @property
    def further(self) -> str:
        """The stage of the further sources that its build reads."""
        return further_stage(self.name)

    @property
    def fetched(self) -> str:
        """The stage that fetches its commit, as the server has it."""
        return f"fetched-{self.name}"

    @property
    def files(self) -> str:
        """The stage of its files, ready to be built."""
        return files_stage(self.name)

    @property
    def stage(self) -> str:
        """The stage that builds it."""
        return f"source-{self.name}"

    @property
    def wheel(self) -> str:
        """The stage, and target, that is its wheel."""
        return wheel_stage(self.name)

    @property
    def installed(self) -> str:
        """The stage that installs its wheel."""
        return f"package-{self.name}"


def files_stage(name: str) -> str:
    """Name the stage that is the files of the source ``name``, ready to be built."""
    return f"files-{name}"


def further_stage(name: str) -> str:
    """Name the stage that holds the further sources that a build reads."""
    return f"further-{name}"


def wheel_stage(name: str) -> str:
    """Name the stage, and target, that is the wheel of the source ``name``."""
    return f"wheel-{name}"


def index_layers(lock: Lock) -> list[WheelLayer]:
    """Return the plan's layers without what is built, which has stages of its own."""
    layers = (
        replace(layer, wheels=tuple(wheel for wheel in layer.wheels if not source_for(lock, wheel)))
        for layer in plan(lock).layers
    )
    return [layer for layer in layers if layer.wheels]


def wheel_layer_stage(lock: Lock, layer: WheelLayer) -> WheelStage:
    """Name a layer's stage after what stays when versions change: its package, or its bucket."""
    bucket, first = layer.bucket, layer.wheels[0]
    name = f"package-{first.name}" if bucket is None else f"packages-{bucket}"
    return WheelStage(
        stage=name,
        file=f"requirements/{name}.txt",
        requirements=requirements_text(lock, layer.wheels),
        given=any(wheel in given_paths(lock) for wheel in layer.wheels),
    )


def source_stages(lock: Lock, name: str, source: Source) -> SourceStages:
    """Return the stages of what is built, labelled ``name``, with all that they are given."""
    build = lock.spec.build_of(source.name)
    common = SourceStages(
        name=name,
        file=f"requirements/source-{name}.txt",
        origin="",
        cache=f"compiled-{source.identity[:16]}",
        env=dict(sorted(build_variables(build).items())),
        time=source.time,
        trees=tuple(Tree(name=each.name, commit=_fetched(each)) for each in source.sources),
        toolchain=f"requirements/source-{name}.cmake" if toolchain(build) else "",
        tools=tuple(label(lock, tool) for tool in source.tools),
        is_package=name == source.name,
    )
    if isinstance(source, ArchiveSource):
        asked = source.name if source.name in lock.spec.requested else ""
        return replace(common, archive=archive_path(name), requested=asked)
    told = {}
    if source.describe is not None:
        names = [wheel.name for wheel in source.requires] + [tool.name for tool in source.tools]
        told = variables(names, source.describe)
    return replace(
        common,
        origin=f"requirements/source-{name}.json",
        cache=f"compiled-{Digest.of(source.repository.encode()).hex[:16]}",
        commit=_fetched(source),
        env=dict(sorted((told | build_variables(build)).items())),
        subdirectory=source.subdirectory or "",
    )


def _fetched(tree: LockedCommit) -> dict[str, str]:
    return {
        "REPOSITORY": tree.repository,
        "COMMIT": tree.commit,
        "TREE": tree.tree,
        "SUBMODULES": "yes" if tree.submodules else "",
        "DESCRIBE": (tree.describe or "") if isinstance(tree, GitSource) else "",
    }
