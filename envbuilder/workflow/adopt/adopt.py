"""A source -> a spec that says the same: read, put together, checked, written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from envbuilder.model.atomic import write_text
from envbuilder.model.errors import UsageError
from envbuilder.model.spec import Spec
from envbuilder.model.spec_file import parse
from envbuilder.model.yaml_document import parse_document
from envbuilder.registry.open_image import open_image
from envbuilder.resolve.context import Context

from .dockerfile.read import read_dockerfile
from .fold import Findings, Target, fold
from .image import read_image
from .locks import read_pylock
from .pyproject import Choice, read_pyproject
from .requirements import read_requirements_file, takes_wheels_alone
from .sources import Kind, Source, find_source
from .statements import At, Setting, Statement, taken
from .venv import read_venv
from .writer import write_spec

_INSTALLED = {Kind.VENV, Kind.IMAGE, Kind.REQUIREMENTS}
"""Sources that hold versions of what was installed, and not in which form it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a spec is to be written from, and how: ``stage`` and ``arguments`` of a Dockerfile."""

    source: str
    target: Target
    stage: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A spec that was written, and what of its source is in it."""

    spec: Spec
    findings: Findings


def adopt(context: Context, path: Path, wish: Wish) -> Adopted:
    """Write the spec at ``path`` from what the user has already.

    The text is checked as ``lock --dry-run`` checks it before anything is written. Raises
    UsageError for a source that cannot be read or, with ``pin``, does not hold its versions.
    """
    source = find_source(wish.source)
    statements = tuple(_statements(context, source, wish))
    built = () if takes_wheels_alone(statements) else _built(source, wish.target)
    findings = fold(chain(statements, built), wish.target)
    if wish.target.pin and findings.unpinned:
        raise _floating(source, findings.unpinned)
    text = write_spec(path.stem, wish.source, findings)
    spec = parse(parse_document(path, text))
    write_text(path, text)
    return Adopted(spec=spec, findings=findings)


def _statements(context: Context, source: Source, wish: Wish) -> Iterator[Statement]:
    pin = wish.target.pin
    match source.kind:
        case Kind.REQUIREMENTS:
            yield from read_requirements_file(source.path)
        case Kind.PYPROJECT:
            yield from read_pyproject(source.path, pin=pin, choice=Choice(extras=source.extras))
        case Kind.PYLOCK:
            yield from read_pylock(source.path, pin=pin)
        case Kind.VENV:
            yield from read_venv(source.path, pin=pin)
        case Kind.DOCKERFILE:
            arguments = {**wish.arguments, **_automatic(wish.target.platform)}
            yield from read_dockerfile(source.path, arguments=arguments, stage=wish.stage)
        case Kind.IMAGE:
            yield from _image(context, source, wish.target)


def _built(source: Source, target: Target) -> Iterator[Statement]:
    """Allow that what has no wheel is built: where versions were only installed, it was, too.

    Locks say themselves which of their packages are sdists.
    """
    if target.pin and source.kind in _INSTALLED:
        at = At(place="--pin", text="what has no wheel was built there, too")
        yield taken(at, Setting(path=("build", "sdists"), value="all"), note=at.text)


def _image(context: Context, source: Source, target: Target) -> Iterator[Statement]:
    with open_image(
        source.name, target.platform, store=context.store, registries=context.registries
    ) as opened:
        contents = opened.contents(context.progress)
    yield from read_image(source.name, opened.image, contents, pin=target.pin)


def _automatic(platform: str) -> dict[str, str]:
    """Return the arguments that BuildKit sets by itself in every stage that declares them."""
    system, _, architecture = platform.partition("/")
    return {"TARGETPLATFORM": platform, "TARGETOS": system, "TARGETARCH": architecture}


def _floating(source: Source, names: tuple[str, ...]) -> UsageError:
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return UsageError(
        f"{source.name} does not hold the version of {shown}, so nothing can be pinned to it",
        hint="name what holds them: the image, a virtual environment, `pip freeze`, or a lock",
    )
