"""Arguments and options that several commands share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import click

from envbuilder.model.errors import UsageError

if TYPE_CHECKING:
    from envbuilder.evidence.signers import Signing
    from envbuilder.model.spec_words import Platform

COMPRESSIONS = ("gzip", "zstd", "zstd:chunked")
"""Those of the spec (a test compares them): its module takes too long to load for ``--help``."""

NAME = Path("lockfiles")


def find_folder() -> Path:
    """Return the project's ``lockfiles``, relative to here: beside us, or in a folder above.

    Above counts up to the top of the git checkout that we stand in, and not outside of one: a
    folder of that name further up is somebody else's.
    """
    try:
        here = Path.cwd()
    except OSError:  # somebody removed it
        return NAME
    above = [here, *here.parents]
    top = next((number for number, each in enumerate(above) if (each / ".git").exists()), 0)
    found = next((each for each in above[: top + 1] if (each / NAME).is_dir()), here)
    return Path(os.path.relpath(found / NAME))


FOLDER = find_folder()

DAYS = click.IntRange(0, 36500)  # a hundred years: no clock runs over
_F = TypeVar("_F", bound=Callable[..., object])


def complete_names(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the NAMEs of environments that begin so, for the shell."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem.startswith(begun))


def complete_refs(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Return the repositories that were pushed to from here and begin so, for the shell."""
    from envbuilder.registry.seen import known_repositories
    from envbuilder.storage.store import Store

    return [name for name in known_repositories(Store.default()) if name.startswith(begun)]


def environment(command: _F) -> _F:
    """Add NAME and ``-f/--file``: which spec a command works on."""
    command = click.argument("name", required=False, shell_complete=complete_names)(command)
    return click.option(
        "-f", "--file", type=click.Path(path_type=Path), help="A spec anywhere, instead of NAME."
    )(command)


def output(command: _F) -> _F:
    """Add ``-o/--output``: results for people or for programs."""
    return click.option(
        "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
        help="How results are written to stdout.",
    )(command)  # fmt: skip


def progress(command: _F) -> _F:
    """Add ``--progress``: how work is shown on stderr."""
    return click.option(
        "--progress", "progress_mode", type=click.Choice(["auto", "tty", "plain", "quiet"]),
        default="auto", show_default=True, help="How work is shown on stderr.",
    )(command)  # fmt: skip


def allow_unproven(command: _F) -> _F:
    """Add ``--allow-unproven``: what could not be judged does not end the command with 8."""
    return click.option(
        "--allow-unproven", is_flag=True,
        help="End well although something that was asked for could not be judged.",
    )(command)  # fmt: skip


def runtime(what: str, *, stated: bool = False) -> Callable[[_F], _F]:
    """Add ``--runtime``, which runs ``what``; ``stated`` tells "auto" from nothing said."""
    return click.option(
        "--runtime", type=click.Choice(["auto", "docker", "oci"]),
        default=None if stated else "auto", show_default="auto" if stated else True,
        help=f"What runs {what}.",
    )  # fmt: skip


def cluster(command: _F) -> _F:
    """Add ``--cluster`` and what goes with it: a Ray cluster does the work."""
    command = click.option(
        "--wait-for-nodes", is_flag=True,
        help="With --cluster: submit also what no machine there can run yet; one will come.",
    )(command)  # fmt: skip
    return click.option(
        "--cluster", metavar="URL",
        help="Build and smoke as jobs of the Ray cluster whose dashboard is there: "
        "http://HEAD:8265.",
    )(command)  # fmt: skip


def engine(text: str, *, default: str | None = "embedded") -> Callable[[_F], _F]:
    """Add ``--engine``: what builds."""
    return click.option(
        "--engine", type=click.Choice(["embedded", "docker"]), default=default,
        show_default=default is not None, help=text,
    )  # fmt: skip


def compression(command: _F) -> _F:
    """Add ``--compression``: how layers travel, if not as the spec says."""
    return click.option(
        "--compression", type=click.Choice(COMPRESSIONS),
        help="How layers travel; without it, as the spec says (publish.compression), else gzip.",
    )(command)  # fmt: skip


class SignerOptions(TypedDict):
    """Who signs evidence, as the command line names it."""

    key: str | None
    keyless: bool
    identity_token: str | None
    timestamp_server: str | None


def signer(command: _F) -> _F:
    """Add ``--key``, ``--keyless`` and what goes with them, as one argument ``signer``."""

    @wraps(command)
    def collected(**given: Any) -> object:  # noqa: ANN401 (whatever else the command takes)
        names = SignerOptions.__annotations__
        return command(signer={name: given.pop(name) for name in names}, **given)

    add = [
        click.option("--timestamp-server", metavar="URL",
            help="Have what the key signs stamped by this RFC 3161 authority: as bundles."),
        click.option("--identity-token", metavar="TOKEN",
            help="Sign as whom this token names: a file or env://NAME. Implies --keyless."),
        click.option("--keyless", is_flag=True,
            help="Sign without a key, through Sigstore, as this CI job or as who logs in."),
        click.option("--key", metavar="KEY",
            help="Sign evidence with this private key: a file or env://NAME."),
    ]  # fmt: skip
    for option in add:
        collected = option(collected)
    return cast("_F", collected)


def signing_of(signer: SignerOptions, *, bundles: bool | None = None) -> Signing | None:
    """Return who signs; None if nobody shall. Raises UsageError where options do not fit."""
    if not bundles and not any(signer.values()):
        return None
    from envbuilder.workflow.signing import signing_with

    return signing_with(**signer, bundles=bundles)


def builder(command: _F) -> _F:
    """Add ``--builder``: the buildx builder."""
    text = "The buildx builder, if Docker is needed."
    return click.option("--builder", metavar="NAME", help=text)(command)


def offline(command: _F) -> _F:
    """Add ``--offline``: no network."""
    text = "Use what the store has; never the network."
    return click.option("--offline", is_flag=True, help=text)(command)


def report(command: _F) -> _F:
    """Add ``--report``: files that the smoke report goes to."""
    return click.option(
        "--report", type=click.Path(path_type=Path), multiple=True,
        help="Write the smoke report: *.html, *.json or *.xml (JUnit). Repeatable.",
    )(command)  # fmt: skip


def platform(of: str, *, stated: bool = False) -> Callable[[_F], _F]:
    """Add ``--platform`` ``of`` an image; ``stated`` tells the default from nothing said."""
    known = "linux/amd64"
    return click.option(
        "--platform", default=None if stated else known, show_default=known if stated else True,
        help=f"Of {of}.",
    )  # fmt: skip


def model(when: str) -> Callable[[_F], _F]:
    """Add ``--family`` and ``--model``: by what is counted, ``when`` nothing else says it."""

    def add(command: _F) -> _F:
        text = f"{when}: count by the model in this folder."
        command = click.option("--model", metavar="DIR", help=text)(command)
        text = f"{when}: count by a tiny model of this family."
        return click.option("--family", callback=_known_family, help=text)(command)

    return add


def refuse_both(family: str | None, path: str | None) -> None:
    """Raise UsageError where ``--family`` and ``--model`` both say what is counted."""
    if family and path:
        raise UsageError("expected --family or --model, not both")


def _known_family(
    _context: click.Context, _option: click.Parameter, name: str | None
) -> str | None:
    from envbuilder.model.resources import other_family

    hint = None if name is None else other_family(name)
    if hint is not None:
        raise UsageError(f"--family: no family is called {name!r}", hint=hint)
    return name


def lockfiles(text: str) -> Callable[[_F], _F]:
    """Add ``--lockfiles``: another folder of specs and locks."""
    return click.option(
        "--lockfiles", type=click.Path(path_type=Path, file_okay=False), default=FOLDER,
        show_default=True, help=text,
    )  # fmt: skip


def spec_path(name: str | None, file: Path | None) -> Path:
    """Find the spec that NAME or ``--file`` means; raises UsageError with what there is."""
    if (name is None) == (file is None):
        raise UsageError(
            "expected either the NAME of an environment or --file PATH", hint=_known(FOLDER)
        )
    path = FOLDER / f"{name}.yaml" if file is None else file
    _finish(path)
    if file is None and not path.is_file():
        raise UsageError(
            f"there is no environment {name!r}: {path} is missing", hint=_known(FOLDER)
        )
    return path


def named_lock(text: str) -> Path:
    """Find the lock that ``text`` means: the NAME of an environment, or the path of a lock."""
    if text.endswith(".toml"):
        return Path(text)
    _finish(FOLDER / f"{text}.yaml")
    return FOLDER / f"pylock.{text}.toml"


def named_locks(text: str) -> dict[Platform | None, Path]:
    """Find all locks that ``text`` means: of a NAME for several platforms, one for each.

    None stands for the only one. Raises SpecError if the spec of that NAME cannot be read.
    """
    from envbuilder.model.pylock import lock_path
    from envbuilder.model.spec_file import platforms_at

    path, spec = named_lock(text), FOLDER / f"{text}.yaml"
    if text.endswith(".toml") or not spec.is_file():
        return {None: path}
    return {each: lock_path(spec, each) for each in platforms_at(spec)}


def refuse_several(path: Path) -> Path:
    """Return ``path`` of a spec, unless it names several platforms; raises UsageError then."""
    from envbuilder.model.spec_file import load, platforms_at

    if len(platforms_at(path)) > 1:
        load(path)  # says it
    return path


def lock_or_image(text: str, platform: str) -> Path | None:
    """Return the lock that ``text`` means, of several that of ``platform``; None for an image.

    Refuses a word that is neither. Raises SpecError if the spec of that NAME cannot be read.
    """
    path = named_lock(text)
    if text.endswith(".toml") or path.is_file() or (FOLDER / f"{text}.yaml").is_file():
        return next((own for each, own in named_locks(text).items() if each == platform), path)
    refuse_word(text)
    return None


def _finish(path: Path) -> None:
    """Finish a bump or rollback that was killed while it wrote, before anybody reads its files."""
    from envbuilder.workflow.bump.transaction import finish

    if finish(path):
        click.echo(f"note: finished a change of {path.stem} that was cut off", err=True)


def _known(folder: Path) -> str:
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if not names:
        return f"{folder}/ holds no specs; envbuilder init NAME writes one"
    return f"{folder}/ holds: {', '.join(names)}"


def refuse_word(text: str) -> None:
    """Refuse a bare word where an image is expected: Docker would ask its Hub for it.

    It is rather a slip in the name of an environment. Raises UsageError with what there is.
    """
    if set(text) & set("/:@") or text.endswith(".tar"):
        return
    names = [path.stem for path in FOLDER.glob("*.yaml") if path.stem != text]
    near = get_close_matches(text, names, n=1)
    raise UsageError(
        f"{text!r} is no image: expected one such as HOST/NAME:TAG",
        hint=(f"did you mean {near[0]}? " if near else "") + _known(FOLDER),
    )


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write ``value`` to stdout as indented JSON."""
    click.echo(json_text(value))


def json_text(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return ``value`` as indented JSON; half a surrogate pair stays an escape."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace")
