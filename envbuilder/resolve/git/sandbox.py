"""Where a source's own code may run: no network, no home, none of this machine's files.

A sandbox is the lower part of an image. Two kinds: the environment's own base, where wheels are
built, and this machine's Python alone, which is enough to ask a source for its metadata while
there is only a lock to be made.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envbuilder.layers.files import Link, files_layer
from envbuilder.model.errors import MissingToolError
from envbuilder.model.image import Layer
from envbuilder.model.owner import make_folder
from envbuilder.model.reference import Digest
from envbuilder.resolve.python.requirements import PythonTarget
from envbuilder.resolve.python.uv import find_uv
from envbuilder.runtime import Mount
from envbuilder.storage.store import Store

_LOCAL = Path("/usr/local")
_PYTHON_FOLDERS = ("bin", "lib", "lib64", "include", "share")
_MERGED = ("bin", "lib", "lib64", "sbin")
_MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
_ABOUT = (
    "import json, os, sys; print(json.dumps([os.path.realpath(sys.base_prefix), "
    "os.path.realpath(getattr(sys, '_base_executable', sys.executable)), "
    "'%d.%d' % sys.version_info[:2]]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A root file system with a Python in it: ``interpreter`` is its absolute path in there."""

    target: PythonTarget
    interpreter: str
    layers: tuple[Layer, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()


def host_sandbox(python: str, *, store: Store) -> Sandbox:
    """Make a sandbox of this machine's Python ``python`` (X.Y), or of ours where it has none.

    Of this machine it shows ``/usr`` and that Python, read-only. What somebody put into
    ``/usr/local`` (CUDA, most of all) is hidden: a source that looks there would be locked as this
    machine has it, and not as the base does.
    """
    prefix, interpreter, version = _about(_find_python(python))
    roots = [Path("/", name) for name in _MERGED]
    links = {str(root): Link(target=f"usr/{root.name}") for root in roots if root.is_symlink()}
    wanted = (Path("/usr"), *roots, Path(prefix), Path("/etc/ld.so.cache"))
    shown = [path for path in wanted if path.exists() and not path.is_symlink()]
    glibc = platform.libc_ver()[1].partition(".")[2]
    return Sandbox(
        target=PythonTarget(
            python=version,
            platform=_MACHINES.get(platform.machine(), "linux/amd64"),
            glibc=int(glibc) if glibc.isdecimal() else 28,
        ),
        interpreter=interpreter,
        layers=(files_layer(store, links, title="links"),),
        mounts=(
            *(Mount(source=path, target=str(path)) for path in dict.fromkeys(shown)),
            *_hidden_local(Path(prefix), store),
        ),
    )


def _hidden_local(prefix: Path, store: Store) -> tuple[Mount, ...]:
    """Lay an empty folder over ``/usr/local``, and on it the Python, if that lies in there."""
    if not _LOCAL.is_dir() or _LOCAL.is_symlink():
        return ()
    own: list[Path] = []
    if prefix == _LOCAL:
        own = [path for name in _PYTHON_FOLDERS if (path := _LOCAL / name).is_dir()]
    elif prefix.is_relative_to(_LOCAL):
        own = [prefix]
    empty = store.root / "empty" / Digest.of(str(own).encode()).hex[:16]
    for path in (_LOCAL, *own):  # the places that the mounts below need
        make_folder(empty / path.relative_to(_LOCAL))
    shown = (Mount(source=path, target=str(path)) for path in own)
    return (Mount(source=empty, target=str(_LOCAL)), *shown)


def _find_python(version: str) -> str:
    done = subprocess.run(
        [find_uv(), "python", "find", version, "--no-python-downloads", "--no-project"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else sys.executable


def _about(python: str) -> tuple[str, str, str]:
    done = subprocess.run([python, "-I", "-c", _ABOUT], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingToolError(f"{python} does not run: {done.stderr.strip()}")
    prefix, interpreter, version = json.loads(done.stdout)
    return prefix, interpreter, version
