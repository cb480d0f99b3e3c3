"""Lock -> Dockerfile and build context: text that anyone can read, commit and build with Docker.

The text is a pure function of the lock. Every value that the templates print goes through
``dockerfile_quoting.quote``, whether they ask for it or not: Jinja's ``finalize`` sees them all.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuilder.engines.dockerfile_quoting import document, exec_form, quote, script
from envbuilder.engines.given_wheels import requirements_text
from envbuilder.engines.labels import labelled
from envbuilder.engines.own_files import FOLDER as OWN_FOLDER
from envbuilder.engines.own_files import may_replace_modules
from envbuilder.model.atomic import write_text
from envbuilder.model.errors import UsageError
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.plan import direct_url, interpreter
from envbuilder.model.pylock import dump_lock
from envbuilder.model.resources import TEMPLATES
from envbuilder.model.spec import Steps
from envbuilder.resolve.debian import unchecked_pyc
from envbuilder.resolve.debian.mmdebstrap import PY3COMPILE
from envbuilder.resolve.debian.rootfs import SLIM
from envbuilder.resolve.git import hook_compilers
from envbuilder.resolve.git.build_sources import toolchain

from .bake import bake_file
from .stages import index_layers, source_stages, wheel_layer_stage
from .values import base_of, values_of

if TYPE_CHECKING:
    from jinja2 import Environment

_MARK = "# Rendered by `envbuilder render "
"""How the Dockerfile of every rendering begins."""


def render(lock: Lock) -> dict[str, str]:
    """Render ``lock``: the folder's files, by relative path.

    The same lock always gives the same bytes. Raises SpecError for values that a Dockerfile cannot
    hold.
    """
    stages = [wheel_layer_stage(lock, layer) for layer in index_layers(lock)]
    built = labelled(lock)
    sources = [source_stages(lock, name, source) for name, source in built.items()]
    values = values_of(lock, stages, sources)
    files = {
        "Dockerfile": _template("Dockerfile.j2", values),
        ".dockerignore": _template("dockerignore.j2", values),
        "docker-bake.json": bake_file(lock),
        values["lock_file"]: dump_lock(lock.unsealed()),
    }
    files |= {stage.file: stage.requirements for stage in stages}
    for source, locked in zip(sources, built.values(), strict=True):
        files[source.file] = requirements_text(lock, locked.requires)
        if (origin := direct_url(locked)) is not None:
            files[source.origin] = origin.decode()
        if source.toolchain:
            files[source.toolchain] = toolchain(lock.spec.build_of(source.name))
    files |= {f"build/{path.name}": path.read_text("utf-8") for path in _static()}
    if sources:
        files["build/hook_compilers.py"] = Path(hook_compilers.__file__).read_text("utf-8")
    if isinstance(lock.base, DebianBase):
        files |= _debian(lock.base)
    if isinstance(lock.base, DebianBase) or _has_modules_to_mind(lock):
        files["build/unchecked_pyc.py"] = Path(unchecked_pyc.__file__).read_text("utf-8")
    return dict(sorted(files.items()))


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write rendered ``files`` into ``folder``, in place of an earlier rendering.

    What that one's Dockerfile reads of ``requirements`` and ``files`` goes; all else in ``folder``
    stays. Raises UsageError, with nothing written, where ``folder`` holds files and no rendering
    of ours.
    """
    dockerfile = folder / "Dockerfile"
    old = dockerfile.read_text("utf-8", "replace") if dockerfile.is_file() else ""
    if not old.startswith(_MARK) and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} holds files, and no Dockerfile that envbuilder rendered",
            hint="--output names a new folder, or one that was rendered before",
        )
    for name in re.findall(r"source=(requirements/[\w.-]+)", old):
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    for number in re.findall(rf"^COPY {OWN_FOLDER}/([0-9]+)/ ", old, re.MULTILINE):
        shutil.rmtree(folder / OWN_FOLDER / number, ignore_errors=True)
    for name in sorted(files, key=lambda name: name != "Dockerfile"):  # a half is known as ours
        write_text(folder / name, files[name])


def render_question(lock: Lock) -> dict[str, str]:
    """Render what asks an image base for exact packages: target ``pins`` (see ``pins.sh``)."""
    values = {
        "base": base_of(lock),
        "interpreter": interpreter(lock),
        "packages": lock.spec.system.packages,
    }
    files = {f"build/{path.name}": path.read_text("utf-8") for path in _static()}
    return {"Dockerfile": _template("Dockerfile.pins.j2", values)} | files


def _has_modules_to_mind(lock: Lock) -> bool:
    """Return whether bytecode is made, or must go since steps or files replace modules."""
    return lock.spec.bytecode or lock.spec.steps != Steps() or may_replace_modules(lock)


def _debian(base: DebianBase) -> dict[str, str]:
    """Return what the stage ``rootfs`` reads: the files, and what the embedded engine does too."""
    lines = (f"{deb.sha256.hex} {deb.name} {deb.version}\n" for deb in base.packages)
    return {
        "debs.txt": "".join(lines),
        "build/slim.cfg": SLIM,
        "build/py3compile": PY3COMPILE,
    }


def _template(name: str, values: Mapping[str, Any]) -> str:
    return _templates().get_template(name).render(values)


@cache
def _templates() -> Environment:
    import jinja2  # noqa: PLC0415 - most builds render nothing, and need not wait for it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        finalize=quote,
        autoescape=False,  # noqa: S701 - no HTML; quote() escapes for Dockerfiles
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"exec_form": exec_form, "script": script, "document": document}
    return environment


def _static() -> list[Path]:
    return sorted((TEMPLATES / "context").iterdir())
