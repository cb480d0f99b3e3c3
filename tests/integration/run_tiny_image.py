"""A program for tests: run a shell script in the tiny image, print what came of it as JSON.

Arguments: store, runtime (docker, crun or runc), script, user of the image, memory limit in bytes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from envbuilder.model.progress import Silent
from envbuilder.runtime import Command, Runtime, choose
from envbuilder.runtime.oci import OciRuntime, find_program
from envbuilder.storage.store import Store
from tests.integration.tiny_image import tiny_image


def main() -> None:
    place, name, script, user, memory = sys.argv[1:]
    store = Store(Path(place))
    image = tiny_image(store, config={"Env": ["PATH=/bin"]})
    command = Command(
        args=("sh", "-c", script),
        env={"RUN_OF": os.environ.get("RUN_OF", "")},
        user=user,
        memory=int(memory),
    )
    done = _runtime(name, store).run(image, command, progress=Silent())
    print(
        json.dumps(
            {
                "exit_code": done.exit_code,
                "stdout": done.stdout.decode(),
                "stderr": done.stderr.decode(),
                "memory_limit": done.memory_limit,
                "peak_memory": done.peak_memory,
            }
        )
    )


def _runtime(name: str, store: Store) -> Runtime:
    if name == "docker":
        return choose(name, store)
    program = find_program(name)
    assert program, f"{name} is not installed"
    return OciRuntime(program=program, store=store)


if __name__ == "__main__":
    main()
