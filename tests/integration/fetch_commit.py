"""A program for tests: fetch one commit into a store, in a process that can be killed.

Arguments: URL, commit, store. Prints "done", or the error's class and message.
"""

import sys
from pathlib import Path

from envbuilder.errors import EnvbuilderError
from envbuilder.git_address import Address
from envbuilder.layers.store import Store
from envbuilder.progress import Silent
from envbuilder.resolve.mirror import Mirror


def main() -> None:
    url, commit, root = sys.argv[1:]
    mirror = Mirror(Address.parse(url), store=Store(Path(root)), progress=Silent())
    try:
        mirror.content(commit)
    except EnvbuilderError as error:
        print(type(error).__name__, error.message, error.hint)
    else:
        print("done")


if __name__ == "__main__":
    main()
