"""Make every compiled module under /usr valid whatever its source's time stamp becomes.

Runs inside a fresh root file system, by its own Python (3.9 or newer). Debian compiles modules
against their sources' times, which a layer replaces; PEP 552's unchecked hashes need none.
"""

import os
import sys
from importlib.util import MAGIC_NUMBER, source_from_cache, source_hash

UNCHECKED_HASH = (1).to_bytes(4, "little")


def settle(path: str) -> None:
    """Rewrite one .pyc file's header; remove the file where it does not belong to its source."""
    try:
        with open(source_from_cache(path), "rb") as file:  # noqa: PTH123
            source = file.read()
            modified = int(os.fstat(file.fileno()).st_mtime)
    except (FileNotFoundError, ValueError):
        os.unlink(path)  # noqa: PTH108
        return
    expected = MAGIC_NUMBER + b"".join(
        (number & 0xFFFFFFFF).to_bytes(4, "little") for number in (0, modified, len(source))
    )
    with open(path, "r+b") as file:  # noqa: PTH123
        fresh = file.read(16) == expected
        if fresh:
            file.seek(0)
            file.write(MAGIC_NUMBER + UNCHECKED_HASH + source_hash(source))
    if not fresh:
        os.unlink(path)  # noqa: PTH108


def main(top: str) -> None:
    """Settle every ``__pycache__`` below ``top``."""
    for folder, _, names in os.walk(top):
        if os.path.basename(folder) == "__pycache__":  # noqa: PTH119
            for name in names:
                settle(os.path.join(folder, name))  # noqa: PTH118


if __name__ == "__main__":
    main(sys.argv[1])
