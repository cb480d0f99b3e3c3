"""Run every measurement on the real environment: ``make bench``.

Needs the network once, for the wheels of omni-gpu (4 GB), and about 30 GB of disk. The parts that
need a Docker Engine run where one answers (``eval "$(tests/engine.sh env)"``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PARTS = (
    ("Wheels to image against checking the wheels", ["layering.py", "omni-gpu"]),
    ("Push and verify against skopeo copy", ["registry.py", "omni-gpu"]),
    ("zstd and zstd:chunked against reading", ["forms.py", "omni-gpu"]),
    (
        "Starts with bytecode and without",
        ["bytecode.py", "omni-gpu", "torch", "transformers", "vllm"],
    ),
    ("Git sources against uv and git", ["git_sources.py"]),
)
DOCKER = ("Embedded against docker build", ["docker.py"])


def main() -> None:
    envbuilder = [sys.executable, "-m", "envbuilder"]
    subprocess.run([*envbuilder, "build", "omni-gpu", "--no-smoke", "--locked"], check=True)
    subprocess.run([*envbuilder, "fetch", "omni-gpu"], check=True)
    parts = [*PARTS, *([DOCKER] if "DOCKER_HOST" in os.environ else [])]
    for title, (script, *arguments) in parts:
        print(f"\n{title}\n{'-' * len(title)}", flush=True)
        path = [str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
        subprocess.run(
            [sys.executable, HERE / script, *arguments],
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        )


if __name__ == "__main__":
    main()
