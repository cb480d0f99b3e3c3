"""What a stack of layers shows of places: folders, links, whose they are, and what is asked of it.

Who lays a file on top needs this: a folder that is there stays as it is, a path that leads through
a link means what the link points to, and the bytecode of a module that is replaced has to go. And
who resolves wheels asks the C library and the Python, whose own files tell their versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from envbuilder.model.errors import BuildError
from envbuilder.model.plan import PREFIX

from .bounds import LINKS, PARTS, USERS
from .contents import Contents, source_of, stacked

_OVERLAP = 256  # longer than anything that is searched for
_SEARCHED = (
    (r"lib/apk/db/installed", rb"\nP:musl\nV:([0-9.]+)"),
    (r"(?:usr/)?lib(?:64)?/(?:[^/]+/)?libc(?:\.so\.6|-2\.\d+\.so)", rb"release version (2\.\d+)"),
    (r"(?:usr/)?lib/ld-musl-[^/]+\.so\.1", rb"(?!)"),
    (r"(?:.*/)?include/python3\.\d+/patchlevel\.h", rb'#define PY_VERSION\s+"([0-9.]+)'),
)
_PROGRAM = re.compile(
    r"(?:.*/)?(?:bin/python(?P<program>3\.\d+)|libpython(?P<library>3\.\d+)\.so\.1\.0)"
)
_KNOWN = tuple((re.compile(path), re.compile(content)) for path, content in _SEARCHED)
_WHOLE = frozenset({"etc/passwd", "etc/group", "etc/shadow"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A folder's or a file's mode, as chmod takes it, with the numbers of user and group."""

    mode: int
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A file, and what was kept of its content: all of it, or the version in it, or nothing."""

    owned: Owned
    text: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """Folders, links and asked files by their paths, relative to the root.

    A hard link counts as a link to the file's first name.
    """

    folders: Mapping[str, Owned] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Told] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    """Debian's packages with their versions."""
    bytecode: tuple[str, ...] = ()
    """Compiled modules, in every ``__pycache__``."""
    environment: bool = False
    """Whether anything lies where the environment is to lie."""

    def real(self, path: str) -> str:
        """Follow the links in ``path`` (relative to the root), as a chroot would.

        Raises BuildError for links that lead in a circle, or through far more than is sensible.
        """
        at = ""
        rest = _parts(path)
        links = steps = 0
        while rest:
            part = rest.pop()
            steps += 1
            if links > LINKS or steps > PARTS:
                raise BuildError(
                    f"/{path[:60]}: the links of the base lead in a circle, or too far",
                    hint="the image is damaged or hostile",
                )
            if part == "..":
                at = at.rpartition("/")[0]
                continue
            here = f"{at}/{part}" if at else part
            target = self.links.get(here)
            if target is None:
                at = here
                continue
            links += 1
            rest += _parts(target)
            at = "" if target.startswith("/") else at
        return at

    def find(self, path: str) -> Told | None:
        """Return what was kept of the file that ``path`` leads to, if there is one."""
        return self.files.get(self.real(path))


def _parts(path: str) -> list[str]:
    """Return the names in ``path``, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]


def asked(path: str) -> Callable[[Iterable[bytes]], bytes] | None:
    """Return how to read ``path`` (for ``contents.scan``), if anything is asked of it."""
    if path in _WHOLE:
        return lambda pieces: _whole(path, pieces)
    if not path.startswith(("proc/", "sys/")):
        for known, pattern in _KNOWN:
            if known.fullmatch(path):
                return lambda pieces: _searched(pattern, pieces)
        if match := _PROGRAM.fullmatch(path):
            minor = match["program"] or match["library"]
            return lambda pieces: _release(minor, pieces)
    return None


def below(layers: Sequence[Contents]) -> Below:
    """Say what ``layers``, scanned with :func:`asked`, lowest first, show together."""
    shown = stacked(layers)
    files = shown.files.items()
    return Below(
        folders={path: Owned(mode=file.mode, uid=file.uid, gid=file.gid)
                 for path, file in files if file.kind == "dir"},
        links={path: file.target if file.kind == "link" else f"/{file.target}"
               for path, file in files if file.kind in {"link", "hardlink"}},
        files={path: Told(owned=Owned(mode=file.mode, uid=file.uid, gid=file.gid),
                          text=shown.documents[path])
               for path, file in files if path in shown.documents and asked(path)},
        packages={each.name: each.version for each in shown.distributions() if each.kind == "deb"},
        bytecode=tuple(sorted(path for path, file in files
                              if file.kind != "dir" and source_of(path))),
        environment=any(f"/{path}/".startswith(f"{PREFIX}/") for path, _ in files),
    )  # fmt: skip


def _whole(path: str, pieces: Iterable[bytes]) -> bytes:
    text = bytearray()
    for piece in pieces:
        text += piece
        if len(text) > USERS:
            raise BuildError(
                f"/{path} of the base has more than {USERS >> 20} MiB",
                hint="the image is damaged or hostile",
            )
    return bytes(text)


def _searched(pattern: re.Pattern[bytes], pieces: Iterable[bytes]) -> bytes:
    """Return the first group of the first match, in content of any length; nothing without one."""
    return next((match[1] for match in _matches(pattern, pieces)), b"")


def _release(minor: str, pieces: Iterable[bytes]) -> bytes:
    """Return the release of a compiled Python ``minor``, if it holds one and no other.

    It holds its version as a text by itself, or, where the compiler took that apart, as the number
    ``Py_Version`` (since 3.11): 0x030b07f0 is 3.11.7.
    """
    number = b"\\xf0(.)\\x%02x\\x03\\0{4}" % int(minor.partition(".")[2])
    text = rb"\0(%b\.\d+)(?:\+|rc\d|[ab]\d)?\0" % re.escape(minor.encode())
    found = set()
    for match in _matches(re.compile(text + b"|" + number, re.DOTALL), pieces):
        if match[1] is not None:
            return match[1]
        found.add(match[2][0])
    return b"%b.%d" % (minor.encode(), found.pop()) if len(found) == 1 else b""


def _matches(pattern: re.Pattern[bytes], pieces: Iterable[bytes]) -> Iterator[re.Match[bytes]]:
    """Find ``pattern`` wherever it is; what lies about a piece's end may be found twice."""
    before = b""
    for piece in pieces:
        yield from pattern.finditer(before + piece)
        before = (before + piece)[-_OVERLAP:]
