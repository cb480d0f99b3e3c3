"""Run a source's PEP 517 hooks in a sandbox, with exactly the locked build environment.

The environment lies on the sandbox as layers (``build_layers.py``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envbuilder.model.codec import MisfitError, any_json
from envbuilder.model.errors import BuildError, DiskFullError, SmokeError
from envbuilder.model.lock import Wheel
from envbuilder.model.owner import give, make_folder
from envbuilder.model.spec import BUILD_TIMEOUT
from envbuilder.runtime import Command, Completed, Mount
from envbuilder.runtime.limits import most_memory
from envbuilder.storage.temporary import translated

from .build_layers import PREFIX, build_layers
from .build_log import first_errors, is_starved
from .context import GitContext
from .no_network import explain
from .project import Project
from .sandbox import Sandbox

_HERE = Path(__file__).parent
_SOURCE, _OUTPUT = "/build/source", "/build/output"
_PROGRAM, _HOOK = "hook_program.py", "/build/hook.py"
_PARTS = ("hook_watch.py", "hook_compilers.py")  # which it imports from beside it
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CCACHE = "/usr/lib/ccache:/usr/lib64/ccache"  # compilers that go through it, if it is installed
_HOME = "/tmp/home"  # noqa: S108 - the container's own, made anew for every run
_COMPILERS = "/tmp/compilers"  # noqa: S108
_SHOWN = 40  # lines of a log, which lie in its last _TAIL bytes
_TAIL = 1 << 16
_READ = 16 << 20  # bytes; answers and metadata have a few thousand


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A call of a PEP 517 hook (see ``hook_program.py``) on the files in ``source``.

    ``mounts`` are what it sees beside them; ``known`` are the requirement lines that its
    environment was made for; ``requested`` names what the spec asks for itself. ``watch``: note
    what the source looks at beyond itself. ``timeout`` is in seconds.
    """

    name: str
    project: Project
    source: Path
    subdirectory: str | None
    env: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    known: tuple[str, ...] = ()
    requested: frozenset[str] = frozenset()
    watch: bool = False
    timeout: int = BUILD_TIMEOUT


def run_hook(
    sandbox: Sandbox,
    hook: Hook,
    *,
    requires: Iterable[Wheel],
    output: Path,
    log: Path,
    context: GitContext,
) -> Mapping[str, Any]:
    """Run ``hook`` with exactly the wheels ``requires`` (in the store) and return its result.

    ``output`` is an empty folder for what it makes; all that it prints goes to ``log`` at once, so
    that a build that is killed leaves it, too. Raises BuildError with the end of the log,
    MissingToolError if nothing can run it.
    """
    runtime = context.runtime()
    image, overlays = build_layers(
        sandbox, requires, hook.requested, context, overlaid=runtime.overlays
    )
    command = replace(_command(sandbox, hook, output, log), overlays=overlays)
    with translated(log):
        make_folder(log.parent, mode=0o700)
        log.write_bytes(b"")
        give(log)
    try:
        with translated(log):
            done = runtime.run(image, command, progress=context.progress)
    except SmokeError as error:
        raise BuildError(
            f"no Python runs there for a build: {error.message}",
            hint="it needs the spec's Python: system: {packages: [python3]}, below build for an "
            "image to compile in",
        ) from error
    # Where the disk is full, the build may have failed without a word: so does this line, then.
    with translated(log), log.open("ab") as file:
        file.write(b"exit code %d\n" % done.exit_code)
    result = _result(read_output(output, "result.json"))
    if done.exit_code or result is None:
        raise _failed(log, done, hook.timeout)
    return result


def looked_at(output: Path) -> tuple[str, ...]:
    """Return what a watched hook looked at beyond itself; that it kept it to itself, if it did."""
    try:
        found = any_json(read_output(output, "looked.json") or b"null")
    except MisfitError:
        found = None
    return tuple(map(str, found)) if isinstance(found, list) else ("nobody knows what",)


def is_plain_file(output: Path, name: str) -> bool:
    """Return whether a build left a plain file ``name`` below real folders of ``output``.

    A hostile build may leave links to this machine's files in the place of its results.
    """
    place = output
    for part in name.split("/"):
        place = place / part
        if part in {"", ".", ".."} or place.is_symlink():
            return False
    return place.is_file()


def read_output(output: Path, name: str) -> bytes | None:
    """Read a plain file that a build left; None if there is none, or one of senseless length."""
    if not is_plain_file(output, name) or (output / name).stat().st_size > _READ:
        return None
    return (output / name).read_bytes()


def _result(content: bytes | None) -> dict[str, Any] | None:
    """Read what the hook answered; a hostile build may have written anything there."""
    try:
        found = any_json(content or b"null")
    except MisfitError:
        return None
    sound = isinstance(found, dict) and isinstance(found.get("requires", []), list)
    return found if sound else None


def _command(sandbox: Sandbox, hook: Hook, output: Path, log: Path) -> Command:
    source = f"{_SOURCE}/{hook.subdirectory}" if hook.subdirectory else _SOURCE
    job = {
        "hook": hook.name,
        "backend": hook.project.backend,
        "backend_path": hook.project.backend_path,
        "source": source,
        "output": _OUTPUT,
        "known": hook.known,
        "watch": hook.watch,
        "compilers": _COMPILERS,
    }
    settings = dict(entry.partition("=")[::2] for entry in sandbox.settings.get("Env") or ())
    path = settings.get("PATH", _PATH)
    env = {
        "PATH": f"{PREFIX}/bin:{_CCACHE}:{path}",
        "VIRTUAL_ENV": PREFIX,
        "HOME": _HOME,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_NO_INDEX": "1",
        **hook.env,
    }
    return Command(
        args=(f"{PREFIX}/bin/python", "-u", _HOOK, json.dumps(job)),
        env=env,
        mounts=(
            *sandbox.mounts,
            *hook.mounts,
            Mount(source=hook.source, target=_SOURCE, read_only=False),
            Mount(source=output, target=_OUTPUT, read_only=False),
            Mount(source=_HERE / _PROGRAM, target=_HOOK),
            *(Mount(source=_HERE / part, target=f"/build/{part}") for part in _PARTS),
        ),
        timeout=hook.timeout,
        memory=most_memory(),
        log=log,
        user=f"{os.geteuid()}:{os.getegid()}",
        workdir="/",
    )


def out_of_time(timeout: int) -> str:
    """Say that a build took too long, and which key says how long it may take."""
    return f"took longer than the {timeout} seconds that the spec's build: {{timeout: …}} gives it"


def starved(limit: str) -> str:
    """Say what to do about a build that memory does not suffice for."""
    return f"set MAX_JOBS to fewer in the spec's `build: {{env: …}}`; {limit}"


def with_errors(said: str, errors: tuple[str, ...]) -> str:
    """Put the ``errors`` that a build told in between before what it ``said`` last."""
    if not errors:
        return said
    lines = "\n".join(f"  {line}" for line in errors)
    return f"its errors:\n{lines}\n{said}"


def _failed(log: Path, done: Completed, timeout: int) -> BuildError:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        said = file.read().decode(errors="replace")
    why, hint, errors = "failed", f"the whole log: {log}", first_errors(log)
    if done.timed_out:
        why = out_of_time(timeout)
    elif done.out_of_disk:
        return DiskFullError(
            f"the disk that holds {log.parent} is full: the build took more than seven eighths of "
            "what was free",
            hint="free some space, run `envbuilder cache prune`, or set ENVBUILDER_CACHE elsewhere",
        )
    elif done.out_of_memory:
        why = f"needed more than the {most_memory() >> 30} GiB of memory that a build gets here"
        hint = starved(hint)
    elif is_starved(errors):
        why = "lost a compiler to a lack of memory"
        hint = starved(hint)
    elif cause := explain(said):
        why, hint = f"{why}: {cause[0]}", f"{cause[1]}; {hint}"
    end = "\n".join(f"  {line}" for line in said.splitlines()[-_SHOWN:])
    return BuildError(
        f"the build {why}; " + with_errors(f"it said last:\n{end}", errors), hint=hint
    )
