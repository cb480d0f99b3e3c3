"""Find a real model on this host: a directory, or a snapshot in the Hugging Face cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from envbuilder.model.errors import SmokeError
from envbuilder.runtime.linked_folder import hub_repository, leading_out

from .plan import ProbedModel

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
"""Files from which transformers loads a model; ``training_args.bin`` is none of them."""
SHORTEST = 7
"""Digits of a commit that are enough to name it, as git shows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model on this host: the directory to mount, and where the model lies inside it."""

    mounted: Path
    inside: str = ""

    @property
    def has_weights(self) -> bool:
        """Whether more lies there than configuration."""
        directory = self.mounted / self.inside
        return any(next(directory.glob(name), None) for name in WEIGHTS)


def locate(model: ProbedModel) -> LocalModel:
    """Find ``model``, which is no family, on this host.

    A snapshot of the hub's cache is links into ``blobs`` beside it, so the whole repository is
    mounted, however the snapshot is named. Raises SmokeError if there is no model; nothing is ever
    downloaded.
    """
    if model.path is not None or model.config is not None:
        directory = Path(str(model.path or model.config)).expanduser().resolve()
        kind = "path" if model.path is not None else "config"
        _expect_model(directory, f"{kind} names a directory as save_pretrained writes it")
        return _mounted(directory)
    repository = hub_cache() / f"models--{str(model.hub).replace('/', '--')}"
    snapshot = repository / "snapshots" / _commit(repository, model.revision or "main")
    fetch = f"fetch it first: hf download {model.hub}"
    revision = f" --revision {model.revision}" if model.revision else ""
    _expect_model(snapshot, fetch + revision)
    return LocalModel(mounted=repository, inside=f"snapshots/{snapshot.name}")


def check_links(model: LocalModel) -> None:
    """Raise SmokeError for a file of ``model`` that is a link to what a container does not see."""
    lost = leading_out(model.mounted / model.inside, model.mounted)
    if lost is not None:
        link, target = lost
        raise SmokeError(
            f"{link} is a link to {target}, which a container does not see: {model.mounted} alone "
            "is mounted",
            hint=f"copy the model with what its links lead to: cp -rL {link.parent} DIR",
        )


def _mounted(directory: Path) -> LocalModel:
    """Return the model in ``directory``; of a snapshot of the hub's cache, with its blobs."""
    repository = hub_repository(directory)
    if repository is None:
        return LocalModel(mounted=directory)
    return LocalModel(mounted=repository, inside=directory.relative_to(repository).as_posix())


def hub_cache() -> Path:
    """Return the hub's cache on this host, by ``HF_HUB_CACHE``, ``HF_HOME`` or its default."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME", f"{cache}/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


def _commit(repository: Path, revision: str) -> str:
    """Return the commit that ``revision`` stands for in the cache.

    It is a branch, a tag, a commit, or how exactly one commit of the cache begins.
    """
    reference = repository / "refs" / revision
    if reference.is_file():
        return reference.read_text("utf-8").strip()
    known = [snapshot.name for snapshot in repository.glob("snapshots/*")]
    begun = [name for name in known if len(revision) >= SHORTEST and name.startswith(revision)]
    return begun[0] if len(begun) == 1 else revision


def _expect_model(directory: Path, hint: str) -> None:
    if not directory.is_dir():
        raise SmokeError(f"there is no model directory {directory}", hint=hint)
    if not (directory / "config.json").is_file():
        raise SmokeError(
            f"{directory} is not a model directory: it holds no config.json", hint=hint
        )
