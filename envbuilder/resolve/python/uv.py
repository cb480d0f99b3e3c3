"""Run uv, the resolver, and translate what it says."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from envbuilder.model.errors import (
    EnvbuilderError,
    MissingToolError,
    NetworkError,
    ResolutionError,
    without_login,
)

from .credentials import LOG_IN

_NETWORK = re.compile(
    r"Failed to fetch|error sending request|dns error|Could not connect|tcp connect|timed out|"
    r"needs to be downloaded from a registry|network was disabled",
    re.IGNORECASE,
)
_FINDING = threading.Lock()
_NO_WHEEL = re.compile(r"Wheels are required for `([^`]+)`")
_FOREIGN = (  # advice to use what uv has and a spec says in its own way, or not at all
    (r" By default, uv will only consider[^.]*\.(?=[^.]* use `--index-strategy)", ""),
    (r" If all indexes are equally trusted, use `--index-strategy[^.]*\.", ""),
    (r" Consider using `exclude-newer-package`[^.]*\.", ""),
    (r" \(try: `--prerelease=allow`\)", ""),
    (r"(?m)^.*`(--[a-z]|tool\.uv|UV_[A-Z])[^`]*`.*$\n?", ""),
)
_HINTS = (  # what uv says, and what helps; the first that fits
    ("401 Unauthorized|403 Forbidden", LOG_IN),
    (_NETWORK, "check the network, the proxy and the index settings (UV_* or PIP_* variables)"),
    ("no usable wheels|no wheels with",
     "name a version that has a wheel, one of your own (`url:`, `path:`), or what builds it: "
     "`build: {sdists: [NAME]}`, or `git:`"),
    ("was not found in the (package registry|provided package locations)",
     "check the name, and the index settings (UV_* or PIP_* variables)"),
    ("but not at the requested version",
     "say `index: {strategy: best-match}` to take the best version of all indexes, or name the "
     "index of one package: `packages: {NAME: {version: …, index: …}}`"),
    ("missing an upload date|filtered by `exclude-newer`",
     "an index that tells no upload times shows nothing to `exclude_newer`: name the package, or "
     "its named index, in `index: {exempt: […]}`, or let the date go"),
    ("pre-releases weren't enabled", "name the pre-release in the spec, like \"==1.0rc1\""),
    ("no version of", "check the version; `index: {exclude_newer: …}` may hide newer ones"),
    ("", "loosen one of the pins named above"),
)  # fmt: skip


class NoWheelError(ResolutionError):
    """The resolution needs ``packages``, of which there are sdists alone; uv ``said`` it so."""

    def __init__(
        self, message: str, *, packages: tuple[str, ...], hint: str, said: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.packages = packages
        self.said = said or message


def find_uv() -> str:
    """Find uv's program; raises MissingToolError if the package holds none.

    One thread at a time: until it has been asked once, Python 3.11's sysconfig answers None to a
    second thread that asks meanwhile.
    """
    with _FINDING:
        try:
            return find_uv_bin()
        except FileNotFoundError as error:
            raise MissingToolError("uv is missing", hint="pip install uv") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What uv printed: its ``output``, and beside it ``warnings`` and what it did."""

    output: str
    warnings: str


def run_uv(arguments: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> Said:
    """Run uv in ``cwd`` and return what it said.

    Root leaves the cache of another user alone, whom files of root's would lock out there.
    Raises NetworkError if an index could not be reached, ResolutionError with uv's own
    explanation otherwise. Credentials inside URLs are blotted out.
    """
    cache = ["--no-cache"] if _cache_of_another(environment) else []
    done = subprocess.run(
        [find_uv(), *arguments, *cache, "--no-progress", "--color", "never"],
        env=dict(environment),
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise _explain(without_login(done.stderr))
    return Said(output=done.stdout, warnings=without_login(done.stderr))


def _cache_of_another(environment: Mapping[str, str]) -> bool:
    """Return whether we are root, and uv's cache is, or would be made, among another's files."""
    caches = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/"), ".cache")
    place = Path(environment.get("UV_CACHE_DIR") or Path(caches, "uv")).absolute()
    there = next(each for each in (place, *place.parents) if each.exists())
    return os.geteuid() == 0 and there.stat().st_uid != 0


def _explain(stderr: str) -> EnvbuilderError:
    text = re.sub(r"^(warning: .*|Resolved \d+ packages? in .*)\n", "", stderr, flags=re.MULTILINE)
    text = re.sub(r"^error: ", "", text.strip(), flags=re.MULTILINE)
    text = re.sub(r"^\s*(cause|hint): ", "  ", text, flags=re.MULTILINE)
    for foreign, ours in _FOREIGN:
        text = re.sub(foreign, ours, text)
    hint = next(hint for said, hint in _HINTS if re.search(said, text))
    if _NETWORK.search(text):
        return NetworkError(f"cannot ask the package index: {text}", hint=hint)
    if sdist := _NO_WHEEL.search(stderr):
        return NoWheelError(text.rstrip(), packages=(sdist[1],), hint=hint)
    return ResolutionError(text.rstrip(), hint=hint)
