"""Keep an image in an engine of the user's, Docker's or Podman's, under a name of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from docker.errors import DockerException, ImageNotFound

from envbuilder.model.errors import MissingToolError
from envbuilder.model.image import Image
from envbuilder.model.progress import Progress
from envbuilder.storage.store import Store

from .docker import DockerRuntime
from .loading import answering, loaded, new_mark
from .local_registry import local_registry

_SHORT = 12


def into_docker(image: Image, runtime: DockerRuntime, *, name: str, progress: Progress) -> str:
    """Bring ``image`` into the engine, if it is not there, and return its name there.

    Raises MissingToolError if the engine does not take it.
    """
    repository, tag = f"envbuilder/{name}", _tag(image)
    client = runtime.client
    with answering():
        try:
            if client.images.get(f"{repository}:{tag}").id in _ids(image):
                return f"{repository}:{tag}"
        except ImageNotFound:
            pass
    with loaded(image, client, store=runtime.store, progress=progress) as passing:
        try:
            with answering():
                client.images.get(passing).tag(repository, tag)
        except DockerException as error:
            raise MissingToolError(
                f"the Docker Engine does not keep the image: {error}", hint="docker system df"
            ) from error
    return f"{repository}:{tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """This user's Podman, which takes images from ``store``."""

    store: Store

    def bring(self, image: Image, *, name: str, progress: Progress) -> str:
        """Bring ``image`` to where Podman has it, and return its name there.

        Raises MissingToolError if there is no Podman, or it does not take the image.
        """
        wanted = f"localhost/envbuilder/{name}:{_tag(image)}"
        known = _podman("image", "inspect", "--format", "{{.Id}}", wanted, check=False)
        if f"sha256:{known.strip()}" in _ids(image):
            return wanted
        mark, total = new_mark(), sum(layer.size for layer in image.layers)
        with (
            progress.step("load", "into Podman", total=total) as step,
            local_registry(image, self.store, tag=mark, on_sent=step.advance) as registry,
        ):
            passing = f"{registry.repository}:{mark}"
            _podman("pull", "--quiet", "--tls-verify=false", passing)
        _podman("tag", passing, wanted)
        _podman("untag", wanted, passing)
        return wanted


def _tag(image: Image) -> str:
    return image.digest.hex[:_SHORT]


def _ids(image: Image) -> set[str]:
    """Return what an engine may call the image: the digest of its config, or of its manifest."""
    return {str(image.config_digest), str(image.digest)}


def _podman(*words: str, check: bool = True) -> str:
    line: Sequence[str] = ("podman", *words)
    try:
        done = subprocess.run(line, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise MissingToolError("podman is not installed", hint="apt-get install podman") from error
    if check and done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise MissingToolError(f"podman {words[0]} failed: {said}", hint="podman info")
    return done.stdout
