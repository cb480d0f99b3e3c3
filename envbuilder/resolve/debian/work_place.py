"""Where a Debian base is unpacked: outside of the store, and gone when its process is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from envbuilder.storage.temporary import Temporary, remove_abandoned, translated

from .mmdebstrap import remove_leftovers

_KIND = "envbuilder-debian-base"  # no work folder: what may be mounted in it goes first


@contextmanager
def work_place() -> Iterator[Path]:
    """Lend a folder that other users may enter, unlike the store; take it back whatever.

    What dead processes left goes first, whichever store they built for: a base takes gigabytes,
    and their store may be gone. So this is no place for a /tmp in memory either.
    """
    place = Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108
    with translated(place):
        remove_abandoned(place, _KIND, remove=remove_leftovers)
    with Temporary.create(place, _KIND, directory=True) as temporary:
        temporary.path.chmod(0o755)  # whatever the umask
        try:
            yield temporary.path
        finally:
            remove_leftovers(temporary.path)
