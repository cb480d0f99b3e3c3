"""A layer blob into a directory of its own, for a container runtime to mount.

Nothing is written outside of that directory: parents are resolved as a chroot would, so a link to
``/etc`` inside a layer means the layer's own ``etc``. Whiteouts (``.wh.`` names, image-spec
"Whiteouts") become plain empty files; what they mean is for whoever stacks the directories.

The directory lies on this host, where others may reach it and we may be root. So what an image
could use against the host is never made: device nodes, FIFOs and sockets are deleted paths instead
(``.wh.NAME``), files have no set-id bits, and of extended attributes only the user's own and access
lists are kept. A container misses none of it: it starts without capabilities and may gain none
(``noNewPrivileges``), and its devices are the runtime's.
"""

# A hundred thousand entries: a Path object for each would cost as much as the file itself.
# ruff: noqa: PTH101, PTH102, PTH108, PTH115, PTH123, PTH211

from __future__ import annotations

import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from envbuilder.model.errors import BuildError
from envbuilder.model.reference import Digest
from envbuilder.storage.temporary import translated

from .untar import TarEntry, Untar, untar

_XATTR = "SCHILY.xattr."
# Of these alone: "security." holds file capabilities, "trusted." and "*.overlay.*" steer overlayfs.
_HARMLESS = ("user.", "system.posix_acl_")
_WHITEOUT = ".wh."
_NAME_MAX = 255  # bytes of a file's name on every file system of Linux
_CONTENT = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_ATTRIBUTES = 1 << 17  # bytes of a path and its attributes; Linux takes half of it for one
_LINKS = 40  # as many symbolic links as Linux follows


def unpack(blob: Path, media_type: str, into: Path, *, diff_id: Digest) -> None:
    """Unpack a layer (tar, tar+gzip, tar+zstd) into the directory ``into`` and check ``diff_id``.

    Owners need root; without it they are left out. Raises BuildError for a damaged layer and for
    entries that climb out of it.
    """
    with translated(into), untar(blob, media_type, diff_id) as entries:
        _Tree(into).fill(entries)


class _Tree:
    """A directory that entries are written into."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root.absolute())
        self._is_root = os.geteuid() == 0
        self._parents: dict[str, str] = {}
        self._directories: dict[str, TarEntry] = {}
        self._left_out: set[str] = set()

    def fill(self, entries: Untar) -> None:
        for entry in entries.entries():
            parts = _parts(entry.info.name)
            if not parts:
                self._keep(self._root, entry, entries)
                continue
            path = f"{self._folder(tuple(parts[:-1]))}/{parts[-1]}"
            self._write(path, entry, entries)
        # Last, and innermost first: a read-only directory could not be filled, and filling it
        # would change its time.
        for path, entry in sorted(self._directories.items(), reverse=True):
            self._finish(path, entry)

    def _write(self, path: str, entry: TarEntry, entries: Untar) -> None:
        info = entry.info
        if info.isdir():
            self._make_directory(path)
            self._keep(path, entry, entries)
            return
        if info.islnk():
            self._link(path, info.linkname)
            return
        if info.issym():
            self._replace(path)
            os.symlink(info.linkname, path)
        elif info.type in _CONTENT:
            self._make_file(path, entries)
        else:
            self._leave_out(path)
            return
        self._finish(path, entry)

    def _keep(self, path: str, entry: TarEntry, entries: Untar) -> None:
        """Keep what a directory will get at the end."""
        entries.budget.hold(path, sum(map(len, entry.pax.values())), limit=_ATTRIBUTES)
        self._directories[path] = entry

    def _make_file(self, path: str, entries: Untar) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            fd = os.open(path, flags, 0o600)
        except FileExistsError:
            self._replace(path)
            fd = os.open(path, flags, 0o600)
        with open(fd, "wb") as file:
            file.writelines(entries.content())

    def _make_directory(self, path: str) -> None:
        if not stat.S_ISDIR(_mode(path)):
            self._replace(path)
            os.mkdir(path, 0o700)

    def _leave_out(self, path: str) -> None:
        """Delete ``path`` instead of making it: a file of a lower layer must not show through."""
        self._replace(path)
        self._left_out.add(path)
        folder, _, name = path.rpartition("/")
        mark = f"{_WHITEOUT}{name}"
        if len(os.fsencode(mark)) <= _NAME_MAX and not _mode(f"{folder}/{mark}"):
            os.close(os.open(f"{folder}/{mark}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def _link(self, path: str, name: str) -> None:
        parts = _parts(name)
        source = f"{self._folder(tuple(parts[:-1]))}/{parts[-1]}" if parts else self._root
        if source == path:
            return
        if source in self._left_out and not _mode(source):
            self._leave_out(path)
            return
        self._replace(path)
        try:
            os.link(source, path, follow_symlinks=False)
        except FileNotFoundError as error:
            raise BuildError(f"{path!r} is a hard link to {name!r}, which is not there") from error

    def _finish(self, path: str, entry: TarEntry) -> None:
        """Set owner, attributes, mode and time."""
        info = entry.info
        if self._is_root:
            os.chown(path, info.uid, info.gid, follow_symlinks=False)
        for key, value in entry.pax.items():
            name = key.removeprefix(_XATTR)
            if name != key and name.startswith(_HARMLESS) and ".overlay." not in name:
                _set_attribute(path, name, value)
        if not info.issym():
            # A directory's set-gid bit only says which group new files get.
            os.chmod(path, info.mode & (0o7777 if info.isdir() else 0o1777))
        os.utime(path, (info.mtime, info.mtime), follow_symlinks=False)

    def _replace(self, path: str) -> None:
        """Clear the place of a new entry: within a layer, the later one counts."""
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            for gone, _, _ in os.walk(path):
                self._directories.pop(gone, None)
            shutil.rmtree(path)
        elif mode:
            os.unlink(path)
        if mode:
            self._parents.clear()

    def _folder(self, parts: tuple[str, ...]) -> str:
        """Return the real directory of ``parts`` inside the tree; make what is missing."""
        key = "/".join(parts)
        found = self._parents.get(key)
        if found is None:
            found = self._parents[key] = self._resolved(list(parts))
        return found

    def _resolved(self, parts: list[str]) -> str:
        """Walk from the root; links are followed inside of it, as after a chroot."""
        at: list[str] = []
        links = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                del at[-1:]
                continue
            path = "/".join((self._root, *at, part))
            mode = _mode(path)
            if not stat.S_ISLNK(mode):
                if not mode:
                    os.mkdir(path, 0o755)
                at.append(part)
                continue
            links += 1
            if links > _LINKS:
                raise BuildError(f"{path!r} leads through too many symbolic links")
            target = os.readlink(path)
            if target.startswith("/"):
                at = []
            parts = [*_split(target), *parts]
        return "/".join((self._root, *at))


def _parts(name: str) -> list[str]:
    parts = list(_split(name))
    if ".." in parts or "\0" in name:
        raise BuildError(f"the layer has an entry {name!r}, which climbs out of it")
    return parts


def _split(path: str) -> Iterator[str]:
    return (part for part in path.split("/") if part not in {"", "."})


def _mode(path: str) -> int:
    """Return the mode of ``path`` itself, 0 if there is nothing."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0


def _set_attribute(path: str, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:  # file systems and users differ in what they may hold
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
