"""Find what installers leave behind: caches that make an image big, or worse, stale."""

from __future__ import annotations

import glob
import importlib.util
import os
import pwd
import sys
import sysconfig
from typing import Iterator

from .environment import prefix_of
from .facts import Emitter, Facts

IN_HOME = {
    "pip": (".cache/pip",),
    "uv": (".cache/uv",),
    "huggingface": (".cache/huggingface",),
    "torch": (".cache/torch", ".triton"),
    "conda": (".conda/pkgs", "miniconda3/pkgs", "anaconda3/pkgs"),
    "npm": (".npm/_cacache",),
    "cargo": (".cargo/registry",),
}
IN_SYSTEM = {
    "apt": ("/var/lib/apt/lists/*", "/var/cache/apt/archives/*.deb", "/var/cache/apt/*.bin"),
    "conda": ("/opt/conda/pkgs",),
    "pip": ("/tmp/pip-*",),  # noqa: S108 - looked for, not written
}
BY_VARIABLE = {
    "PIP_CACHE_DIR": "pip",
    "UV_CACHE_DIR": "uv",
    "HF_HOME": "huggingface",
    "HF_HUB_CACHE": "huggingface",
    "CONDA_PKGS_DIRS": "conda",
}
HASHED = 0b01


def run(request: Facts, emit: Emitter) -> None:
    """Emit one item per leftover: tool, path, bytes; then bytecode of another source.

    In an image every home, the whole system and the base's Python are looked at; on a machine
    that the environment shares with others, the environment's own prefix alone.
    """
    prefix = prefix_of(request)
    places: set[str] = set()
    emit(facts={"looked_in": prefix if request.get("shared") else "/"})
    candidates = _in_home(prefix) if request.get("shared") else _candidates(request["environ"])
    for tool, path in candidates:
        found = {os.path.realpath(match) for match in glob.glob(path)} - places
        size = sum(_size(match) for match in found)
        places |= found
        if size:
            emit(item={"tool": tool, "path": path, "bytes": size})
    emit(doing="comparing bytecode with its source")
    checked, stale = _stale_bytecode(_module_folders(prefix, shared=bool(request.get("shared"))))
    emit(facts={"bytecode_files": checked, "stale_bytecode": sorted(stale)[:50]})


def _candidates(environ: dict[str, str]) -> Iterator[tuple[str, str]]:
    homes = {entry.pw_dir for entry in pwd.getpwall()} | {"/root", environ.get("HOME") or "/root"}
    for home in sorted(home for home in homes if home != "/"):
        yield from _in_home(home)
    for variable, tool in BY_VARIABLE.items():
        if environ.get(variable):
            yield tool, environ[variable]
    for tool, patterns in IN_SYSTEM.items():
        for pattern in patterns:
            yield tool, pattern


def _in_home(home: str) -> Iterator[tuple[str, str]]:
    for tool, paths in IN_HOME.items():
        for path in paths:
            yield tool, os.path.join(home, path)


def _size(path: str) -> int:
    """Return the bytes of the files at and below ``path``; 0 if there is none."""
    if not os.path.isdir(path):
        return os.path.getsize(path) if os.path.isfile(path) else 0
    total = 0
    for folder, _, files in os.walk(path):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in files)
    return total


def _module_folders(prefix: str, *, shared: bool) -> list[str]:
    """List where modules lie: the environment's own, and the base's unless it is shared.

    Those of the base are the standard library and what its package manager brings, whether the
    environment sees that or not: its programs run there.
    """
    tops = [prefix] if shared else [prefix, sys.base_prefix, os.path.join(sys.base_prefix, "local")]
    places = [os.path.join(glob.escape(top), "lib*", "python3*") for top in tops]
    found = {path for place in places for path in glob.glob(place)}
    if not shared:
        found |= {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return sorted({os.path.realpath(path) for path in found if os.path.isdir(path)})


def _stale_bytecode(folders: list[str]) -> tuple[int, list[str]]:
    """Return how many .pyc files lie below ``folders``, and those that hide another source.

    Only hash-based ones can (PEP 552): Python may run them without a look at the source. It
    ignores all others whose source has another time or size, such as wheels ship now and then.
    """
    found = {
        os.path.join(place, name)
        for folder in folders
        for place, _, names in os.walk(folder)
        for name in names
        if name.endswith(".pyc")
    }
    stale = []
    for path in found:
        source = _source(path)
        if source and not _true_to(path, source):
            stale.append(path)
    return len(found), stale


def _source(path: str) -> str | None:
    try:
        return importlib.util.source_from_cache(path)
    except ValueError:
        return None  # not in __pycache__: the bytecode itself is the module


def _true_to(path: str, source: str) -> bool:
    with open(path, "rb") as stream:
        head = stream.read(16)
    hashed = int.from_bytes(head[4:8], "little") & HASHED
    if head[:4] != importlib.util.MAGIC_NUMBER or not hashed or not os.path.isfile(source):
        return True
    with open(source, "rb") as stream:
        return importlib.util.source_hash(stream.read()) == head[8:16]
