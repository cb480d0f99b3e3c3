"""A real image of a few megabytes: programs of this host with the libraries they need."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from envbuilder.model.image import OCI_CONFIG, OCI_MANIFEST, Image, Layer, canonical_json
from envbuilder.model.reference import Digest
from envbuilder.storage.store import Store

PROGRAMS = ("sh", "cat", "env", "head", "id", "ls", "mkdir", "sleep", "tail", "touch", "wc")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbuilder:x:1000:1000::/home/builder:/bin/sh\n"
GROUP = "root:x:0:\nbuilder:x:1000:\nvideo:x:44:\n"


def tiny_image(
    store: Store,
    *,
    config: Mapping[str, object] | None = None,
    layers: Iterable[Mapping[str, bytes | None]] = (),
    tars: Iterable[bytes] = (),
    below: Iterable[Layer] = (),
    history: bool = False,
) -> Image:
    """Put an image into ``store``: one layer of programs, then ``layers`` of path -> content.

    A path ending in ``/`` is a directory. ``tars`` are layers on top, made by hand. ``history``
    says of each layer what made it, as most builders do; else BuildKit, building on it, says that
    in words of its own, which depend on what else it builds at that moment.
    """
    stack = [_program_files(), *layers]
    tars = [*(_tar(files) for files in stack), *tars]
    return image_of(store, tars, config=config or {}, below=below, history=history)


def layer_of(store: Store, files: Mapping[str, bytes | None]) -> Layer:
    """Put one layer of path -> content into ``store``, for several images."""
    return image_of(store, [_tar(files)], config={}).layers[0]


def image_of(
    store: Store,
    tars: Iterable[bytes],
    *,
    config: Mapping[str, object],
    below: Iterable[Layer] = (),
    history: bool = False,
) -> Image:
    layers = [*below]
    for tar in tars:
        blob = gzip.compress(tar, compresslevel=1, mtime=0)
        digest = store.add(blob)
        layers.append(Layer(digest=digest, size=len(blob), diff_id=Digest.of(tar)))
    body = canonical_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
            **({"history": [{"created_by": "tests"} for _ in layers]} if history else {}),
        }
    )
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": str(store.add(body)), "size": len(body)},
            "layers": [
                {"mediaType": layer.media_type, "digest": str(layer.digest), "size": layer.size}
                for layer in layers
            ],
        }
    ).encode()
    store.add(manifest)
    return Image(manifest=manifest, config=body, layers=tuple(layers))


def library_files(program: Path) -> dict[str, bytes]:
    """Return the shared libraries that a program, or another library, of this host needs."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(/\S+) \(0x", listing)
    return {library.lstrip("/"): Path(library).read_bytes() for library in found}


@cache
def _program_files() -> Mapping[str, bytes]:
    files = {
        "etc/passwd": PASSWD.encode(),
        "etc/group": GROUP.encode(),
        "root/": b"",
        "home/builder/": b"",
        "tmp/": b"",
    }
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found, f"{name} is not installed"
        files |= {f"bin/{name}": Path(found).read_bytes()} | library_files(Path(found))
    return files


def _tar(files: Mapping[str, bytes | None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _with_parents(files):
            content = files.get(path, b"") or b""
            member = tarfile.TarInfo(path.rstrip("/"))
            member.mtime = 946684800
            if path.endswith("/"):
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            else:
                member.size, member.mode = len(content), 0o755
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _with_parents(files: Iterable[str]) -> list[str]:
    paths = set(files)
    for path in files:
        paths |= {f"{parent}/" for parent in Path(path).parents if str(parent) != "."}
    return sorted(paths)
