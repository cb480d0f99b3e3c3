"""The builder that buildx talks to, and whether it is fit: asked before anything is built.

Reproducible layers need BuildKit 0.13 (``rewrite-timestamp``), which is in Docker 26, and an OCI
exporter, which Docker's own builder has where images lie in containerd's store.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from envbuilder.model.errors import MissingToolError

BUILDKIT = (0, 13)
DOCKER = 26
_PATIENCE = 120  # seconds for a question
_WAKING = 1200  # seconds for a builder that may have to fetch its own image first
_INSTALL = "apt-get install docker.io docker-buildx (Debian 13 or later, Ubuntu 24.04 or later)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """A builder that is fit for our builds; ``name`` None is the one in use.

    ``here`` are those in this machine's own network: what listens on loopback is there.
    """

    name: str | None
    driver: str
    version: str
    here: bool
    platforms: tuple[str, ...] = ()  # what it builds for; () where buildx does not tell

    def check(self, platform: str) -> None:
        """Raise MissingToolError if it has neither a processor nor emulation for ``platform``."""
        alike = (known.startswith(f"{platform}/") for known in self.platforms)
        if self.platforms and platform not in self.platforms and not any(alike):
            raise MissingToolError(
                f"the builder {self.name or 'in use'} builds for {', '.join(self.platforms)}, "
                f"not for {platform}",
                hint="name one that does with --builder, or teach it by emulation (binfmt_misc)",
            )

    @property
    def command(self) -> list[str]:
        """Start a build there; an engine's own builder works in that host's network.

        On this machine, what its index settings say holds inside the build too (a mirror or proxy
        on loopback); builders elsewhere have a network of their own.
        """
        if self.driver == "docker":  # buildx refuses to take an engine's builder by its name
            return ["docker", *_context(self.name), "buildx", "build", "--network", "host"]
        named = [] if self.name is None else ["--builder", self.name]
        return ["docker", "buildx", "build", *named]


def find_builder(name: str | None = None) -> Builder:
    """Find the builder ``name``, that of ``BUILDX_BUILDER``, or the one in use; wake it.

    Raises MissingToolError if docker, buildx or the builder is missing or too old.
    """
    name = name or os.environ.get("BUILDX_BUILDER") or None
    _ask("buildx", "version")
    asked = [name] if name else []
    text = _ask("buildx", "inspect", "--bootstrap", *asked, seconds=_WAKING)
    if error := _field(text, "Error"):  # said with exit code 0
        raise _explain(error)
    found = _field(text, "Name")
    driver = _field(text, "Driver") or "unknown"
    version = _field(text, r"Build[Kk]it(?: version)?") or "unknown"
    here = False
    if driver == "docker":
        if found != "default":  # `docker buildx use`: other commands would ask another engine
            name = found
        version, rootless = _check_docker(_context(name))
        local = os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")
        # Outside Linux Docker is in a VM; without root it has a network namespace of its own.
        here = found == "default" and local and sys.platform == "linux" and not rootless
    elif _below(version, BUILDKIT):
        raise MissingToolError(
            f"the builder {found} has BuildKit {version}, which is too old: "
            f"reproducible layers need {BUILDKIT[0]}.{BUILDKIT[1]}",
            hint="make a new one: docker buildx create --name fresh --bootstrap",
        )
    listed = re.findall(r"^Platforms:[ \t]*(\S.*)$", text, re.MULTILINE)  # of each of its nodes
    platforms = tuple(dict.fromkeys(re.findall(r"[^\s,*]+", ", ".join(listed))))
    return Builder(name=name, driver=driver, version=version, here=here, platforms=platforms)


def _context(name: str | None) -> list[str]:
    """Name an engine, whose own builder is called like its context."""
    return [] if name is None else ["--context", name]


def _check_docker(where: Sequence[str]) -> tuple[str, bool]:
    """Check an engine that builds by itself; give its version, and whether it runs without root."""
    version = _ask(*where, "version", "--format", "{{.Server.Version}}").strip()
    if _below(version, (DOCKER,)):
        raise MissingToolError(
            f"Docker {version} is too old: reproducible layers need Docker {DOCKER} or later, or a "
            "builder of their own",
            hint="docker buildx create --name fresh --bootstrap, then --builder fresh",
        )
    facts = _ask(*where, "info", "--format", "{{json .DriverStatus}} {{json .SecurityOptions}}")
    if "io.containerd.snapshotter" not in facts:
        raise MissingToolError(
            "this Docker keeps images in its older store, from which its builder exports no OCI "
            "images",
            hint='put {"features": {"containerd-snapshotter": true}} into daemon.json, or use '
            "--builder with a docker-container builder",
        )
    return version, '"name=rootless"' in facts


def _below(version: str, least: Sequence[int]) -> bool:
    """Compare versions; one that is no number (Debian says v0.0.0+unknown) passes."""
    match = re.match(r"v?(\d+)\.(\d+)", version)
    found = (int(match[1]), int(match[2])) if match else (0, 0)
    return found != (0, 0) and found[: len(least)] < tuple(least)


def _field(text: str, name: str) -> str | None:
    match = re.search(rf"^{name}:[ \t]*(\S.*)$", text, re.MULTILINE)
    return match[1].strip() if match else None


def _ask(*arguments: str, seconds: int = _PATIENCE) -> str:
    """Run a docker command that only tells something; raise MissingToolError for what is wrong."""
    try:
        done = subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, check=False, timeout=seconds
        )
    except FileNotFoundError as error:
        raise MissingToolError("docker is not installed", hint=_INSTALL) from error
    except subprocess.TimeoutExpired as error:
        raise MissingToolError(
            f"`docker {' '.join(arguments)}` has not ended after {seconds // 60} minutes",
            hint="run it to see what it waits for",
        ) from error
    if done.returncode == 0:
        return done.stdout
    raise _explain(done.stderr.strip())


def _explain(text: str) -> MissingToolError:
    last = text.splitlines()[-1] if text else "docker failed without a word"
    last = re.sub(r"^(error|ERROR): ", "", last)
    if "Cannot connect" in text or "failed to connect" in text or "connection refused" in text:
        where = os.environ.get("DOCKER_HOST", "its usual socket")
        message = f"no Docker Engine answers at {where}"
        return MissingToolError(
            message, hint="start it, set DOCKER_HOST, or build with --engine embedded"
        )
    if "permission denied" in text and "docker" in text:
        return MissingToolError(
            f"this user may not talk to Docker: {last}",
            hint="join the group docker (sudo usermod -aG docker $USER, then log in anew), or sudo",
        )
    if "context deadline exceeded" in text:
        return MissingToolError(
            "the builder does not answer: it is gone, or it and this machine do not take each "
            "other's certificates",
            hint="docker buildx inspect shows its address; its own log tells why",
        )
    if "no builder" in text:
        return MissingToolError(last, hint="docker buildx ls shows the builders")
    if "unknown command: docker buildx" in text or "is not a docker command" in text:
        return MissingToolError("docker has no buildx plugin", hint=_INSTALL)
    return MissingToolError(f"docker is not fit: {last}", hint="docker buildx inspect --bootstrap")
