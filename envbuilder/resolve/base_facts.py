"""What an image base tells of itself: its C library, its Python, and where that lies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from envbuilder.layers.below import Below
from envbuilder.model.errors import ResolutionError
from envbuilder.model.image import Image
from envbuilder.model.plan import PREFIX
from envbuilder.model.reference import ImageRef
from envbuilder.model.spec import Spec
from envbuilder.registry.transfer import pull_layers

from .below import look_below
from .context import Context
from .place import PLACE_HINT, place_problem

_USUAL = ("/usr/bin", "/usr/local/bin", "/opt/conda/bin")
_PROGRAM = re.compile(r"(?P<folder>(?:.*/)?bin)/python(?P<minor>3\.\d+)")
_LIBC = re.compile(r"(?:usr/)?lib(?:64)?/(?:[^/]+/)?libc(?:\.so\.6|-2\.\d+\.so)")
_MUSL = re.compile(r"(?:usr/)?lib/ld-musl-[^/]+\.so\.1")
_OLDEST_MUSL = "1.1"  # what musllinux wheels begin with; a base that tells no version has more


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """What files of a base say; None for what they do not.

    ``glibc`` is ``2.36``, ``musl`` is ``1.2.4``; ``python`` is the release X.Y.Z of the program
    ``interpreter``, an absolute path.
    """

    glibc: str | None = None
    musl: str | None = None
    python: str | None = None
    interpreter: str | None = None


def ask_base(context: Context, spec: Spec, ref: ImageRef, image: Image) -> BaseFacts:
    """Look into the files of ``image``, the base of ``spec``, which are fetched for that.

    Nothing is asked that the spec says by itself. Raises NetworkError, BuildError, and
    ResolutionError if the base has no such Python and nothing in the spec brings it, or if
    something lies at the environment's place that no step can take away.
    """
    if says_all(spec):
        return BaseFacts()
    pull_layers(context.registries.repository(ref), image.layers, context.store, context.progress)
    places = look_below(context, image.layers)
    variables = dict(entry.partition("=")[::2] for entry in image.settings.get("Env") or ())
    path = variables.get("PATH", "")
    facts = read_facts(places, minor=spec.minor, path=path, at=spec.base.python)
    _check_place(spec, ref, places)
    _check(spec, ref, facts, places)
    return facts


def says_all(spec: Spec) -> bool:
    """Return whether the spec leaves nothing of its base to ask."""
    return None not in {spec.base.glibc, spec.base.python} and spec.python != spec.minor


def read_facts(places: Below, *, minor: str, path: str, at: str | None = None) -> BaseFacts:
    """Read the facts of Python ``minor``, found on the image's ``path`` or ``at`` that place."""
    interpreter = at or _find(places, minor, path)
    return BaseFacts(
        glibc=_glibc(places),
        musl=_musl(places),
        python=None if interpreter is None else _release(places, interpreter, minor),
        interpreter=interpreter,
    )


def _find(places: Below, minor: str, path: str) -> str | None:
    """Find the interpreter as a user of the image would; of those elsewhere, the first by name."""
    folders = [each for each in path.split(":") if each.startswith("/")]
    folders = [each for each in folders if not f"{each}/".startswith(f"{PREFIX}/")]
    elsewhere = sorted(f"/{match['folder']}" for match in _programs(places, minor))
    for folder in (*folders, *_USUAL, *elsewhere):
        program = f"{folder.rstrip('/')}/python{minor}"
        if places.find(program) is not None:
            return program
    return None


def _programs(places: Below, minor: str | None = None) -> Iterator[re.Match[str]]:
    for path in places.files:
        match = _PROGRAM.fullmatch(path)
        if match is not None and minor in {None, match["minor"]}:
            yield match


def _release(places: Below, interpreter: str, minor: str) -> str | None:
    """Ask the program, its library, its headers and the package that it came with, in turn."""
    real = places.real(interpreter)
    prefix = real.rpartition("/")[0].rpartition("/")[0]
    told = [places.find(real), places.find(f"{prefix}/include/python{minor}/patchlevel.h")]
    versions = [file.text.decode() for file in told if file is not None]
    versions += _library_versions(places, prefix, minor)
    package = places.packages.get(f"python{minor}", "") if prefix == "usr" else ""
    match = re.match(r"(?:\d+:)?(3\.\d+\.\d+)", package)
    versions += [match[1]] if match else []
    return next((each for each in versions if each.startswith(f"{minor}.")), None)


def _library_versions(places: Below, prefix: str, minor: str) -> list[str]:
    """Read the shared library below ``prefix``, or else those of the whole base, if they agree."""
    name = f"libpython{minor}.so.1.0"
    found = {
        path: file.text.decode()
        for path, file in places.files.items()
        if path.rpartition("/")[2] == name
    }
    near = [version for path, version in found.items() if path.startswith(f"{prefix}/")]
    return near or (list(found.values()) if len(set(found.values())) == 1 else [])


def _glibc(places: Below) -> str | None:
    versions = {
        file.text.decode() for path, file in places.files.items() if _LIBC.fullmatch(path)
    } - {""}
    return max(versions, key=_order, default=None)


def _musl(places: Below) -> str | None:
    if _glibc(places) is not None or not any(map(_MUSL.fullmatch, places.files)):
        return None
    installed = places.find("lib/apk/db/installed")
    told = installed.text.decode() if installed is not None else ""
    return told or _OLDEST_MUSL


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _check_place(spec: Spec, ref: ImageRef, places: Below) -> None:
    problem = place_problem(places)
    if problem is not None and not spec.steps.before_python:
        raise ResolutionError(f"{ref}: {problem}", hint=PLACE_HINT)


def _check(spec: Spec, ref: ImageRef, facts: BaseFacts, places: Below) -> None:
    comes = spec.system.packages or spec.steps.before_python
    if facts.interpreter is None and not comes:
        others = {match["minor"]: f"/{match[0]}" for match in _programs(places)}
        has = ", ".join(f"{minor} at {path}" for minor, path in sorted(others.items()))
        hint = f'python: "{max(others, key=_order)}"' if others else "base: {python: /its/path}"
        raise ResolutionError(
            f"{ref} has no Python {spec.minor}" + (f", but {has}" if has else ", nor another"),
            hint=f"{hint}, or system: {{packages: [python{spec.minor}]}} if its archive has that",
        )
    if spec.python != spec.minor and facts.python not in {None, spec.python}:
        raise ResolutionError(
            f"{ref} has Python {facts.python}, not {spec.python}",
            hint=f'python: "{spec.minor}" takes what the base has',
        )
