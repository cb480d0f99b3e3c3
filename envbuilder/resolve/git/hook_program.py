"""Runs PEP 517 hooks inside the build environment; a program, not a part of the package.

Argument: the job as JSON. ``backend`` and ``backend_path`` are pyproject.toml's, ``source`` is the
project's folder (also the working directory), ``output`` an empty folder, ``known`` the requirement
lines that the environment was made for, ``compilers`` a folder that may be made. ``hook`` is
"examine" (which further requirements, and if there are none: which metadata) or "wheel".
``output/result.json`` tells what came of it; with ``watch``, ``output/looked.json`` what the source
looked at beyond itself, even if it failed. Standard library only, Python 3.9 or later.
"""

import importlib
import json
import os
import sys
from typing import Any


def main() -> None:
    job = json.loads(sys.argv[1])
    del sys.argv[1:]
    os.dup2(1, 2)  # one log, in the order of events
    os.umask(0o022)
    os.chdir(job["source"])
    watch = importlib.import_module("hook_watch").Watch() if job["watch"] else None
    if job["hook"] == "wheel":
        importlib.import_module("hook_compilers")  # while it is on the path
    sys.path[0:1] = [os.path.join(job["source"], each) for each in job["backend_path"]]
    os.makedirs(os.environ["HOME"], exist_ok=True)
    if watch is None:
        run(job)
    else:
        run_watched(job, watch)


def run_watched(job: "dict[str, Any]", watch: Any) -> None:  # noqa: ANN401 - hook_watch.Watch
    watch.begin()
    try:
        run(job)
    except ImportError as error:
        if "shared object" in str(error):  # the linker looked, and says of it only this
            watch.seen.add(str(error).partition(":")[0])
        raise
    finally:
        write(job, "looked.json", sorted(watch.seen))


def run(job: "dict[str, Any]") -> None:
    backend = load(job["backend"])
    hook = {"examine": examine, "wheel": build}[job["hook"]]
    write(job, "result.json", hook(backend, job))


def write(job: "dict[str, Any]", name: str, value: object) -> None:
    text = json.dumps(value)
    with open(os.path.join(job["output"], name), "w", encoding="utf-8") as file:
        file.write(text)


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
    compilers = sys.modules["hook_compilers"]
    os.environ.update(compilers.variables(job["compilers"]))
    try:
        return {"made": backend.build_wheel(job["output"], None)}
    finally:
        compilers.finish()


if __name__ == "__main__":
    main()
