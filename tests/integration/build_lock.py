"""A program for tests: build the git sources of a lock, in a process that can be killed.

Arguments: lock, store. Prints the wheels' digests, or the error's class, message and hint.
"""

import sys
from pathlib import Path

from envbuilder.model.errors import EnvbuilderError
from envbuilder.model.pylock import read_lock
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.sandbox import host_sandbox
from envbuilder.resolve.git.wheel_build import build_sources
from envbuilder.storage.store import Store
from tests.contexts import git_context


def main() -> None:
    lock, store = read_lock(Path(sys.argv[1])), Store(Path(sys.argv[2]))
    context = git_context(store)
    make = contained(lambda: host_sandbox(lock.spec.python, store=store), context)
    try:
        built = build_sources(lock, make=make, context=context)
    except EnvbuilderError as error:
        print(type(error).__name__, error.message, error.hint)
    else:
        print(*(source.wheel and source.wheel.sha256 for source in built.sources))


if __name__ == "__main__":
    main()
