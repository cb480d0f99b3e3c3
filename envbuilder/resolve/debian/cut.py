"""One root file system cut into layers by the owner of each file, in the order that they come.

Each layer is a whole tar: the folders above its files stand in it with the owner and mode that
they have in the root file system, so laying one over another changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from envbuilder.layers.tar import END, parents

from .owners import Owners

Write = Callable[[bytes], object]


class Cut:
    """Takes entries sorted by path, and hands each to its layer, of which ``writes`` has one each.

    ``places`` says which layer a package's files are in; the last layer takes what nobody owns.
    """

    def __init__(
        self, writes: Sequence[Write], *, owners: Owners, places: Mapping[str, int]
    ) -> None:
        self._writes = writes
        self._owners = owners
        self._places = places
        self._folders: dict[str, bytes] = {}
        self._written: set[tuple[int, str]] = set()
        self._shown: set[str] = set()

    def folder(self, path: str, head: bytes) -> None:
        """Announce a folder by its header; it is written where something lies in it, or alone."""
        self._folders[f"{path}/"] = head

    def file(self, path: str, head: bytes, *, link: str | None = None) -> Write:
        """Write what announces a file, and return what takes its content.

        A hard link's ``link`` is its target, whose layer it shares.
        """
        place = self.place(path if link is None else link)
        self._ensure(parents(path), place)
        self._writes[place](head)
        return self._writes[place]

    def finish(self) -> None:
        """Write the folders that nothing lies in, each to its owner's layer, and end all tars."""
        for folder in sorted(self._folders, reverse=True):  # what lies in a folder comes first
            if folder not in self._shown:
                self._ensure((*parents(folder), folder), self.place(folder.rstrip("/")))
        for write in self._writes:
            write(END)

    def place(self, path: str) -> int:
        """Say which layer holds a path."""
        owner = self._owners.of(path)
        rest = len(self._writes) - 1
        return rest if owner is None else self._places.get(owner, rest)

    def _ensure(self, folders: Iterable[str], place: int) -> None:
        for folder in folders:
            if (place, folder) not in self._written:
                self._written.add((place, folder))
                self._shown.add(folder)
                if folder in self._folders:
                    self._writes[place](self._folders[folder])
