"""Lock -> Dockerfile and build context: text that anyone can read, commit and build with Docker.

The text is a pure function of the lock. Every value that the templates print goes through
``quoting.quote``, whether they ask for it or not: Jinja's ``finalize`` sees them all.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
from msgspec import structs

from envbuilder.layers.files import Content, Link, venv_skeleton
from envbuilder.layers.install import Target
from envbuilder.layers.tar import MTIME
from envbuilder.model.account import account_of
from envbuilder.model.atomic import write_text
from envbuilder.model.errors import SpecError, UsageError
from envbuilder.model.image_config import environment, image_settings
from envbuilder.model.lock import (
    ArchiveSource,
    DebianBase,
    GitSource,
    ImageBase,
    Lock,
    LockedCommit,
    Source,
)
from envbuilder.model.plan import (
    PREFIX,
    WheelLayer,
    direct_url,
    interpreter,
    plan,
    source_for,
)
from envbuilder.model.pylock import dump_lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.resources import TEMPLATES
from envbuilder.model.spec import Secret
from envbuilder.model.variables import expanded, names_in
from envbuilder.resolve.debian import unchecked_pyc
from envbuilder.resolve.debian.mmdebstrap import PY3COMPILE
from envbuilder.resolve.debian.rootfs import SLIM
from envbuilder.resolve.git.build_sources import TOOLCHAIN, toolchain
from envbuilder.resolve.git.build_sources import variables as build_variables
from envbuilder.resolve.git.scm_version import variables

from .dockerfile_quoting import (
    Quoted,
    csv_row,
    document,
    exec_form,
    quote,
    script,
    with_variables,
)
from .given_archives import archive_path
from .given_wheels import given_paths, requirements_text
from .labels import label, labelled
from .own_files import FOLDER as OWN_FOLDER
from .own_files import rendered
from .standalone import python_archive

OWN_SECRETS = ("env", "uv", "netrc", "ca")
"""What every step may mount: variables, uv's configuration, credentials by host, a CA bundle."""

_MARK = "# Rendered by `envbuilder render "
"""How the Dockerfile of every rendering begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """One layer of wheels as a stage: its name, its requirements file and their text.

    ``given``: some of its wheels lie in the folder itself.
    """

    stage: str
    file: str
    requirements: str
    given: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """Further files that a build reads: their folder's name, and what to fetch."""

    name: str
    commit: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
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
    trees: tuple[_Tree, ...] = ()
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
        return further_stage(self.name)

    @property
    def fetched(self) -> str:
        return f"fetched-{self.name}"

    @property
    def files(self) -> str:
        return files_stage(self.name)

    @property
    def stage(self) -> str:
        return f"source-{self.name}"

    @property
    def wheel(self) -> str:
        return wheel_stage(self.name)

    @property
    def installed(self) -> str:
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


def render(lock: Lock) -> dict[str, str]:
    """Render ``lock``: the folder's files, by relative path.

    The same lock always gives the same bytes. Raises SpecError for values that a Dockerfile cannot
    hold.
    """
    stages = [_stage(lock, layer) for layer in index_layers(lock)]
    built = labelled(lock)
    sources = [_source(lock, name, source) for name, source in built.items()]
    values = _values(lock, stages, sources)
    files = {
        "Dockerfile": _template("Dockerfile.j2", values),
        ".dockerignore": _template("dockerignore.j2", values),
        "docker-bake.json": _bake(lock),
        values["lock_file"]: dump_lock(lock.unsealed()),
    }
    files |= {stage.file: stage.requirements for stage in stages}
    for source, locked in zip(sources, built.values(), strict=True):
        files[source.file] = requirements_text(lock, locked.requires)
        if (origin := direct_url(locked)) is not None:
            files[source.origin] = origin.decode()
        if source.toolchain:
            files[source.toolchain] = toolchain(lock.spec.build_of(source.name))
    files |= {f"build/{path.name}": path.read_text("utf-8") for path in _static()}
    if isinstance(lock.base, DebianBase):
        files |= _debian(lock.base)
    return dict(sorted(files.items()))


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write rendered ``files`` into ``folder``, in place of an earlier rendering.

    What that one's Dockerfile reads of ``requirements`` and ``files`` goes; all else in ``folder``
    stays. Raises UsageError, with nothing written, where ``folder`` holds files and no rendering
    of ours.
    """
    dockerfile = folder / "Dockerfile"
    old = dockerfile.read_text("utf-8", "replace") if dockerfile.is_file() else ""
    if not old.startswith(_MARK) and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} holds files, and no Dockerfile that envbuilder rendered",
            hint="--output names a new folder, or one that was rendered before",
        )
    for name in re.findall(r"source=(requirements/[\w.-]+)", old):
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    for number in re.findall(rf"^COPY {OWN_FOLDER}/([0-9]+)/ ", old, re.MULTILINE):
        shutil.rmtree(folder / OWN_FOLDER / number, ignore_errors=True)
    for name in sorted(files, key=lambda name: name != "Dockerfile"):  # a half is known as ours
        write_text(folder / name, files[name])


def render_question(lock: Lock) -> dict[str, str]:
    """Render what asks an image base for exact packages: target ``pins`` (see ``pins.sh``)."""
    values = {
        "base": _base(lock),
        "interpreter": interpreter(lock),
        "packages": lock.spec.system.packages,
    }
    files = {f"build/{path.name}": path.read_text("utf-8") for path in _static()}
    return {"Dockerfile": _template("Dockerfile.pins.j2", values)} | files


def system_packages(lock: Lock) -> tuple[str, ...]:
    """Say what is installed on an image base: as locked, or as the spec has it."""
    if not isinstance(lock.base, ImageBase):
        return ()
    return lock.spec.system.packages if lock.base.packages is None else lock.base.packages


def index_layers(lock: Lock) -> list[WheelLayer]:
    """Return the plan's layers without what is built, which has stages of its own."""
    layers = (
        replace(layer, wheels=tuple(wheel for wheel in layer.wheels if not source_for(lock, wheel)))
        for layer in plan(lock).layers
    )
    return [layer for layer in layers if layer.wheels]


def _values(lock: Lock, stages: list[_Stage], sources: list[_Source]) -> dict[str, Any]:
    spec = lock.spec
    return {
        "name": spec.name,
        "epoch": MTIME,
        "prefix": PREFIX,
        "base": _base(lock),
        "packages": system_packages(lock),
        "steps": spec.steps,
        "secrets": _secrets(lock),
        "ssh": spec.build.ssh,
        "builder": None if lock.builder is None else _builder(lock, lock.builder),
        "compilers": "system" if lock.builder is None else "builder",
        "interpreter": interpreter(lock),
        "layers": stages,
        "given": any(stage.given for stage in stages),
        "account": account_of(spec),
        "archives": any(source.archive for source in sources),
        "skeleton": _skeleton(lock),
        "files": rendered(lock),
        "built": sources,
        "sources": [each for each in sources if each.is_package],
        "toolchain": TOOLCHAIN,
        "lock_file": f"pylock.{spec.name}.toml",
        "settings": _settings(lock),
        "health": _health_options(lock),
    }


def _base(lock: Lock) -> dict[str, Any]:
    base = lock.base
    if isinstance(base, ImageBase):
        return {"kind": "image", "manager": base.manager} | _image(base)
    return {
        "kind": "debian",
        "suite": base.suite,
        "distribution": base.distribution,
        "architecture": lock.spec.platform.partition("/")[2],
        "python": _standalone(lock, base),
    }


def _standalone(lock: Lock, base: DebianBase) -> dict[str, str]:
    """Say which archive of the folder holds a Python of its own, if the base has one."""
    if base.standalone is None:
        return {}
    python = base.standalone
    return {"file": python_archive(lock), "name": python.filename, "sha256": python.sha256.hex}


def _image(base: ImageBase) -> dict[str, Any]:
    pinned = ImageRef.parse(base.reference).at(base.digest)
    return {"reference": base.reference, "pinned": pinned, "user": base.user}


def _builder(lock: Lock, image: ImageBase) -> dict[str, Any]:
    asked = lock.spec.build.system.packages
    packages = asked if image.packages is None else image.packages
    return {"manager": image.manager, "packages": packages} | _image(image)


def _debian(base: DebianBase) -> dict[str, str]:
    """Return what the stage ``rootfs`` reads: the files, and what the embedded engine does too."""
    lines = (f"{deb.sha256.hex} {deb.name} {deb.version}\n" for deb in base.packages)
    return {
        "debs.txt": "".join(lines),
        "build/slim.cfg": SLIM,
        "build/py3compile": PY3COMPILE,
        "build/unchecked_pyc.py": Path(unchecked_pyc.__file__).read_text("utf-8"),
    }


def _secrets(lock: Lock) -> list[str]:
    names = sorted(lock.spec.build.secrets)
    if taken := sorted(set(names) & set(OWN_SECRETS)):
        raise SpecError(
            f"build.secrets: {taken[0]!r} is the name of a secret that every build may have",
            hint=f"call it my-{taken[0]}",
        )
    return names


def _stage(lock: Lock, layer: WheelLayer) -> _Stage:
    """Name a layer's stage after what stays when versions change: its package, or its bucket."""
    bucket, first = layer.bucket, layer.wheels[0]
    name = f"package-{first.name}" if bucket is None else f"packages-{bucket}"
    return _Stage(
        stage=name,
        file=f"requirements/{name}.txt",
        requirements=requirements_text(lock, layer.wheels),
        given=any(wheel in given_paths(lock) for wheel in layer.wheels),
    )


def _source(lock: Lock, name: str, source: Source) -> _Source:
    build = lock.spec.build_of(source.name)
    common = _Source(
        name=name,
        file=f"requirements/source-{name}.txt",
        origin="",
        cache=f"compiled-{source.identity[:16]}",
        env=dict(sorted(build_variables(build).items())),
        time=source.time,
        trees=tuple(_Tree(name=each.name, commit=_fetched(each)) for each in source.sources),
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


def _skeleton(lock: Lock) -> dict[str, Any]:
    """Sort the environment's own files into folders, links and files to write."""
    planned = plan(lock)
    files = venv_skeleton(
        Target(python=planned.python, prefix=PREFIX),
        interpreter=planned.interpreter,
        system_site_packages=lock.spec.system.site_packages,
    )
    return {
        "folders": sorted({path.rpartition("/")[0] for path in files}),
        "links": [(path, file.target) for path, file in files.items() if isinstance(file, Link)],
        "files": [
            (path, file.data.decode()) for path, file in files.items() if isinstance(file, Content)
        ],
    }


def _settings(lock: Lock) -> dict[str, Any]:
    """Return what the runtime stage states; what an image base states itself, Docker inherits."""
    if not isinstance(lock.base, ImageBase):
        return image_settings(lock, {}) | {"Env": environment(lock, {})}
    stated = image_settings(lock, {"User": lock.base.user})
    if not lock.spec.cmd:
        stated.pop("Cmd", None)
    return stated | _variables(lock)


def _variables(lock: Lock) -> dict[str, Any]:
    """Return the variables on an image base, whose own are known to Docker alone.

    Values that name others are one instruction, so that none of them sees another of the spec's.
    """
    given = lock.spec.env
    plain = environment(replace(lock, spec=structs.replace(lock.spec, env={})), {})
    env = plain | {"PATH": Quoted(f"{PREFIX}/bin:$PATH")}
    if any(map(names_in, given.values())):
        return {"Env": env, "Given": {name: with_variables(given[name]) for name in sorted(given)}}
    return {"Env": env | {name: expanded(given[name], {}) for name in sorted(given)}}


def _health_options(lock: Lock) -> dict[str, str]:
    """Return the flags of HEALTHCHECK that the spec asks for."""
    check = lock.spec.healthcheck
    if check is None:
        return {}
    times = {
        "interval": check.interval,
        "timeout": check.timeout,
        "start-period": check.start_period,
    }
    found = {name: f"{seconds}s" for name, seconds in times.items() if seconds}
    return found | ({"retries": str(check.retries)} if check.retries else {})


def _bake(lock: Lock) -> str:
    """Write the same build for ``docker buildx bake``: reproducible, into OCI archives."""
    spec = lock.spec
    common: dict[str, Any] = {
        "context": ".",
        "platforms": [spec.platform],
        "args": {"SOURCE_DATE_EPOCH": str(MTIME)},
        "attest": ["type=provenance,disabled=true"],
    }
    if spec.build.secrets:
        named = sorted(spec.build.secrets.items())
        common["secret"] = [_bake_secret(name, secret) for name, secret in named]
    if spec.build.ssh:
        common["ssh"] = ["default"]
    options = "rewrite-timestamp=true,oci-mediatypes=true"
    outputs = {
        "system": f"type=oci,dest={spec.name}-system.tar,{options}",
        "wheels": "type=local,dest=wheels",
        "runtime": f"type=oci,dest={spec.name}.tar,{options}",
    }
    targets = {name: common | {"target": name, "output": [to]} for name, to in outputs.items()}
    document = {"group": {"default": {"targets": ["runtime"]}}, "target": targets}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _bake_secret(name: str, secret: Secret) -> str:
    place = f"src={secret.file}" if secret.env is None else f"env={secret.env}"
    return csv_row(f"id={name}", place)


def _template(name: str, values: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        finalize=quote,
        autoescape=False,  # noqa: S701 - no HTML; quote() escapes for Dockerfiles
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"exec_form": exec_form, "script": script, "document": document}
    return environment.get_template(name).render(values)


def _static() -> list[Path]:
    return sorted((TEMPLATES / "context").iterdir())
