"""A program for tests: fetch one commit into a store, in a process that can be killed.

Arguments: URL, commit, store. Prints "done", or the error's class and message.
"""

import sys
from pathlib import Path

from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.git_url import Address
from envbuilder.model.progress import Silent
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.storage.store import Store


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
