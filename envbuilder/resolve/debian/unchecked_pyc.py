"""Make every compiled module under /usr valid whatever its source's time stamp becomes.

Runs inside a fresh root file system, by its own Python (3.9 or newer). Debian compiles modules
against their sources' times, which a layer replaces, or, under SOURCE_DATE_EPOCH, against their
hashes, which Python then computes at every start. PEP 552's unchecked hashes need neither.
"""

import os
import sys
from importlib.util import MAGIC_NUMBER, source_from_cache, source_hash


def number(value: int) -> bytes:
    """Encode a number as .pyc headers do."""
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


TIMED, UNCHECKED, CHECKED = number(0), number(1), number(3)


def settle(path: str) -> None:
    """Rewrite one .pyc file's header; remove the file if it does not belong to its source."""
    try:
        with open(source_from_cache(path), "rb") as file:  # noqa: PTH123
            source = file.read()
            modified = int(os.fstat(file.fileno()).st_mtime)
    except (FileNotFoundError, ValueError):
        os.unlink(path)  # noqa: PTH108
        return
    wanted = MAGIC_NUMBER + UNCHECKED + source_hash(source)
    fresh = (
        MAGIC_NUMBER + TIMED + number(modified) + number(len(source)),
        MAGIC_NUMBER + CHECKED + source_hash(source),
        wanted,
    )
    with open(path, "r+b") as file:  # noqa: PTH123
        valid = file.read(16) in fresh
        if valid:
            file.seek(0)
            file.write(wanted)
    if not valid:
        os.unlink(path)  # noqa: PTH108


def main(top: str) -> None:
    """Settle every ``__pycache__`` below ``top``."""
    for folder, _, names in os.walk(top):
        if os.path.basename(folder) == "__pycache__":  # noqa: PTH119
            for name in names:
                settle(os.path.join(folder, name))  # noqa: PTH118


if __name__ == "__main__":
    main(sys.argv[1])
