"""What a wheel becomes when it is installed: paths, modes and the few files that are made anew.

Semantics: PyPA "Binary distribution format", "Recording installed projects", "Entry points" and
"Direct URL". Where these leave a choice, the result is what ``uv pip install`` makes, byte for
byte, so that both engines give one tree; ``tests/integration/test_wheel_tree.py`` compares them.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import InvalidWheelFilename, canonicalize_name

from envbuilder.model.errors import BuildError, UsageError
from envbuilder.model.filenames import parse_wheel_filename

from .bounds import check_path
from .wheel_rules import ENTRY_POINTS, PATH_RULES, SCRIPT_RULES, broken
from .wheelfile import Member, WheelFile, unfit

INSTALLER = b"envbuilder\n"

_LAUNCHER = """\
#!{python}
# -*- coding: utf-8 -*-
import sys
from {module} import {name}
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit({call}())
"""
_PLACEHOLDER = b"#!python"
# Bytes: WHEEL has a few hundred, and the longest entry_points.txt some ten thousand.
_WHEEL_LIMIT, _ENTRY_POINTS_LIMIT = 1 << 16, 1 << 20
# Rows of RECORD: one for each member, and some for what an installer makes of it.
_ROWS, _ROWS_PER_MEMBER = 10_000, 4
_SCHEMES = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
_VERSIONED_PIP = re.compile(r"pip3\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The virtual environment to install into: its Python (``X.Y``) and absolute prefix."""

    python: str
    prefix: str = "/opt/venv"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"3\.\d+", self.python):
            raise UsageError(f"{self.python!r} is not a Python version: expected 3.N")
        # Shebang lines hold the prefix: no spaces, and 127 bytes in all, or Linux cuts them.
        if not re.fullmatch(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+", self.prefix):
            raise UsageError(f"{self.prefix!r} is not a plain absolute path")
        if len(self.prefix) > 100:
            raise UsageError(f"{self.prefix!r} is too long for the first line of a script")

    @property
    def root(self) -> str:
        """The prefix as a path inside a layer, without the leading slash."""
        return self.prefix[1:]

    @property
    def site_packages(self) -> str:
        """The directory of the modules, relative to the prefix."""
        return f"lib/python{self.python}/site-packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledFile:
    """A file (or a directory, whose path ends with ``/``) to be, relative to the image's root."""

    path: str
    mode: int
    source: Member | bytes


def install(
    wheel: WheelFile, *, target: Target, requested: bool = False, direct_url: bytes | None = None
) -> list[InstalledFile]:
    """Say which files installing ``wheel`` into ``target`` makes, sorted by path.

    ``requested`` adds REQUESTED; ``direct_url`` is the content of ``direct_url.json`` (PEP 610).
    Raises BuildError if the wheel breaks the format.
    """
    extra = {"INSTALLER": INSTALLER}
    if requested:
        extra["REQUESTED"] = b""
    if direct_url is not None:
        extra["direct_url.json"] = direct_url
    return _Installation(wheel, target).files(extra)


class _Installation:
    """One wheel on its way into one target; paths are relative to the target's prefix."""

    def __init__(self, wheel: WheelFile, target: Target) -> None:
        self._wheel = wheel
        self._target = target
        self._stem = _stem(wheel)
        self._info = f"{self._stem}.dist-info"
        self._launchers = dict(self._entry_points())
        self._made: dict[str, tuple[int, Member | bytes]] = {}
        self._rows: dict[str, tuple[str, str]] = {}
        self._taken: dict[str, bool] = {}
        """The places of the image that are taken, each with whether by a folder."""

    def files(self, extra: dict[str, bytes]) -> list[InstalledFile]:
        self._check_format()
        recorded = self._recorded()
        for member in self._wheel.members.values():
            self._place(member, recorded)
        for name, content in self._launchers.items():
            path = f"bin/{name}"
            if path not in self._made:  # the wheel's own "data" may have it, which uv lays over it
                self._take(path)
                self._generate(path, 0o755, content)
        for name, content in extra.items():
            self._generate(self._in_info(name), 0o644, content)
        self._made[self._in_info("RECORD")] = (0o644, self._record())
        files = [
            InstalledFile(path=self._image_path(path), mode=mode, source=source)
            for path, (mode, source) in self._made.items()
        ]
        if why := next(filter(None, (check_path(file.path) for file in files)), ""):
            raise self._broken(f"as it is installed, {why}")
        return sorted(files, key=lambda file: file.path)

    # -- members ----------------------------------------------------------------------------

    def _place(self, member: Member, recorded: dict[str, tuple[str, str]]) -> None:
        path, is_script = self._destination(member.name)
        if path is None or member.name == f"{self._info}/RECORD":
            return
        if is_script and member.is_directory:
            raise self._broken(f"{member.name!r}: scripts cannot have directories")
        if not self._take(path):
            return
        if is_script and self._wheel.starts_with(member, _PLACEHOLDER):
            self._generate(path, 0o755, self._with_shebang(self._wheel.read(member.name)))
            return
        executable = is_script or member.executable or member.is_directory
        self._made[path] = (0o755 if executable else 0o644, member)
        if not member.is_directory:
            self._rows[path] = self._row(member, recorded)

    def _take(self, path: str) -> bool:
        """Claim a path, by its place in the image: ``lib64/x`` and ``lib/x`` are one.

        False for a folder that is there already.
        """
        of_modules = path.startswith(self._target.site_packages)
        if why := "" if of_modules else broken(PATH_RULES, path):
            raise self._broken(f"it installs {path!r}, which {why}")
        place, is_folder = self._image_path(path).removesuffix("/"), path.endswith("/")
        before = self._taken.get(place)
        if before and is_folder:
            return False
        if before is not None:
            raise self._broken(f"it installs {path!r} twice")
        self._taken[place] = is_folder
        return True

    def _row(self, member: Member, recorded: dict[str, tuple[str, str]]) -> tuple[str, str]:
        """Return the wheel's own row, or a true one where that cannot be true.

        Tools that patch binaries and forget RECORD leave sizes that differ.
        """
        digest, size = recorded.get(member.name, ("", str(member.size)))
        if not size or size == str(member.size):
            return digest, size
        hasher = hashlib.sha256()
        for _, content in self._wheel.pieces(member):
            hasher.update(content)
        return _record_hash(hasher.digest()), str(member.size)

    def _destination(self, name: str) -> tuple[str | None, bool]:
        """Map a member to its path; None if it is not installed. The flag marks scripts."""
        root, is_below, rest = name.partition("/")
        if root != f"{self._stem}.data":
            return f"{self._target.site_packages}/{name}", False
        scheme, is_inside, inner = rest.partition("/")
        if not is_below or (rest and not is_inside):
            raise self._broken(f"{name!r}: a file lies in no scheme of its .data directory")
        if not rest or (not inner and scheme in _SCHEMES):  # these directories are no content
            return None, False
        match scheme:
            case "purelib" | "platlib":
                return f"{self._target.site_packages}/{inner}", False
            case "headers":
                project = canonicalize_name(self._stem.partition("-")[0])
                return f"include/site/python{self._target.python}/{project}/{inner}", False
            case "scripts":
                return (None if inner in self._launchers else f"bin/{inner}"), True
            case "data":
                return inner, False
        raise self._broken(f"{name!r}: there is no scheme {scheme!r}")

    def _with_shebang(self, script: bytes) -> bytes:
        rest = script.partition(b"\n")[2]
        return f"#!{self._target.prefix}/bin/python\n".encode() + rest

    def _generate(self, path: str, mode: int, content: bytes) -> None:
        self._made[path] = (mode, content)
        self._rows[path] = (_record_hash(hashlib.sha256(content).digest()), str(len(content)))

    # -- metadata ---------------------------------------------------------------------------

    def _check_format(self) -> None:
        from installer.utils import parse_metadata_file  # noqa: PLC0415 (slow to import)

        text = self._wheel.read(f"{self._info}/WHEEL", limit=_WHEEL_LIMIT).decode(
            "utf-8", "replace"
        )
        version = str(parse_metadata_file(text)["Wheel-Version"] or "")
        if version.partition(".")[0].strip() not in {"0", "1"}:
            raise self._broken(f"its Wheel-Version is {version!r}, only 1.x is known")

    def _entry_points(self) -> Iterator[tuple[str, bytes]]:
        """Yield the launchers of console and GUI scripts; extras do not matter (PyPA: ignored)."""
        from installer.utils import parse_entrypoints  # noqa: PLC0415 (slow to import)

        name = f"{self._info}/entry_points.txt"
        if name not in self._wheel.members:
            return
        try:
            text = self._wheel.read(name, limit=_ENTRY_POINTS_LIMIT).decode()
            found = list(parse_entrypoints(text))
        except (ValueError, configparser.Error, AssertionError, AttributeError) as error:
            raise self._broken(f"{name} cannot be read: {error}") from error
        if len(found) > ENTRY_POINTS:
            raise self._broken(f"{name} defines {len(found)} scripts, more than {ENTRY_POINTS}")
        for script, module, attribute, _ in found:
            if why := broken(SCRIPT_RULES, script):
                raise self._broken(f"{name} defines a script named {script!r}, {why}")
            content = self._launcher(module, attribute)
            if not _VERSIONED_PIP.fullmatch(script):
                yield script, content
            if script == "pip3":  # pip's wheel names the Python that built it, not the target
                yield f"pip{self._target.python}", content

    def _launcher(self, module: str, attribute: str) -> bytes:
        return _LAUNCHER.format(
            python=f"{self._target.prefix}/bin/python",
            module=module,
            name=attribute.partition(".")[0],
            call=attribute,
        ).encode()

    def _recorded(self) -> dict[str, tuple[str, str]]:
        """Read the wheel's RECORD: member to (hash, size). Sizes are checked, hashes are not.

        The lock pins the whole wheel and each CRC-32 is checked; a RECORD inside the same file
        proves nothing more, and hashing every file again would double the cost.
        """
        most_rows = max(_ROWS, _ROWS_PER_MEMBER * len(self._wheel.members))
        try:
            text = self._wheel.read(f"{self._info}/RECORD").decode()
            found: dict[str, tuple[str, str]] = {}
            for number, row in enumerate(csv.reader(io.StringIO(text, newline=""))):
                if number >= most_rows:
                    raise self._broken(f"its RECORD has more than {most_rows} rows")
                if not row:  # an empty line, as uv has it
                    continue
                path, digest, size = row
                if (name := path.replace("\\", "/")) in self._wheel.members:
                    found[name] = digest, size
        except (ValueError, csv.Error) as error:
            raise self._broken(f"its RECORD cannot be read: {error}") from error
        return found

    def _record(self) -> bytes:
        """Write RECORD: a row per file that is really there, sorted, paths from site-packages."""
        rows = {self._in_info("RECORD"): ("", "")} | self._rows
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(
            sorted(
                (self._from_site_packages(path), digest, size)
                for path, (digest, size) in rows.items()
            )
        )
        return text.getvalue().encode()

    def _from_site_packages(self, path: str) -> str:
        inside = path.removeprefix(f"{self._target.site_packages}/")
        return inside if inside != path else f"../../../{path}"  # lib/pythonX.Y/site-packages

    def _in_info(self, name: str) -> str:
        return f"{self._target.site_packages}/{self._info}/{name}"

    def _image_path(self, path: str) -> str:
        """Follow the environment's ``lib64`` link, which stands in another layer."""
        if path.startswith("lib64/"):
            path = f"lib/{path.removeprefix('lib64/')}"
        return f"{self._target.root}/{path}"

    def _broken(self, why: str) -> BuildError:
        return unfit(self._wheel.filename, why)


def _stem(wheel: WheelFile) -> str:
    """Return ``NAME-VERSION`` as the wheel's only ``.dist-info`` directory spells it."""
    try:
        name = parse_wheel_filename(wheel.filename)[0]
    except InvalidWheelFilename as error:
        raise BuildError(str(error)) from error
    tops = {member.partition("/")[0] for member in wheel.members}
    stems = sorted(top.removesuffix(".dist-info") for top in tops if top.endswith(".dist-info"))
    if len(stems) != 1 or canonicalize_name(stems[0].partition("-")[0]) != name:
        found = ", ".join(stems) or "none"
        raise unfit(wheel.filename, f"expected one .dist-info of {name}, found {found}")
    return stems[0]


def _record_hash(digest: bytes) -> str:
    return f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
