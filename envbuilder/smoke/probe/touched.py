"""Which files of the image a start touches, and of large mapped ones which chunks.

What Python opens to read, an audit hook sees (PEP 578), and counts as read whole. Libraries are
mapped, and of these the kernel says which pages this process has (proc(5), "pagemap"): pages that
are merely in the page cache, read ahead or needed by others, are not among them. A fault brings
along up to 64 KiB around it, so a chunk's neighbour may count where the fault was at its edge.

Not seen: what native code reads without mapping it, and what was unmapped before the look.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import re
import stat
import sys
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Set

from .facts import Facts

CHUNK = 4 << 20
"""Bytes: as large as the pieces that lazy pullers fetch."""
PAGE = os.sysconf("SC_PAGE_SIZE")
HELD = 1 << 62
"""An entry of pagemap that is as large holds a page: in memory (bit 63) or in swap (bit 62)."""
ENTRY = 8
"""Bytes of such an entry."""
LONGEST = 2 << 20
"""Bytes of all names as JSON; more are not told, for the whole document has a limit, too."""

_OCTAL = re.compile(r"\\([0-7]{3})")

Chunks = Dict[str, Set[int]]


class Mapping(NamedTuple):
    """A part of a file in the memory of a process: addresses, and where in the file it begins."""

    start: int
    end: int
    offset: int
    path: str


class Recorder:
    """Remembers what this process opens to read, from now to its end."""

    def __init__(self) -> None:
        self._opened: Set[str] = set(_loaded())
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note a file that is opened to read; what this raised would reach whoever opens it."""
        if event != "open" or not isinstance(arguments[0], (str, bytes)):
            return
        path, flags = os.fsdecode(arguments[0]), arguments[2]
        if isinstance(flags, int) and flags & os.O_ACCMODE != os.O_WRONLY:
            with contextlib.suppress(OSError):  # the working directory may be gone
                self._opened.add(path if path.startswith("/") else os.path.abspath(path))

    def facts(self, top: str = "/") -> Facts:
        """Return what was touched so far: whole files, and chunks of what is mapped of ``top``."""
        mapped = touched_chunks("self", top)
        return {"files": sorted(self._opened - mapped.keys()), "chunks": _plain(mapped)}


def of_session(leader: int) -> Facts:
    """Return what the processes of a session have mapped; only now do they all still live."""
    found: Chunks = {}
    for process in _session(leader):
        for path, chunks in touched_chunks(process).items():
            found.setdefault(path, set()).update(chunks)
    return {"files": [], "chunks": _plain(found)}


def touched_chunks(process: str, top: str = "/") -> Chunks:
    """Return of each file of ``top`` that ``process`` has mapped the chunks that it has pages of.

    The first counts in any case: whoever maps a library has read its head. Where the kernel does
    not tell of pages, all chunks that are mapped count. Nothing of a process that has ended.
    """
    found: Chunks = {}
    try:
        parts = list(mappings(process, _Place(top)))
    except OSError:
        return found
    for part in parts:
        found.setdefault(part.path, {0}).update(_chunks(process, part))
    return found


def mappings(process: str, place: _Place) -> Iterator[Mapping]:
    """Yield the parts of the files of ``place`` that are mapped (proc(5), "maps")."""
    with open(f"/proc/{process}/maps", encoding="utf-8", errors="surrogateescape") as stream:
        for line in stream:
            addresses, _, offset, _, _, *path = line.rstrip("\n").split(None, 5)
            name = path[0].replace("\\012", "\n") if path else ""
            if place.has(name):
                start, end = (int(address, 16) for address in addresses.split("-"))
                yield Mapping(start, end, int(offset, 16), name)


def _chunks(process: str, part: Mapping) -> Iterator[int]:
    """Yield the chunks of a file that ``process`` has pages of, as far as ``part`` reaches."""
    pages = (part.end - part.start) // PAGE
    first = part.offset // PAGE
    entries = _entries(process, part.start // PAGE, pages)
    per_chunk = CHUNK // PAGE
    at = 0
    while at < pages:
        chunk, inside = divmod(first + at, per_chunk)
        until = min(pages, at + per_chunk - inside)
        if entries is None or max(entries[at:until], default=0) >= HELD:
            yield chunk
        at = until


def _entries(process: str, first: int, count: int) -> array.array[int] | None:
    """Return what the kernel says of ``count`` pages; None if it says nothing to us."""
    found = array.array("Q")
    try:
        with open(f"/proc/{process}/pagemap", "rb", buffering=0) as stream:
            stream.seek(first * ENTRY)
            found.frombytes(stream.read(count * ENTRY))
    except (OSError, ValueError):
        return None
    return found


def _loaded() -> Iterator[str]:
    """Yield the files of the modules that were imported before anybody looked."""
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.has_location and spec.origin:
            cached = spec.cached
            compiled = isinstance(cached, str) and os.path.isfile(cached)
            yield os.path.abspath(cached if compiled else spec.origin)


def _session(leader: int) -> Iterator[str]:
    """Yield the processes whose session ``leader`` began (proc(5), "stat": the sixth field)."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as stream:
                fields = stream.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[3]) == leader:
            yield name


def _plain(chunks: Chunks) -> Dict[str, List[int]]:
    return {path: sorted(found) for path, found in chunks.items()}


def together(each: Iterable[Facts], top: str = "/") -> Facts:
    """Return what several jobs touched, as the document tells it: what lies in the image alone.

    Folders with their names keep it small. ``bytes`` are those of what was touched, ``of`` those
    of all files that the image shows, which is at ``top``.
    """
    place = _Place(top)
    whole: Set[str] = set()
    parts: Chunks = {}
    for facts in each:
        whole.update(place.files(facts["files"]))
        for path, chunks in facts["chunks"].items():
            for found in place.files([path]):
                parts.setdefault(found, set()).update(chunks)
    sizes = {path: os.path.getsize(path) for path in {*whole, *parts}}
    if len(json.dumps(list(sizes))) > LONGEST:
        return {"problem": f"{len(sizes)} files are more than the document has room for"}
    large = {path: chunks for path, chunks in parts.items() if sizes[path] > CHUNK}
    whole = (whole | parts.keys()) - large.keys()
    return {
        "files": _by_folder(whole),
        "chunks": [{"path": path, "numbers": sorted(large[path])} for path in sorted(large)],
        "bytes": sum(sizes[path] for path in whole)
        + sum(extent(sizes[path], chunks) for path, chunks in large.items()),
        "of": place.size(),
    }


class _Place:
    """The files below ``top``, without what is mounted over them (proc(5), "mountinfo")."""

    def __init__(self, top: str) -> None:
        self._top = top.rstrip("/") + "/"
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            places = [_OCTAL.sub(_character, line.split()[4]) + "/" for line in stream]
        self._mounts = tuple(one for one in places if one != self._top and self._below(one))

    def _below(self, path: str) -> bool:
        return path.startswith(self._top)

    def has(self, path: str) -> bool:
        """Return whether ``path``, which leads through no link, is one of them."""
        return self._below(path) and not f"{path}/".startswith(self._mounts)

    def files(self, paths: Iterable[str]) -> Iterator[str]:
        """Yield which of ``paths`` are regular files of these, by their own names."""
        for path in paths:
            try:
                real = os.path.realpath(path)
                regular = stat.S_ISREG(os.stat(real).st_mode)
                real.encode()
            except (OSError, ValueError):
                continue  # it is gone, was asked for in vain, or has a name that JSON cannot hold
            if regular and self.has(real):
                yield real

    def size(self) -> int:
        """Return the bytes of all of them, each once however often it is linked."""
        total = 0
        linked: Set[tuple[int, int]] = set()
        folders = [self._top]
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError:
                continue  # not for this user: nor does a start touch it
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders += [entry.path] if self.has(entry.path) else []
                elif entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    key = (found.st_dev, found.st_ino)
                    total += 0 if key in linked else found.st_size
                    linked.update([key] if found.st_nlink > 1 else [])
        return total


def _character(escaped: re.Match[str]) -> str:
    return chr(int(escaped[1], 8))


def _by_folder(paths: Iterable[str]) -> List[Facts]:
    found: Dict[str, List[str]] = {}
    for path in sorted(paths):
        folder, _, name = path.rpartition("/")
        found.setdefault(folder or "/", []).append(name)
    return [{"folder": folder, "names": found[folder]} for folder in sorted(found)]


def extent(size: int, chunks: Iterable[int]) -> int:
    """Return the bytes of ``chunks`` in a file of ``size``: its last one is shorter."""
    return sum(max(0, min(CHUNK, size - number * CHUNK)) for number in chunks)
