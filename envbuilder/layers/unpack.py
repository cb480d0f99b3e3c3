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
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.reference import Digest
from envbuilder.storage.temporary import REFUSALS, translated

from .bounds import LINKS, PARTS, Budget, check_path
from .untar import TarEntry, Untar, untar

_XATTR = "SCHILY.xattr."
# Of these alone: "security." holds file capabilities, "trusted." and "*.overlay.*" steer overlayfs.
_HARMLESS = ("user.", "system.posix_acl_")
_WHITEOUT = ".wh."
_NAME_MAX = 255  # bytes of a file's name on every file system of Linux
_CONTENT = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_ATTRIBUTES = 1 << 17  # bytes of a path and its attributes; Linux takes half of it for one
_MAY_LACK = (errno.EPERM, errno.ENOTSUP)  # file systems and users differ in what they may hold
_NOT_ITS_FAULT = (*REFUSALS, errno.EIO)


def unpack(
    blob: Path, media_type: str, into: Path, *, diff_id: Digest, within: Budget | None = None
) -> None:
    """Unpack a layer (tar, tar+gzip, tar+zstd) into the directory ``into`` and check ``diff_id``.

    Owners need root; without it they are left out. Raises BuildError for a damaged layer, for
    entries that climb out of it and such as no file system could hold, and for a full disk.
    ``within`` is what is left for its image.
    """
    with translated(into), untar(blob, media_type, diff_id, within=within) as entries:
        _Tree(into, entries).fill()


class _Tree:
    """A directory that entries are written into."""

    def __init__(self, root: Path, entries: Untar) -> None:
        self._root = os.fspath(root.absolute())
        self._is_root = os.geteuid() == 0
        self._entries = entries
        self._budget = entries.budget
        self._parents: dict[str, str] = {}
        self._directories: dict[str, TarEntry] = {}
        self._left_out: set[str] = set()

    def fill(self) -> None:
        for entry in self._entries.entries():
            with self._blamed(entry):
                path = self._place(entry.info.name)
                file = self._opened(path, entry)
            if file is not None:
                with file:  # what fails here is the disk's doing, or the blob's
                    file.writelines(self._entries.content())
            with self._blamed(entry):
                self._make(path, entry)
        # Last, and innermost first: a read-only directory could not be filled, and filling it
        # would change its time.
        for path, entry in sorted(self._directories.items(), reverse=True):
            with self._blamed(entry):
                self._finish(path, entry)

    @contextmanager
    def _blamed(self, entry: TarEntry) -> Iterator[None]:
        """Blame ``entry`` for what no file system could make; the machine's own faults stay."""
        try:
            yield
        except (OSError, ValueError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno in _NOT_ITS_FAULT:
                raise
            why = (error.strerror if isinstance(error, OSError) else "") or str(error)
            raise self._refused(entry.info.name, why) from error

    def _refused(self, name: str, why: str) -> EnvbuilderError:
        return self._budget.refuse(f"entry {name[:200]!r} cannot be made: {why}")

    def _make(self, path: str, entry: TarEntry) -> None:
        """Make ``path`` what ``entry`` says; of a file, all but its content."""
        info = entry.info
        if path == self._root:
            self._keep(path, entry)
        elif info.isdir():
            self._make_directory(path)
            self._keep(path, entry)
        elif info.islnk():
            self._link(path, info)
        elif info.issym():
            self._replace(path)
            os.symlink(info.linkname, path)
            self._finish(path, entry)
        elif info.type in _CONTENT:
            self._finish(path, entry)
        else:
            self._leave_out(path)

    def _keep(self, path: str, entry: TarEntry) -> None:
        """Keep what a directory will get at the end."""
        size = sum(len(key) + len(value) for key, value in entry.pax.items())
        self._budget.hold(path, size, limit=_ATTRIBUTES)
        self._budget.name(path)
        self._directories[path] = entry

    def _opened(self, path: str, entry: TarEntry) -> BinaryIO | None:
        """Make the file, where ``entry`` is one, and open it for its content."""
        if entry.info.type not in _CONTENT or path == self._root:
            return None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            fd = os.open(path, flags, 0o600)
        except FileExistsError:
            self._replace(path)
            fd = os.open(path, flags, 0o600)
        return open(fd, "wb")

    def _make_directory(self, path: str) -> None:
        if not stat.S_ISDIR(_mode(path)):
            self._replace(path)
            os.mkdir(path, 0o700)

    def _leave_out(self, path: str) -> None:
        """Delete ``path`` instead of making it: a file of a lower layer must not show through."""
        self._replace(path)
        self._budget.name(path)
        self._left_out.add(path)
        folder, _, name = path.rpartition("/")
        mark = f"{_WHITEOUT}{name}"
        if len(os.fsencode(mark)) <= _NAME_MAX and not _mode(f"{folder}/{mark}"):
            os.close(os.open(f"{folder}/{mark}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def _link(self, path: str, info: tarfile.TarInfo) -> None:
        source = self._place(info.linkname)
        if source == path:
            return
        mode = _mode(source)
        if source in self._left_out and not mode:
            self._leave_out(path)
            return
        if not mode or stat.S_ISDIR(mode):
            what = "a folder" if mode else "not there"
            raise self._refused(
                info.name, f"it is a hard link to {info.linkname!r}, which is {what}"
            )
        self._replace(path)
        os.link(source, path, follow_symlinks=False)

    def _finish(self, path: str, entry: TarEntry) -> None:
        """Set owner, attributes, mode and time."""
        info = entry.info
        if self._is_root:
            os.chown(path, info.uid, info.gid, follow_symlinks=False)
        for key, value in entry.pax.items():
            name = key.removeprefix(_XATTR)
            if name != key and name.startswith(_HARMLESS) and ".overlay." not in name:
                self._set_attribute(path, entry, name, value)
        if not info.issym():
            # A directory's set-gid bit only says which group new files get.
            os.chmod(path, info.mode & (0o7777 if info.isdir() else 0o1777))
        os.utime(path, (info.mtime, info.mtime), follow_symlinks=False)

    def _set_attribute(self, path: str, entry: TarEntry, name: str, value: bytes) -> None:
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno in _MAY_LACK:
                return
            # ENOSPC as well: here it says that there is no room beside the file, not on the disk.
            if error.errno in _NOT_ITS_FAULT and error.errno != errno.ENOSPC:
                raise
            what = f"its attribute {name[:60]!r} of {len(value)} bytes"
            raise self._refused(entry.info.name, f"{what}: {error.strerror}") from error

    def _replace(self, path: str) -> None:
        """Clear the place of a new entry: within a layer, the later one counts."""
        mode = _mode(path)
        if stat.S_ISDIR(mode):
            for gone, _, _ in os.walk(path):
                self._directories.pop(gone, None)
            shutil.rmtree(path)
        elif mode:
            os.unlink(path)
        if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):  # paths may lead through it
            self._parents.clear()

    def _place(self, name: str) -> str:
        """Return where the entry ``name`` lies; make the folders that are missing above it."""
        parts = list(_split(name))
        if ".." in parts or "\0" in name:
            raise self._budget.refuse(f"it has an entry {name[:200]!r}, which climbs out of it")
        if why := check_path(name):
            raise self._budget.refuse(why)
        return f"{self._folder('/'.join(parts[:-1]))}/{parts[-1]}" if parts else self._root

    def _folder(self, path: str) -> str:
        """Return the real directory of ``path`` inside the tree; make what is missing."""
        if not path:
            return self._root
        found = self._parents.get(path)
        if found is None:
            above, _, name = path.rpartition("/")
            found = self._entered(self._folder(above), name)
            self._budget.name(path)
            self._budget.name(found)
            self._parents[path] = found
        return found

    def _entered(self, at: str, name: str) -> str:
        """Walk on to ``name``; links are followed inside of the tree, as after a chroot."""
        rest = [name]
        links = steps = 0
        while rest:
            part = rest.pop()
            steps += 1
            self._budget.step()
            if part == "..":
                at = at.rpartition("/")[0] if at != self._root else at
                continue
            path = f"{at}/{part}"
            mode = _mode(path)
            if not stat.S_ISLNK(mode):
                if not mode:
                    self._make_missing(path)
                at = path
                continue
            links += 1
            if links > LINKS or steps > PARTS:
                raise self._budget.refuse(f"{path!r} leads through too many symbolic links")
            target = os.readlink(path)
            if target.startswith("/"):
                at = self._root
            rest += reversed(list(_split(target)))
        return at

    def _make_missing(self, path: str) -> None:
        """Make a folder that no entry names; it counts as if one did."""
        self._budget.member(path.removeprefix(f"{self._root}/"))
        os.mkdir(path, 0o755)


def _split(path: str) -> Iterator[str]:
    return (part for part in path.split("/") if part not in {"", "."})


def _mode(path: str) -> int:
    """Return the mode of ``path`` itself, 0 if there is nothing."""
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0
