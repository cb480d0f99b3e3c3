"""A project, its index, its registry: all that an environment needs, without any network.

The base is this interpreter in a registry on loopback, and the wheels are made here; a machine of
the cluster finds both there, and shares its layers in the same registry.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from envbuilder.evidence.keys import new_key
from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.registry.transfer import push
from envbuilder.storage.ledger import ledger_path, read
from envbuilder.storage.store import Store
from tests.command import COMMAND, envbuilder
from tests.contexts import context
from tests.integration.python_image import PYTHON, standard_library
from tests.integration.tiny_image import library_files, tiny_image
from tests.servers.distribution import registry
from tests.servers.packages import Packages
from tests.servers.scripted import Call, Scripted, Seen, scripted
from tests.wheels import Recipe, write_wheel

SPEC = """\
version: 1
name: {name}
python: "3.{minor}"
base: {{image: "{base}", python: {python}}}
packages: {packages}
index: {{url: "{index}"}}
smoke: {smoke}
"""


@dataclass(kw_only=True)
class Team:
    """A project in ``folder``; what its machines need to know stands in ``machine`` (variables)."""

    folder: Path
    base: ImageRef
    index: Scripted
    env: dict[str, str]

    def machine(self, name: str) -> dict[str, str]:
        """Return the variables of a machine of the cluster: its own store, and the team's key."""
        return {
            "ENVBUILDER_CACHE": str(self.folder / "machines" / name),
            "ENVBUILDER_REMOTE_STORE_KEY": str(self.folder / "team.key"),
            "UV_CACHE_DIR": str(self.folder / "machines" / f"{name}-uv"),
            "UV_DEFAULT_INDEX": self.env["UV_DEFAULT_INDEX"],
        }

    def write(self, name: str, packages: dict[str, object], **smoke: object) -> Path:
        """Write the spec of an environment."""
        path = self.folder / "lockfiles" / f"{name}.yaml"
        text = SPEC.format(
            name=name,
            minor=sys.version_info.minor,
            base=self.base,
            python=PYTHON,
            packages=json.dumps(packages),
            index=f"http://{self.index.host}/simple/",
            smoke=json.dumps({"memory": 1024, **smoke}),
        )
        path.write_text(text)
        return path

    def start(self, *args: str, **env: str) -> subprocess.Popen:
        """Start ``envbuilder ARGS`` in the project."""
        return subprocess.Popen(
            [*COMMAND, *args],
            cwd=self.folder,
            env={**os.environ, **self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *args: str, code: int = 0, timeout: float = 3600, **env: str
    ) -> subprocess.CompletedProcess:
        """Run ``envbuilder ARGS`` in the project; assert its exit code."""
        both = {**self.env, **env}
        return envbuilder(*args, cwd=self.folder, code=code, timeout=timeout, **both)

    def entries(self, name: str) -> list:
        """Return the lines of an environment's ledger."""
        return list(read(ledger_path(self.folder / "lockfiles" / f"{name}.yaml"))[0])

    def fetched(self) -> Counter:
        """Count how often each wheel was fetched whole from the index, metadata left out."""
        seen = (each for each in self.index.seen if each.method == "GET")
        whole = (each.path for each in seen if "Range" not in each.headers)
        return Counter(path.removeprefix("/files/") for path in whole if path.startswith("/files/"))


def _in_parts(call: Call, request: Seen, data: bytes) -> None:
    """Send a wheel, or the part of it that is asked for, as indexes do."""
    asked = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", request.headers.get("Range", ""))
    if asked is None:
        call.answer(200, data, Accept_Ranges="bytes")
        return
    first, last = asked[1], int(asked[2] or len(data) - 1)
    start = int(first) if first else len(data) - last
    end = min(last, len(data) - 1) if first else len(data) - 1
    span = f"bytes {start}-{end}/{len(data)}"
    call.answer(206, data[start : end + 1], Accept_Ranges="bytes", Content_Range=span)


def _manylinux() -> dict[str, bytes]:
    """Return what compiled wheels may link of any Linux: C++, and glibc as it was in parts."""
    program = shutil.which("apt-get")
    assert program, "a Debian, or what descends from it: apt is written in C++"
    found = library_files(Path(program))
    libc = next(Path("/", path) for path in found if path.endswith("/libc.so.6"))
    parts = ("libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "libutil.so.1")
    return found | {
        str(libc.with_name(name)).lstrip("/"): libc.with_name(name).read_bytes() for name in parts
    }


@contextlib.contextmanager
def a_team(folder: Path, wheels: dict[str, int], *, real: Iterable[Path] = ()) -> Iterator[Team]:
    """Make a team whose index has ``wheels``: name to bytes of content; each in version 1.0.

    It has the ``real`` ones, too; their base then has what those link.
    """
    (folder / "lockfiles").mkdir(parents=True)
    (folder / "wheels").mkdir()
    new_key(folder / "team", "")
    files = {}
    for name, size in wheels.items():
        content = {f"{name}.py": b"", f"{name}.bin": os.urandom(size)}
        path = write_wheel(folder / "wheels", Recipe(name=name, files=content))
        files[path.name] = path.read_bytes()
    files |= {path.name: path.read_bytes() for path in real}
    image_store = Store(folder / "elsewhere")
    image = tiny_image(image_store, layers=[standard_library(), *([_manylinux()] if real else [])])
    with (
        registry(folder / "registry") as server,
        scripted(Packages(wheels=files, send=_in_parts).respond) as index,
    ):
        base = ImageRef.parse(f"{server.host}/base:1")
        push(context(image_store).registries, image, image_store, base, Silent())
        env = {
            "ENVBUILDER_CACHE": str(folder / "store"),
            "ENVBUILDER_REMOTE_STORE": f"{server.host}/layers",
            "ENVBUILDER_REMOTE_STORE_TRUST": str(folder / "team.pub"),
            "UV_CACHE_DIR": str(folder / "uv"),
            # so that nothing else counts that this machine was told: it may have the same wheels
            "UV_DEFAULT_INDEX": f"http://{index.host}/simple/",
        }
        yield Team(folder=folder, base=base, index=index, env=env)
