"""Compile the wheels whose bytecode the store lacks: all at once, in one container on the base.

A wheel's modules are taken out of it as it comes by. What comes back counts only where it is the
bytecode of one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envbuilder.layers.install import Target, install
from envbuilder.layers.wheel import check_hash
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.layers.wheelfile import Member, WheelFile
from envbuilder.model.errors import BuildError
from envbuilder.model.lock import ImageBase, Lock, Wheel
from envbuilder.model.plan import PREFIX, interpreter
from envbuilder.resolve.context import Context
from envbuilder.resolve.git.hooks import is_plain_file
from envbuilder.resolve.python.bytecode import compile_modules

from .bytecode_layers import bytecode_path, keep_bytecode
from .foundation import Foundation, fetch_base
from .wheel_input import wheel_input


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """What is to be compiled: the modules of ``wheels``, gathered in ``folder``."""

    context: Context
    lock: Lock
    wheels: frozenset[Wheel]
    folder: Path
    _paths: dict[Wheel, list[str]] = field(default_factory=dict)

    def gather(self, wheel: Wheel) -> None:
        """Take the modules out of ``wheel``, which is in the store, if it is to be compiled.

        Raises BuildError if it is damaged or hostile.
        """
        if wheel not in self.wheels:
            return
        store = self.context.store
        with wheel_file(store, wheel.sha256) as path:
            try:
                self._take(wheel, path)
            except BuildError:
                check_hash(store, wheel_input(self.lock, wheel), path)  # a better reason, if it is
                raise

    def finish(self, below: Foundation) -> None:
        """Compile what was gathered on the layers ``below``, and keep it in the store.

        Raises what ``compile_modules`` raises, and what fetching an image base does.
        """
        if any(self._paths.values()):
            if isinstance(self.lock.base, ImageBase):  # its layers were only looked up so far
                fetch_base(self.context, self.lock)
            self._compile(below)
        for wheel in self.wheels:
            files = dict(self._compiled(wheel))
            keep_bytecode(self.context.store, self.lock, wheel, files)

    def _take(self, wheel: Wheel, path: Path) -> None:
        with WheelFile.open(path, wheel.filename) as opened:
            modules = dict(self._modules(opened))
            for name, member in modules.items():
                place = self.folder / wheel.sha256.hex / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as file:
                    file.writelines(content for _, content in opened.pieces(member))
        self._paths[wheel] = list(modules)

    def _modules(self, wheel: WheelFile) -> Iterator[tuple[str, Member]]:
        """Yield the modules, but for those whose bytecode the wheel brings: that stays as it is."""
        files = install(wheel, target=Target(python=self.lock.spec.minor, prefix=PREFIX))
        brought = {file.path for file in files}
        for file in files:
            compiled = bytecode_path(self.lock, file.path)
            if compiled and compiled not in brought and isinstance(file.source, Member):
                yield file.path, file.source

    def _compile(self, below: Foundation) -> None:
        title = f"bytecode of {len(self._paths)} packages"
        with self.context.progress.step("compile", title, unit="items"):
            compile_modules(
                self.context,
                below.layers,
                platform=self.lock.spec.platform,
                interpreter=interpreter(self.lock),
                folder=self.folder,
            )

    def _compiled(self, wheel: Wheel) -> Iterator[tuple[str, bytes]]:
        root = self.folder / wheel.sha256.hex
        for path in self._paths[wheel]:
            compiled = bytecode_path(self.lock, path)
            if compiled is not None and is_plain_file(root, compiled):
                yield compiled, (root / compiled).read_bytes()


@contextmanager
def compilation(context: Context, lock: Lock, wheels: Iterable[Wheel]) -> Iterator[Compilation]:
    """Lend a compilation of ``wheels``; what it gathered goes at the end."""
    with context.store.scratch() as scratch:
        folder = scratch / "modules"
        folder.mkdir()
        yield Compilation(context=context, lock=lock, wheels=frozenset(wheels), folder=folder)
