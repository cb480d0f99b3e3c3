"""The spec: what a user pins, typed, frozen, and checked with a place for every error.

``spec_file.load`` reads one from YAML. Types are msgspec structs, so that one definition gives the
parser, the JSON schema (:func:`schema`) and the normal form that the lock embeds
(:func:`to_builtins`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, dataclass_transform
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta, Struct
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .codec import convert, json_schema
from .errors import SpecError

_END = r"$(?!\n)"  # Python's $ alone would let a last line break pass; JSON schema's would not
NAME = r"^[a-z0-9]+(-[a-z0-9]+)*" + _END
_LINE = r"^[^\x00\r\n]*" + _END
_LABEL = r"^[^\x00-\x1f\x7f=]+" + _END
_SYSTEM_PACKAGE = r"^[A-Za-z0-9][A-Za-z0-9+._:~^-]*(=[A-Za-z0-9.+:~-]+)?" + _END
_ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*" + _END
_GIT_REF = r"^[A-Za-z0-9_][A-Za-z0-9_./+-]*" + _END
_COMMIT = r"^[0-9a-f]{7,64}" + _END
_PYTHON = r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?" + _END
_GLIBC = r"^2\.[0-9]{1,2}" + _END
_SUITE = r"^[a-z]+" + _END
_FAMILY = r"^[a-z0-9_]+" + _END
_BUILD_SOURCE = r"^[a-z0-9]+([_-][a-z0-9]+)*" + _END
_FETCH_CONTENT = r"^[A-Za-z0-9_.+-]+" + _END
_SIGNAL = r"^(SIG[A-Z0-9+-]+|[0-9]{1,2})" + _END
_ABSOLUTE = r"^(/[A-Za-z0-9._+-]+)+" + _END
_PLACE = r"^(/[A-Za-z0-9._+-]+)+/?" + _END
_MODE = r"^0?[0-7]{3}" + _END
_USER = r"^[a-z_][a-z0-9_-]{0,31}" + _END
_OWNER = r"^([a-z_][a-z0-9_-]*|[0-9]{1,7}(:[0-9]{1,7})?)" + _END

IN_WORDS = {  # for error messages: what each pattern means
    NAME: "lower-case words and digits joined by hyphens",
    _LINE: "one line of text",
    _LABEL: "a label's name, without = and control characters",
    _SYSTEM_PACKAGE: "a package name, or NAME=VERSION",
    _ENV_NAME: "the name of an environment variable",
    _GIT_REF: "the name of a git tag or branch",
    _COMMIT: "a commit id of 7 to 64 lower-case hex digits",
    _PYTHON: 'a Python version like "3.12" or "3.12.3"',
    _GLIBC: 'a version of glibc like "2.36"',
    _SUITE: "the name of a suite, like trixie or noble",
    _FAMILY: "the name of a model family, like qwen2_5_omni",
    _ABSOLUTE: "an absolute path",
    _PLACE: "an absolute path; one that ends in / is a folder to put a file into",
    _MODE: 'a file\'s mode in octal, like "0644"',
    _USER: "a user's name, of at most 32 letters, digits, _ and -",
    _OWNER: "the spec's own user by name, or UID, or UID:GID",
    _SIGNAL: "a signal, like SIGINT",
    _BUILD_SOURCE: "lower-case words and digits joined by - or _",
    _FETCH_CONTENT: "the name that CMake's FetchContent_Declare has",
}

Name = Annotated[str, Meta(pattern=NAME, max_length=64)]
Line = Annotated[str, Meta(pattern=_LINE, max_length=4096)]
LabelName = Annotated[str, Meta(pattern=_LABEL, max_length=4096)]
EnvName = Annotated[str, Meta(pattern=_ENV_NAME)]
SystemPackage = Annotated[str, Meta(pattern=_SYSTEM_PACKAGE)]
GitRef = Annotated[str, Meta(pattern=_GIT_REF, max_length=255)]
Commit = Annotated[str, Meta(pattern=_COMMIT)]
Platform = Literal["linux/amd64", "linux/arm64"]
PLATFORMS: tuple[Platform, ...] = ("linux/amd64", "linux/arm64")
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""Each platform's machine, as Python names it."""
PythonVersion = Annotated[str, Meta(pattern=_PYTHON)]
Modality = Literal["audio", "image", "video"]
GpuUse = Literal["auto", "required", "never"]
Strategy = Literal["best-match", "first-index"]


@dataclass_transform(frozen_default=True)
class _Frozen(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all parts of a spec share: immutable, named fields only, unknown keys refused."""


class Base(_Frozen):
    """What the environment stands on: a Debian or Ubuntu suite, or an image in a registry.

    ``python`` is the interpreter's path in the base, if it is not ``/usr/bin/pythonX.Y``. ``glibc``
    is what wheels may count on, if the base does not tell it, as an image does not.
    """

    debian: Annotated[str, Meta(pattern=_SUITE)] | None = None
    ubuntu: Annotated[str, Meta(pattern=_SUITE)] | None = None
    image: Line | None = None
    python: Annotated[str, Meta(pattern=_ABSOLUTE)] | None = None
    glibc: Annotated[str, Meta(pattern=_GLIBC)] | None = None


class System(_Frozen):
    """Packages of the base's own package manager; ``site_packages`` lets Python see them."""

    packages: tuple[SystemPackage, ...] = ()
    site_packages: bool = False


SOURCE_PLACE = re.compile(r"\{sources\.([^{}]*)\}")
"""How a variable of a build names the folder of a further source."""


class BuildSource(_Frozen):
    """Further files that a build reads instead of fetching them itself: a commit, as in a package.

    ``fetchcontent`` is the name under which the build's CMake would fetch them.
    """

    git: Line
    tag: GitRef | None = None
    branch: GitRef | None = None
    commit: Commit | None = None
    submodules: bool = False
    fetchcontent: Annotated[str, Meta(pattern=_FETCH_CONTENT)] | None = None


class SourceBuild(_Frozen):
    """How a source becomes a wheel: more build requirements, its environment, more sources.

    ``{sources.NAME}`` in a variable's value is the folder of the further source NAME.
    """

    requires: tuple[Line, ...] = ()
    env: dict[EnvName, Line] = {}
    sources: dict[Annotated[str, Meta(pattern=_BUILD_SOURCE, max_length=64)], BuildSource] = {}


class GitPackage(_Frozen):
    """What a :class:`Package` says that is built from git: a tag, a branch or a commit at least."""

    git: Line
    tag: GitRef | None = None
    branch: GitRef | None = None
    commit: Commit | None = None
    subdirectory: Line | None = None
    submodules: bool = False
    build: SourceBuild = SourceBuild()


class ArchivePackage(_Frozen):
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


class Package(_Frozen):
    """A package that a version alone does not say.

    Exactly one of these tells where it comes from: ``git``; ``url``, the address of a wheel or an
    sdist; ``path``, such a file or a project's folder, from the folder of the spec; else an index,
    by ``version`` and, where only one will do, the name of that ``index``. ``build`` says how what
    is no wheel becomes one; with a ``version`` it allows that an sdist is built.
    """

    version: Line | None = None
    index: Name | None = None
    url: Line | None = None
    path: Line | None = None
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


class Index(_Frozen):
    """Which package indexes are asked beyond the machine's own, and as of which moment.

    ``named`` are asked for those packages alone that name one. ``strategy`` says whether the first
    index that has a package tells all its versions, or the best version of all indexes counts.
    ``exempt`` names packages and named indexes to which ``exclude_newer`` does not apply.
    """

    url: Line | None = None
    extra_urls: tuple[Line, ...] = ()
    exclude_newer: Line | None = None
    named: dict[Name, Line] = {}
    strategy: Strategy = "best-match"
    exempt: tuple[Line, ...] = ()


class ChosenIndex(Index, frozen=True):
    """A spec's index settings with what its packages say: package -> name of its index."""

    chosen: dict[str, str] = {}


class Secret(_Frozen):
    """Where a build secret comes from; it is only ever mounted, never copied."""

    env: EnvName | None = None
    file: Line | None = None


class BuildSystem(_Frozen):
    """Packages that the image to compile in lacks."""

    packages: tuple[SystemPackage, ...] = ()


BUILD_TIMEOUT = 6 * 3600
"""Seconds that a source may take to become a wheel; vLLM's take two hours on a small machine."""


class BuildSettings(_Frozen):
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


class Steps(_Frozen):
    """The user's own ``RUN`` lines, before and after the Python environment is laid down."""

    before_python: tuple[str, ...] = ()
    after_python: tuple[str, ...] = ()


class Healthcheck(_Frozen):
    """How a container engine finds out whether the image's program still works.

    ``command`` runs as it stands, without a shell. Times are seconds.
    """

    command: Annotated[tuple[Line, ...], Meta(min_length=1)]
    interval: Annotated[int, Meta(ge=1, description="seconds")] | None = None
    timeout: Annotated[int, Meta(ge=1, description="seconds")] | None = None
    start_period: Annotated[int, Meta(ge=1, description="seconds")] | None = None
    retries: Annotated[int, Meta(ge=1)] | None = None


class OwnUser(_Frozen):
    """A user to make in the image, with a group and a home, and to run as.

    ``gid`` is the number ``uid`` if left out, ``home`` is ``/home/NAME``.
    """

    name: Annotated[str, Meta(pattern=_USER)]
    uid: Annotated[int, Meta(ge=1, le=2**31 - 2)]
    gid: Annotated[int, Meta(ge=0, le=2**31 - 2)] | None = None
    home: Annotated[str, Meta(pattern=_ABSOLUTE)] | None = None

    @property
    def group(self) -> int:
        """The number of the user's group."""
        return self.uid if self.gid is None else self.gid

    @property
    def folder(self) -> str:
        """The path of the user's home."""
        return self.home or f"/home/{self.name}"


class OwnFiles(_Frozen):
    """A file or a folder of one's own, from the spec's folder, and its place in the image.

    ``mode`` is that of every file; left out, 0755 for what its owner may execute and 0644 for the
    rest. ``owner`` is root if left out. ``exclude`` holds patterns as in a ``.dockerignore``.
    """

    to: Annotated[str, Meta(pattern=_PLACE, max_length=1024)]
    from_: Line = msgspec.field(name="from")
    mode: Annotated[str, Meta(pattern=_MODE)] | None = None
    owner: Annotated[str, Meta(pattern=_OWNER)] | None = None
    exclude: tuple[Line, ...] = ()


class Model(_Frozen):
    """What the smoke test runs: a family (tiny random weights), a directory, or a hub model."""

    family: Annotated[str, Meta(pattern=_FAMILY)] | None = None
    path: Line | None = None
    hub: Line | None = None
    revision: Line | None = None


class ServedModel(_Frozen):
    """One of the models that are served, and what the engine reserves per item (``tokens``).

    ``config`` is a folder of a real model's configuration and processor files, without weights.
    """

    family: Annotated[str, Meta(pattern=_FAMILY)] | None = None
    path: Line | None = None
    config: Line | None = None
    hub: Line | None = None
    revision: Line | None = None
    tokens: dict[Modality, Annotated[int, Meta(ge=1)]] = {}

    @property
    def name(self) -> str:
        """What reports call it: the family, the folder, or the name on the hub."""
        found = self.family or self.path or self.config or self.hub or ""
        return f"{found}@{self.revision}" if self.revision else found


class SampleFile(_Frozen):
    """An item of the user's own to count: a file beside the spec, and what it is."""

    path: Line
    modality: Modality | None = None


class StartCommand(_Frozen):
    """What to try as the image starts: with its env, as its user, in its workdir.

    ``run`` is a command that must end with 0. ``serve`` starts the image's own entry point with the
    first model: true gives it the model's folder, a list these arguments, with ``{model}`` for the
    folder. At ``port`` it must answer ``ready`` with 200 ``within`` seconds.
    """

    run: tuple[Line, ...] = ()
    serve: bool | tuple[Line, ...] = False
    ready: Annotated[str, Meta(pattern="^/[!-~]*$")] = "/health"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    within: Annotated[int, Meta(ge=1, le=86400, description="seconds")] = 300

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the entry point gets to serve; nothing if it shall not."""
        if isinstance(self.serve, bool):
            return ("{model}",) if self.serve else ()
        return self.serve


class Smoke(_Frozen):
    """What the smoke test expects; ``tokens`` is what the engine reserves per item.

    ``models`` are all that are served; ``model`` with ``tokens`` is the short form for one.
    ``samples`` are items of the user's own: paths, from the folder of the spec.
    """

    model: Model | None = None
    models: tuple[ServedModel, ...] = ()
    tokens: dict[Modality, Annotated[int, Meta(ge=1)]] = {}
    samples: tuple[Line | SampleFile, ...] = ()
    start: StartCommand = StartCommand()
    gpu: GpuUse = "auto"
    timeout: Annotated[int, Meta(ge=1, le=86400, description="seconds")] = 600
    memory: Annotated[int, Meta(ge=256, description="MiB")] = 8192

    @property
    def served(self) -> tuple[ServedModel, ...]:
        """All models that are served, however they are written."""
        one = self.model
        if one is None:
            return self.models
        where = {"family": one.family, "path": one.path, "hub": one.hub, "revision": one.revision}
        return (ServedModel(**where, tokens=self.tokens),)


_NO = SourceBuild()

Requirements = dict[Line, Line] | tuple[Line, ...] | str
"""Packages with version specifiers, as a mapping or as lines, or the path of a file of lines.

``spec_file.load`` puts a file's lines in the place of its path, so that the lock holds them. Not
``Line``: beside a mapping of lines, msgspec 0.22 corrupts memory on it now and then.
"""


class Spec(_Frozen):
    """One environment: everything that a build depends on, in the user's words.

    ``constraints`` narrow the versions of what is needed anyway; ``overrides`` take the place of
    whatever any package requires of theirs.
    """

    version: Literal[1]
    name: Name
    python: PythonVersion
    base: Base
    packages: dict[Line, Line | Package]
    overrides: Requirements = ()
    constraints: Requirements = ()
    platform: Platform = "linux/amd64"
    system: System = System()
    index: Index = Index()
    build: BuildSettings = BuildSettings()
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
    volumes: tuple[Annotated[str, Meta(pattern=_ABSOLUTE)], ...] = ()
    stop_signal: Annotated[str, Meta(pattern=_SIGNAL)] | None = None
    shell: tuple[Line, ...] = ()
    smoke: Smoke = Smoke()

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


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a spec file, for editors."""
    found = json_schema(Spec)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "envbuilder spec"
    return found
