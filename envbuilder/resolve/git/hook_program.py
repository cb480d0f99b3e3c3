"""Runs PEP 517 hooks inside the build environment; a program, not a part of the package.

Argument: the job as JSON. ``backend`` and ``backend_path`` are pyproject.toml's, ``source`` is the
project's folder (also the working directory), ``output`` an empty folder, ``known`` the requirement
lines that the environment was made for. ``hook`` is "examine" (which further requirements, and if
there are none: which metadata) or "wheel".
``output/result.json`` tells what came of it. Standard library only, Python 3.9 or later.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

# ruff: noqa: D103


def main() -> None:
    job = json.loads(sys.argv[1])
    del sys.argv[1:]
    os.dup2(1, 2)  # one log, in the order of events
    os.umask(0o022)
    os.chdir(job["source"])
    sys.path[0:1] = [str(Path(job["source"], each)) for each in job["backend_path"]]
    Path(os.environ["HOME"]).mkdir(parents=True, exist_ok=True)
    backend = load(job["backend"])
    run = {"examine": examine, "wheel": build}[job["hook"]]
    result = json.dumps(run(backend, job))
    Path(job["output"], "result.json").write_text(result, encoding="utf-8")


def load(name: str) -> Any:  # noqa: ANN401 - any backend
    module, _, attribute = name.partition(":")
    backend: Any = importlib.import_module(module)
    for part in attribute.split(".") if attribute else ():
        backend = getattr(backend, part)
    return backend


def examine(backend: Any, job: "dict[str, Any]") -> "dict[str, Any]":  # noqa: ANN401
    ask = getattr(backend, "get_requires_for_build_wheel", None)
    requires = ask(None) if ask else []
    if more := [each for each in requires if each not in job["known"]]:
        return {"requires": more}
    prepare = getattr(backend, "prepare_metadata_for_build_wheel", None) or backend.build_wheel
    return {"made": prepare(job["output"], None)}


def build(backend: Any, job: "dict[str, Any]") -> "dict[str, Any]":  # noqa: ANN401
    return {"made": backend.build_wheel(job["output"], None)}


if __name__ == "__main__":
    main()
