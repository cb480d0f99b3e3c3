"""An sdist, or a packed folder, in the store: its files, read one by one or written out whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from envbuilder.layers.bounds import WHOLE
from envbuilder.layers.tar import MTIME
from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest
from envbuilder.resolve.settle import settle
from envbuilder.storage.temporary import translated

from .members import Member, members

_LATEST = (1 << 32) - 1  # seconds; what every file system can tell
_CHAIN = 8  # members that each repeat another one


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The archive at ``path``, which people know as ``filename`` and hashes know as ``sha256``.

    ``time`` (seconds since 1970) is what all its files get.
    """

    path: Path
    filename: str
    sha256: Digest
    time: int = MTIME

    @property
    def identity(self) -> str:
        """What it is, by content."""
        return self.sha256.hex

    @property
    def place(self) -> str:
        """How errors call it."""
        return self.filename

    @property
    def facts(self) -> Mapping[str, object]:
        """What an answer about its files depends on."""
        return {"archive": str(self.sha256)}

    def read(self, path: str) -> bytes | None:
        """Read a file; None if there is no plain file of that name. Raises BuildError."""
        for _ in range(_CHAIN):
            found, content = None, b""
            for member in members(self.path, self.filename):
                if member.path == path:
                    found, content = member, self._whole(member)
            if found is None or found.kind != "same":
                return content if found is not None and found.kind == "file" else None
            path = found.target
        raise self._refused(f"{path!r} is a link to a link to a link")

    def write(self, folder: Path) -> None:
        """Make ``folder`` and write all files into it, modes and times settled.

        Links come last, so that nothing is ever written through one. Raises BuildError.
        """
        links: dict[str, str] = {}
        with translated(folder):
            folder.mkdir(parents=True)
            for member in members(self.path, self.filename):
                if member.kind == "link":
                    links[member.path] = member.target
                else:
                    self._write(member, folder)
            for path, target in links.items():
                if any(str(parent) in links for parent in PurePosixPath(path).parents):
                    raise self._refused(f"{path!r} lies below a link")
                self._free(folder / path).symlink_to(target)
            settle(folder, self.time)

    def youngest(self) -> int:
        """Return the time of the youngest file, in seconds since 1970."""
        files = (each for each in members(self.path, self.filename) if each.kind == "file")
        return min(max((each.time for each in files), default=MTIME), _LATEST)

    def _write(self, member: Member, folder: Path) -> None:
        place = folder / member.path
        if member.kind == "folder":
            self._make(place, folder)
            return
        self._make(place.parent, folder)
        if member.kind == "same":
            source = folder / member.target
            if not source.is_file():
                raise self._refused(f"{member.path!r} repeats {member.target!r}, which is missing")
            self._free(place).write_bytes(source.read_bytes())
            place.chmod(source.stat().st_mode)
            return
        place.unlink(missing_ok=True) if place.is_file() else self._free(place)
        with place.open("xb") as file:
            file.writelines(member.content)
        place.chmod(0o755 if member.executable else 0o644)

    def _make(self, place: Path, folder: Path) -> None:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            path = place.relative_to(folder)
            raise self._refused(f"{str(path)!r} is a file and a folder") from error

    def _free(self, place: Path) -> Path:
        """Return ``place``, which must not be taken; its folder is made."""
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or place.exists():
            raise self._refused(f"{place.name!r} is there twice")
        return place

    def _refused(self, why: str) -> BuildError:
        hint = "no honest sdist is made like that"
        return BuildError(f"{self.filename} is refused: {why}", hint=hint)

    def _whole(self, member: Member) -> bytes:
        content = bytearray()
        for piece in member.content:
            content += piece
            if len(content) > WHOLE:
                raise self._refused(f"{member.path!r} is no text of a sensible length")
        return bytes(content)
