"""Environments that BuildKit builds in seconds: a base of a few programs, and no wheels."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from envbuilder.engines.buildkit import BuildxRun, build, find_builder, gather
from envbuilder.engines.render import render, write
from envbuilder.model.image import Image
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Progress, Silent
from envbuilder.registry.layout import export, load
from envbuilder.storage.store import Store
from tests.contexts import context as work_context
from tests.integration.tiny_image import tiny_image

MORE = ("git", "find", "ln", "rm", "grep", "echo", "printf", "chmod", "sed")


@dataclass(frozen=True, kw_only=True)
class Light:
    """A folder to build in, and what replaces the rendered Dockerfile's own base."""

    folder: Path
    contexts: Mapping[str, str]
    builder: str | None = None

    def with_base(self, place: str) -> "Light":
        return replace(self, contexts={**self.contexts, "base": place})

    def build(
        self,
        lock: Lock,
        name: str = "image",
        *,
        target: str = "runtime",
        progress: Progress | None = None,
        **more: object,
    ) -> Image:
        """Render and build ``lock``; the layout lies in ``folder/name`` afterwards."""
        folder = self.folder / f"{name}-context"
        write(render(lock), folder)
        wanted = BuildxRun(
            folder=folder,
            target=target,
            platform="linux/amd64",
            contexts=self.contexts,
            **more,
        )
        build(
            work_context(Store(self.folder / "store"), progress),
            wanted,
            self.folder / name,
            builder=find_builder(self.builder),
            secrets=gather(lock.spec),
        )
        return load(self.folder / name, "linux/amd64")[0]


def make_light(folder: Path) -> Light:
    """Make the base in ``folder``."""
    store = Store(folder / "store")
    files = _programs() | {"var/log/": b"", "var/lib/dpkg/": b""}
    base = tiny_image(store, layers=[files], history=True)
    layout = export(base, store, f"oci:{folder / 'base'}", name="base", progress=Silent())
    empty = folder / "empty"
    empty.mkdir()
    contexts = {
        "base": f"oci-layout://{layout}@{base.digest}",
        "tools": str(empty),
        "bootstrap": str(empty),
    }
    return Light(folder=folder, contexts=contexts)


class Recording:
    """A Progress that remembers its steps and notes."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    @contextmanager
    def step(self, phase, title, **more):  # noqa: ARG002 - the protocol's
        self.titles.append(title)
        yield self

    def advance(self, amount):
        """Count nothing."""

    def note(self, text):
        self.titles.append(text)

    @property
    def runs(self) -> list[str]:
        """The RUN steps that BuildKit did not take from its cache."""
        return [title for title in self.titles if " RUN " in title]


def _programs() -> dict[str, bytes]:
    files = {}
    for name in MORE:
        found = shutil.which(name)
        assert found, f"{name} is not installed"
        listing = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        for path in (f"/bin/{name}", *re.findall(r"(/\S+) \(0x", listing)):
            files[path.lstrip("/")] = Path(found if path == f"/bin/{name}" else path).read_bytes()
    return files
