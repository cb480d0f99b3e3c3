"""The lock: every artifact of an environment by name, size and SHA-256, and no host.

A lock is a valid PEP 751 file; what that standard does not know stands under ``[tool.envbuilder]``.
It names no host: the same lock serves behind any mirror and in an air gap. ``pylock`` reads
and writes the text; this module is values only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .image import Layer, canonical_json
from .reference import Digest
from .seal import Seal
from .spec import Spec, to_builtins


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Wheel:
    """One wheel file: canonical ``name``, ``version``, ``filename``, ``size`` in bytes."""

    name: str
    version: str
    filename: str
    size: int
    sha256: Digest

    def __post_init__(self) -> None:
        if "/" in self.filename or not self.filename.endswith(".whl"):
            raise ValueError(f"{self.filename!r} is not the file name of a wheel")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DebPackage:
    """One .deb file; ``filename`` is its pool path below any Debian mirror."""

    name: str
    version: str
    architecture: str
    filename: str
    size: int
    sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SystemPython:
    """A Python distribution that the base brings, which the environment may see."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StandalonePython:
    """An archive of a Python that needs nothing of its base but glibc, by its hash.

    ``path`` is what it has below any mirror: the date of its build, and its file name.
    """

    version: str
    path: str
    size: int
    sha256: Digest

    @property
    def filename(self) -> str:
        """The archive's own name."""
        return self.path.rpartition("/")[2]

    @property
    def minor(self) -> str:
        """The Python version as X.Y."""
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianBase:
    """A root file system made of exactly these .deb files, of Debian or of its ``derivative``.

    ``standalone`` is the Python on it, if that is not one of the packages.
    """

    suite: str
    packages: tuple[DebPackage, ...]
    python: tuple[SystemPython, ...] = ()
    standalone: StandalonePython | None = None
    derivative: str | None = None

    def __post_init__(self) -> None:
        if self.derivative not in {None, "ubuntu"}:
            raise ValueError(f"{self.derivative!r} is no derivative of Debian: expected ubuntu")

    @property
    def distribution(self) -> str:
        """What os-release calls the distribution: debian or ubuntu."""
        return self.derivative or "debian"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBase:
    """An image in a registry: by manifest digest, with its config digest and layers.

    ``user`` is whom its config names, where it names one: builds are root's business.
    ``packages`` are those that the spec adds, with all that these need, as its package
    ``manager`` takes them (``NAME=VERSION`` for apt); None until it was asked. ``glibc`` or
    ``musl``, and ``python`` (X.Y.Z) at ``interpreter``, are what its own files say of those, if
    they were asked.
    """

    reference: str
    digest: Digest
    config: Digest
    layers: tuple[Layer, ...]
    user: str | None = None
    manager: str = "apt"
    packages: tuple[str, ...] | None = None
    glibc: str | None = None
    musl: str | None = None
    python: str | None = None
    interpreter: str | None = None

    def __post_init__(self) -> None:
        if self.manager not in {"apt", "dnf"}:
            raise ValueError(f"{self.manager!r} is no package manager: expected apt or dnf")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """Further files that a build reads: a commit of some repository, by full object ids.

    ``time`` is the commit's, in seconds since 1970.
    """

    name: str
    repository: str
    requested: str
    commit: str
    tree: str
    submodules: bool = False
    time: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """One package from git: what was asked, what it was, and what builds it.

    ``commit`` and ``tree`` are full object ids; ``requires`` is the locked build environment, and
    ``tools`` what of it is an sdist, and so is built first; ``time`` is the commit's (seconds since
    1970), the SOURCE_DATE_EPOCH of its build; ``describe`` is what ``git describe`` gave, where a
    tool makes the version of it; ``requires_dist`` is what the package needs at run time (core
    metadata); ``sources`` are further files that its build reads. ``wheel`` is None until it was
    built once.
    """

    name: str
    version: str
    repository: str
    requested: str
    commit: str
    tree: str
    requires: tuple[Wheel, ...] = ()
    subdirectory: str | None = None
    submodules: bool = False
    time: int = 0
    describe: str | None = None
    requires_dist: tuple[str, ...] = ()
    sources: tuple[SourceTree, ...] = ()
    tools: tuple[ArchiveSource, ...] = ()
    wheel: Wheel | None = None

    @property
    def identity(self) -> str:
        """What is built, by content: the commit."""
        return self.commit


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FolderFile:
    """A file or link of a project's folder; ``state`` hashes its kind, its mode and its content."""

    path: str
    state: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSource:
    """One package from an sdist or from a project's folder, and what builds it.

    The sdist has ``size`` bytes and the hash ``sha256``. For a folder they are those of the tar
    that it is packed into, and ``files`` lists what goes into that. ``time`` (seconds since 1970)
    is the youngest file's, the SOURCE_DATE_EPOCH of the build. All else is as in a GitSource. As a
    tool of another source, it has no ``wheel`` in a lock: the bytes of what it builds say enough.
    """

    name: str
    version: str
    filename: str
    size: int
    sha256: Digest
    requires: tuple[Wheel, ...] = ()
    time: int = 0
    requires_dist: tuple[str, ...] = ()
    sources: tuple[SourceTree, ...] = ()
    files: tuple[FolderFile, ...] = ()
    tools: tuple[ArchiveSource, ...] = ()
    wheel: Wheel | None = None

    def __post_init__(self) -> None:
        if "/" in self.filename:
            raise ValueError(f"{self.filename!r} is not the name of a file")

    @property
    def identity(self) -> str:
        """What is built, by content: the archive's hash."""
        return self.sha256.hex


Source = GitSource | ArchiveSource
"""What a wheel is built from."""
LockedCommit = GitSource | SourceTree
"""What names one commit of one repository, whatever becomes of its files."""


def build_environment(source: Source) -> tuple[Wheel, ...]:
    """Return all wheels that ``source`` is built with; its tools must have theirs."""
    made = (tool.wheel for tool in source.tools)
    return tuple(sorted((*source.requires, *(wheel for wheel in made if wheel is not None))))


def in_build_order(sources: Iterable[Source]) -> Iterator[Source]:
    """Yield ``sources``, each behind its tools, and these behind theirs; equal ones once."""
    seen: set[Source] = set()
    for source in sources:
        for each in (*in_build_order(source.tools), source):
            if each not in seen:
                seen.add(each)
                yield each


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LockedFile:
    """One of the spec's own files, by its ``path`` below the place that it goes to.

    ``sha256`` and ``size`` (bytes) are of its content, or of the text of a symbolic link.
    """

    path: str
    size: int
    sha256: Digest
    executable: bool = False
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTree:
    """What one entry of the spec's ``files`` gave, sorted by path; ``into`` is a folder."""

    into: str
    files: tuple[LockedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A resolved spec; ``spec`` is embedded whole, so a lock is enough to build from.

    ``sources`` come from git, ``archives`` are sdists and folders; ``builder`` is the image that
    they are built in, if that is not the base. ``files`` are the spec's own, one tree for each
    entry.
    """

    spec: Spec
    base: DebianBase | ImageBase
    wheels: tuple[Wheel, ...]
    sources: tuple[GitSource, ...] = ()
    archives: tuple[ArchiveSource, ...] = ()
    builder: ImageBase | None = None
    files: tuple[FileTree, ...] = ()
    seal: Seal | None = None

    @property
    def built(self) -> tuple[Source, ...]:
        """Everything that wheels are built from, sorted by name."""
        return tuple(sorted((*self.sources, *self.archives), key=lambda each: each.name))

    def with_built(self, built: Iterable[Source]) -> Lock:
        """Return the lock with ``built`` in the place of all that wheels are built from."""
        each = sorted(built, key=lambda source: source.name)
        return replace(
            self,
            sources=tuple(source for source in each if isinstance(source, GitSource)),
            archives=tuple(source for source in each if isinstance(source, ArchiveSource)),
        )

    def unsealed(self) -> Lock:
        """Return the lock as it was before it was built: what the image itself carries."""
        return replace(self, seal=None)


def spec_checksum(spec: Spec) -> Digest:
    """Hash a spec's normal form: comments, order and layout of the YAML do not count."""
    return Digest.of(canonical_json(to_builtins(spec)))


def joint(digests: Iterable[Digest]) -> Digest:
    """Return the only one of ``digests``, or one that stands for all of them in their order.

    So a spec for several platforms has one checksum, and so have its locks.
    """
    each = [str(digest) for digest in digests]
    return Digest.parse(each[0]) if len(each) == 1 else Digest.of(canonical_json(each))


def image_of(locks: Iterable[Lock]) -> Digest | None:
    """Return what the ledger calls the image of ``locks``: of several their index; None unbuilt."""
    seals = [lock.seal for lock in locks]
    if len(seals) == 1:
        return seals[0].manifest if seals[0] is not None else None
    indexes = {None if seal is None else seal.index for seal in seals}
    return indexes.pop() if len(indexes) == 1 else None
