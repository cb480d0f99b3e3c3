"""The spec: what a user pins, typed, frozen, and checked with a place for every error.

``spec_file.load`` reads one from YAML. Types are msgspec structs, so that one definition gives the
parser, the JSON schema (:func:`schema`) and the normal form that the lock embeds
(:func:`to_builtins`). Its parts lie beside it: ``package_spec``, ``image_spec``, ``smoke_spec``,
and the types of all their texts in ``spec_words``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .codec import convert, json_schema
from .errors import SpecError
from .image_spec import Healthcheck, OwnFiles, OwnUser
from .package_spec import (
    ChosenIndex,
    GitPackage,
    Index,
    Package,
    SourceBuild,
)
from .smoke_spec import Smoke
from .spec_words import (
    ABSOLUTE,
    COMPRESSIONS,
    GLIBC,
    PLATFORMS,
    SIGNAL,
    SUITE,
    Compression,
    EnvName,
    Frozen,
    LabelName,
    Line,
    Modality,
    Name,
    Platform,
    PythonVersion,
    SystemPackage,
)


class Base(Frozen):
    """What the environment stands on: a Debian or Ubuntu suite, or an image in a registry.

    ``python`` is the interpreter's path in the base, if it is not ``/usr/bin/pythonX.Y``. ``glibc``
    is what wheels may count on, if the base does not tell it, as an image does not.
    """

    debian: Annotated[str, Meta(pattern=SUITE)] | None = None
    ubuntu: Annotated[str, Meta(pattern=SUITE)] | None = None
    image: Line | None = None
    python: Annotated[str, Meta(pattern=ABSOLUTE)] | None = None
    glibc: Annotated[str, Meta(pattern=GLIBC)] | None = None


class System(Frozen):
    """Packages of the base's own package manager; ``site_packages`` lets Python see them."""

    packages: tuple[SystemPackage, ...] = ()
    site_packages: bool = False


class Secret(Frozen):
    """Where a build secret comes from; it is only ever mounted, never copied."""

    env: EnvName | None = None
    file: Line | None = None


class BuildSystem(Frozen):
    """Packages that the image to compile in lacks."""

    packages: tuple[SystemPackage, ...] = ()


BUILD_TIMEOUT = 6 * 3600
"""Seconds that a source may take to become a wheel; vLLM's take two hours on a small machine."""


class BuildSettings(Frozen):
    """What builds get to work with: secrets, SSH agent, CA bundle, an image to compile in.

    ``image`` is where sources become wheels, if not in the base; its Python lies where the
    base has it. ``system`` is laid on it. ``timeout`` is for each source. ``sdists`` names what may
    be built from an index's sdist where it has no wheel: packages, or "all".
    """

    image: Line | None = None
    sdists: tuple[Line, ...] | Literal["all"] = ()
    system: BuildSystem = BuildSystem()
    secrets: dict[Name, Secret] = {}
    ssh: bool = False
    ca: Line | None = None
    timeout: Annotated[int, Meta(ge=1, le=604800, description="seconds")] = BUILD_TIMEOUT


class Steps(Frozen):
    """The user's own ``RUN`` lines, before and after the Python environment is laid down."""

    before_python: tuple[str, ...] = ()
    after_python: tuple[str, ...] = ()


class Publish(Frozen):
    """How the image travels to registries: ``compression`` is the form of its layers."""

    compression: Compression = COMPRESSIONS[0]


_NO = SourceBuild()

Requirements = dict[Line, Line] | tuple[Line, ...] | str
"""Packages with version specifiers, as a mapping or as lines, or the path of a file of lines.

``spec_file.load`` puts a file's lines in the place of its path, so that the lock holds them. Not
``Line``: beside a mapping of lines, msgspec 0.22 corrupts memory on it now and then.
"""


class Spec(Frozen):
    """One environment: everything that a build depends on, in the user's words.

    ``constraints`` narrow the versions of what is needed anyway; ``overrides`` take the place of
    whatever any package requires of theirs. ``bytecode``: the image holds the packages' modules
    compiled as well.
    """

    version: Literal[1]
    name: Name
    python: PythonVersion
    base: Base
    packages: dict[Line, Line | Package]
    overrides: Requirements = ()
    constraints: Requirements = ()
    platform: Platform = PLATFORMS[0]
    system: System = System()
    index: Index = Index()
    build: BuildSettings = BuildSettings()
    bytecode: bool = False
    steps: Steps = Steps()
    files: tuple[OwnFiles, ...] = ()
    env: dict[EnvName, Line] = {}
    labels: dict[LabelName, Line] = {}
    user: Line | OwnUser | None = None
    workdir: Line | None = None
    entrypoint: tuple[Line, ...] = ()
    cmd: tuple[Line, ...] = ()
    expose: tuple[Annotated[int, Meta(ge=1, le=65535)], ...] = ()
    healthcheck: Healthcheck | None = None
    volumes: tuple[Annotated[str, Meta(pattern=ABSOLUTE)], ...] = ()
    stop_signal: Annotated[str, Meta(pattern=SIGNAL)] | None = None
    shell: tuple[Line, ...] = ()
    smoke: Smoke = Smoke()
    publish: Publish = Publish()

    @property
    def minor(self) -> str:
        """The Python version as X.Y, whether ``python`` names a patch release or not."""
        return ".".join(self.python.split(".")[:2])

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """The index packages as PEP 508 requirements, sorted by name."""
        pins = ((key, _version_of(pin)) for key, pin in self.packages.items())
        parsed = (requirement(key, version) for key, version in pins if version is not None)
        return tuple(sorted(parsed, key=lambda item: canonicalize_name(item.name)))

    @property
    def sources(self) -> dict[str, GitPackage]:
        """The git packages by canonical name."""
        return {
            name_of(key): _git_of(pin)
            for key, pin in sorted(self.packages.items())
            if isinstance(pin, Package) and pin.git is not None
        }

    @property
    def places(self) -> dict[str, str]:
        """The addresses and paths that packages come from, by canonical name."""
        return {name_of(key): pin.place or "" for key, pin in self._placed}

    def extras(self, name: str) -> frozenset[str]:
        """Return the extras that the spec asks of the package ``name`` (canonical)."""
        asked = (Requirement(key) for key in self.packages)
        return frozenset[str]().union(
            *(each.extras for each in asked if canonicalize_name(each.name) == name)
        )

    @property
    def direct(self) -> dict[str, Package]:
        """The packages that come as a wheel by address or path, by the key that names them."""
        return {key: pin for key, pin in self._placed if pin.filename.endswith(".whl")}

    @property
    def archives(self) -> dict[str, Package]:
        """The packages that come as an sdist or folder by address or path, by their key."""
        return {key: pin for key, pin in self._placed if not pin.filename.endswith(".whl")}

    @property
    def _placed(self) -> list[tuple[str, Package]]:
        tables = ((key, pin) for key, pin in self.packages.items() if isinstance(pin, Package))
        return sorted((key, pin) for key, pin in tables if pin.place is not None)

    @property
    def builds(self) -> bool:
        """Whether anything may have to be built into a wheel."""
        return bool(self.sources or self.archives or self.sdists or self.build.sdists)

    def build_of(self, name: str) -> SourceBuild:
        """Return how the package ``name`` (canonical) is built, if it is no wheel already."""
        pin = self.packages.get(self.key_of(name) or "")
        return pin.build if isinstance(pin, Package) else SourceBuild()

    @property
    def sdists(self) -> frozenset[str]:
        """The canonical names of packages whose sdists may be built, as far as they are named."""
        tables = ((key, pin) for key, pin in self.packages.items() if isinstance(pin, Package))
        told = {name_of(key) for key, pin in tables if pin.version is not None and pin.build != _NO}
        listed = () if self.build.sdists == "all" else self.build.sdists
        return frozenset(told | {canonicalize_name(name) for name in listed})

    def may_build(self, name: str) -> bool:
        """Return whether the spec allows that an sdist of the package ``name`` is built."""
        return self.build.sdists == "all" or name in self.sdists

    @property
    def indexes(self) -> ChosenIndex:
        """The index settings, with the packages that come from one named index alone."""
        pins = ((name_of(key), _index_of(pin)) for key, pin in sorted(self.packages.items()))
        chosen = {name: index for name, index in pins if index is not None}
        return ChosenIndex(**msgspec.structs.asdict(self.index), chosen=chosen)

    @property
    def requested(self) -> frozenset[str]:
        """The canonical names of all packages that the spec itself names."""
        return frozenset(name_of(key) for key in self.packages)

    def key_of(self, name: str) -> str | None:
        """Find the key in ``packages``, which may carry extras, that names a package."""
        return next((key for key in self.packages if name_of(key) == name), None)


def name_of(key: str) -> str:
    """Return the canonical name of the package that a key (``name`` or ``name[extra]``) names."""
    return canonicalize_name(Requirement(key).name)


def requirement(key: str, pin: str) -> Requirement:
    """Join a key (``name`` or ``name[extra]``) and a pin into a requirement.

    A pin is ``==1.0`` or the like, or ``*``; a PEP 508 marker may follow, behind a semicolon.
    """
    version, semicolon, marker = pin.partition(";")
    version = "" if version.strip() == "*" else version
    return Requirement(f"{key}{version}{semicolon}{marker}")


def requirement_lines(given: Requirements) -> tuple[str, ...]:
    """Return ``overrides`` or ``constraints`` as PEP 508 lines."""
    assert not isinstance(given, str)  # noqa: S101 - load() read the file
    if isinstance(given, dict):
        return tuple(str(requirement(*item)) for item in sorted(given.items()))
    return given


def _version_of(pin: str | Package) -> str | None:
    return pin if isinstance(pin, str) else pin.version


def _index_of(pin: str | Package) -> str | None:
    return None if isinstance(pin, str) else pin.index


def _git_of(pin: Package) -> GitPackage:
    return GitPackage(
        git=pin.git or "",
        tag=pin.tag,
        branch=pin.branch,
        commit=pin.commit,
        subdirectory=pin.subdirectory,
        submodules=pin.submodules,
        build=pin.build,
    )


def from_builtins(value: object) -> Spec:
    """Make a Spec of its normal form, as the lock holds it; raises SpecError."""
    try:
        spec: Spec = convert(value, Spec)
    except msgspec.ValidationError as error:
        raise SpecError(f"the embedded spec does not fit: {error}") from error
    return spec


def to_builtins(spec: Spec) -> dict[str, Any]:
    """Return the normal form: plain values, defaults left out, tuples as lists."""
    plain: dict[str, Any] = msgspec.to_builtins(spec)
    return plain


def _one_or_several(platform: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a spec file's ``platform``: it may list several, a Spec has one."""
    one = {key: value for key, value in platform.items() if key != "default"}
    several = {"type": "array", "items": one, "minItems": 1, "uniqueItems": True}
    return {"anyOf": [one, several], "default": platform["default"]}


def _of_modalities(counts: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of ``tokens`` with the names it takes, which msgspec 0.22 leaves out."""
    names = {"enum": list(get_args(Modality))}
    rest = {key: value for key, value in counts.items() if key not in {"type", "propertyNames"}}
    return {"type": "object", "propertyNames": names, **rest}


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a spec file, for editors."""
    found = json_schema(Spec)
    fields = found["$defs"]["Spec"]["properties"]
    fields["platform"] = _one_or_several(fields["platform"])
    for kind in ("Smoke", "ServedModel"):
        smoked = found["$defs"][kind]["properties"]
        smoked["tokens"] = _of_modalities(smoked["tokens"])
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "envbuilder spec"
    return found
