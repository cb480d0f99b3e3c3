"""A layer blob into a directory of its own, for a container runtime to mount.

Nothing is written outside of that directory: parents are resolved as a chroot would, so a link to
``/etc`` inside a layer means the layer's own ``etc``. Whiteouts (``.wh.`` names, image-spec
"Whiteouts") become plain empty files; what they mean is for whoever stacks the directories.
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
_LINKS = 40  # as many symbolic links as Linux follows


def unpack(blob: Path, media_type: str, into: Path, *, diff_id: Digest) -> None:
    """Unpack a layer (tar, tar+gzip, tar+zstd) into the directory ``into`` and check ``diff_id``.

    Owners, devices and privileged attributes need root; without it they are left out. Raises
    BuildError for a damaged layer and for entries that climb out of it.
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

    def fill(self, entries: Untar) -> None:
        for entry in entries.entries():
            parts = _parts(entry.info.name)
            if not parts:
                self._directories[self._root] = entry
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
            self._directories[path] = entry
            return
        if info.islnk():
            self._link(path, info.linkname)
            return
        if info.issym():
            self._replace(path)
            os.symlink(info.linkname, path)
        elif info.ischr() or info.isblk() or info.isfifo():
            if not self._make_node(path, info):
                return
        else:
            self._make_file(path, entries)
        self._finish(path, entry)

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

    def _make_node(self, path: str, info: tarfile.TarInfo) -> bool:
        """Make a FIFO, or a device where we may: no container needs those of an image."""
        self._replace(path)
        if info.isfifo():
            os.mkfifo(path, 0o600)
            return True
        kind = stat.S_IFCHR if info.ischr() else stat.S_IFBLK
        try:
            os.mknod(path, kind | 0o600, os.makedev(info.devmajor, info.devminor))
        except PermissionError:
            return False
        return True

    def _link(self, path: str, name: str) -> None:
        parts = _parts(name)
        source = f"{self._folder(tuple(parts[:-1]))}/{parts[-1]}" if parts else self._root
        if source == path:
            return
        self._replace(path)
        try:
            os.link(source, path, follow_symlinks=False)
        except FileNotFoundError as error:
            raise BuildError(f"{path!r} is a hard link to {name!r}, which is not there") from error

    def _finish(self, path: str, entry: TarEntry) -> None:
        """Set owner, attributes, mode and time; in this order, for chown clears set-uid bits."""
        info = entry.info
        if self._is_root:
            os.chown(path, info.uid, info.gid, follow_symlinks=False)
        for key, value in entry.pax.items():
            # overlayfs takes attributes of its own as orders; a layer may not give them
            if key.startswith(_XATTR) and ".overlay." not in key:
                _set_attribute(path, key.removeprefix(_XATTR), value)
        if not info.issym():
            os.chmod(path, info.mode & 0o7777)
        os.utime(path, (info.mtime, info.mtime), follow_symlinks=False)

    def _replace(self, path: str) -> None:
        """Clear the place of a new entry: within a layer, the later one counts."""
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            shutil.rmtree(path)
        elif mode:
            os.unlink(path)
        if mode:
            self._parents.clear()
            for gone in [each for each in self._directories if f"{each}/".startswith(f"{path}/")]:
                del self._directories[gone]

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
