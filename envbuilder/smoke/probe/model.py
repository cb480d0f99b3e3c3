"""Open the model that the request names: a family's tiny one, or a real directory."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterator

from . import families
from .bare import encoders
from .facts import Absent, Facts, Uncountable, describe
from .families._model_files import quantised
from .families.base import Family

ENDS = 1 << 20
"""How much (bytes) of a file's start and end tells its content from another's."""


class Subject:
    """A family with its processor and (made on first use) its model.

    ``weights`` says that real ones are in ``directory``, ``bare`` that nothing but its
    configuration counts. ``quantised`` is the method by which the real ones are quantised, or None.
    """

    def __init__(
        self, family: Family, directory: str, *, weights: bool, bare: bool = False
    ) -> None:
        self.directory = directory
        self.weights = weights
        self.bare = bare
        self.quantised = quantised(directory) if weights else None
        self.processor = family.load_processor(directory)
        self.family = family.bound(self.processor, directory)
        self._model = None

    @property
    def model(self) -> Any:
        """The model on the CPU, in evaluation mode.

        Quantised weights are left where they are: only kernels for a GPU compute with most of them,
        from packages that serving does not need, and how many rows encoders make does not depend
        on them.
        """
        if self._model is None:
            if self.bare or self.quantised:
                self._model = encoders(self.family, self.directory)
            else:
                self._model = self.family.load_model(self.directory, weights=self.weights)
        return self._model

    def build(self) -> None:
        """Make the model now: one that cannot be made would fail again with every item."""
        _ = self.model

    def fitted(self, inputs: Any) -> Any:
        """Return ``inputs`` with numbers of the type of the model's weights, as servers do."""
        import torch

        kind = next(self.model.parameters()).dtype
        for name, value in inputs.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                inputs[name] = value.to(kind)
        return inputs

    def identity(self) -> str:
        """Say which weights these are: the family's random ones, or a digest of what is on disk.

        Of each file the name, the size and both ends are hashed: gigabytes would take minutes.
        """
        if not self.weights:
            return f"{self.family.name}, random"
        digest = hashlib.sha256()
        for path in sorted(Path(self.directory).iterdir()):
            if path.suffix in (".safetensors", ".bin", ".json"):
                size = path.stat().st_size
                digest.update(f"{path.name} {size}\n".encode())
                with path.open("rb") as stream:
                    digest.update(stream.read(ENDS))
                    stream.seek(max(0, size - ENDS))
                    digest.update(stream.read(ENDS))
        return f"sha256 {digest.hexdigest()[:32]}"


@contextlib.contextmanager
def opened(request: Facts) -> Iterator[Subject]:
    """Open the request's model; raise Absent where the container cannot hold any."""
    with described(request) as (family, directory):
        real, bare = bool(request["model"]["path"]), request["model"]["bare"]
        yield Subject(family, directory, weights=real and not bare, bare=bare)


@contextlib.contextmanager
def described(request: Facts) -> Iterator[tuple[Family, str]]:
    """Return the family and the directory of the request's model; raise Absent as above."""
    require("torch", "transformers", "numpy")
    wanted = request["model"]
    if wanted["path"]:
        family = families.of_directory(wanted["path"])
        has_needed(family)
        yield family, wanted["path"]
        return
    with tempfile.TemporaryDirectory(prefix="model-") as scratch:
        family = families.load(wanted["family"])
        has_needed(family)
        family.write(scratch)
        yield family.tiny(scratch), scratch


def has_needed(family: Family) -> None:
    """Raise Uncountable if a package that the model of ``family`` needs is not installed."""
    found = {name: find_spec(module) for module, name in family.needs.items()}
    lacking = [name for name, spec in found.items() if spec is None or spec.origin is None]
    if lacking:
        raise Uncountable(f"cannot be asked: {family.name} needs {' and '.join(lacking)}")


def require(*packages: str) -> None:
    """Import ``packages``; raise Absent with the reason for the first that does not import."""
    for name in packages:
        try:
            module = __import__(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                raise Absent(f"{name} is not installed") from error
            raise
        except ImportError as error:
            raise ImportError(f"import {name} fails: {describe(error)}") from error
        if getattr(module, "__file__", None) is None:
            raise Absent(f"{name} is not installed: a folder of that name is left, without code")
