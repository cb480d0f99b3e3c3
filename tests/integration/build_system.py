"""A program for tests: build the system layers of a pickled base, print it as JSON.

Arguments: store, pickle, and the number of the user to become (0 stays root). All is imported
before the privileges go, since that user may not be able to read this Python's packages.
"""

import json
import os
import pickle
import sys
from pathlib import Path

from envbuilder.resolve.debian.system_layers import system_layers
from envbuilder.storage.store import Store
from tests.contexts import context


def main() -> None:
    store, pickled, user = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    base = pickle.loads(pickled.read_bytes())
    if user:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    layers = system_layers(context(Store(store)), base, architecture="amd64")
    print(json.dumps([[str(each.digest), str(each.diff_id), each.size] for each in layers]))


if __name__ == "__main__":
    main()
