"""Lock -> what the template of a Dockerfile prints: plain values, which it quotes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from msgspec import structs

from envbuilder.engines.dockerfile_quoting import Quoted, with_variables
from envbuilder.engines.own_files import may_replace_modules, rendered
from envbuilder.engines.standalone import python_archive
from envbuilder.layers.files import Content, Link, venv_skeleton
from envbuilder.layers.install import Target
from envbuilder.layers.tar import MTIME
from envbuilder.model.account import account_of
from envbuilder.model.errors import SpecError
from envbuilder.model.image_config import environment, image_settings
from envbuilder.model.lock import DebianBase, ImageBase, Lock
from envbuilder.model.plan import PREFIX, interpreter, plan
from envbuilder.model.reference import ImageRef
from envbuilder.model.variables import expanded, names_in
from envbuilder.resolve.git.build_sources import TOOLCHAIN

from .stages import SourceStages, WheelStage

OWN_SECRETS = ("env", "uv", "netrc", "ca")
"""What every step may mount: variables, uv's configuration, credentials by host, a CA bundle."""


def values_of(
    lock: Lock, stages: Sequence[WheelStage], sources: Sequence[SourceStages]
) -> dict[str, Any]:
    """Return all that the template of the whole image asks for.

    Raises SpecError for a secret with a name that every build has.
    """
    spec = lock.spec
    return {
        "name": spec.name,
        "epoch": MTIME,
        "prefix": PREFIX,
        "base": base_of(lock),
        "packages": system_packages(lock),
        "bytecode": spec.bytecode,
        "modules": f"{PREFIX}/{Target(python=spec.minor).site_packages}",
        "steps": spec.steps,
        "secrets": _secrets(lock),
        "ssh": spec.build.ssh,
        "builder": None if lock.builder is None else _builder(lock, lock.builder),
        "compilers": "system" if lock.builder is None else "builder",
        "interpreter": interpreter(lock),
        "layers": stages,
        "given": any(stage.given for stage in stages),
        "account": account_of(spec),
        "archives": any(source.archive for source in sources),
        "skeleton": _skeleton(lock),
        "files": rendered(lock),
        "replaced": may_replace_modules(lock),
        "built": sources,
        "sources": [each for each in sources if each.is_package],
        "toolchain": TOOLCHAIN,
        "lock_file": f"pylock.{spec.name}.toml",
        "settings": _settings(lock),
        "health": _health_options(lock),
    }


def base_of(lock: Lock) -> dict[str, Any]:
    """Return what the stages of the base print."""
    base = lock.base
    if isinstance(base, ImageBase):
        return {"kind": "image", "manager": base.manager} | _image(base)
    return {
        "kind": "debian",
        "suite": base.suite,
        "distribution": base.distribution,
        "architecture": lock.spec.platform.partition("/")[2],
        "python": _standalone(lock, base),
    }


def _standalone(lock: Lock, base: DebianBase) -> dict[str, str]:
    """Say which archive of the folder holds a Python of its own, if the base has one."""
    if base.standalone is None:
        return {}
    python = base.standalone
    return {"file": python_archive(lock), "name": python.filename, "sha256": python.sha256.hex}


def _image(base: ImageBase) -> dict[str, Any]:
    pinned = ImageRef.parse(base.reference).at(base.digest)
    return {"reference": base.reference, "pinned": pinned, "user": base.user}


def _builder(lock: Lock, image: ImageBase) -> dict[str, Any]:
    asked = lock.spec.build.system.packages
    packages = asked if image.packages is None else image.packages
    return {"manager": image.manager, "packages": packages} | _image(image)


def _secrets(lock: Lock) -> list[str]:
    names = sorted(lock.spec.build.secrets)
    if taken := sorted(set(names) & set(OWN_SECRETS)):
        raise SpecError(
            f"build.secrets: {taken[0]!r} is the name of a secret that every build may have",
            hint=f"call it my-{taken[0]}",
        )
    return names


def system_packages(lock: Lock) -> tuple[str, ...]:
    """Say what is installed on an image base: as locked, or as the spec has it."""
    if not isinstance(lock.base, ImageBase):
        return ()
    return lock.spec.system.packages if lock.base.packages is None else lock.base.packages


def _skeleton(lock: Lock) -> dict[str, Any]:
    """Sort the environment's own files into folders, links and files to write."""
    planned = plan(lock)
    files = venv_skeleton(
        Target(python=planned.python, prefix=PREFIX),
        interpreter=planned.interpreter,
        system_site_packages=lock.spec.system.site_packages,
    )
    return {
        "folders": sorted({path.rpartition("/")[0] for path in files}),
        "links": [(path, file.target) for path, file in files.items() if isinstance(file, Link)],
        "files": [
            (path, file.data.decode()) for path, file in files.items() if isinstance(file, Content)
        ],
    }


def _settings(lock: Lock) -> dict[str, Any]:
    """Return what the runtime stage states; what an image base states itself, Docker inherits."""
    if not isinstance(lock.base, ImageBase):
        return image_settings(lock, {}) | {"Env": environment(lock, {})}
    stated = image_settings(lock, {"User": lock.base.user})
    if not lock.spec.cmd:
        stated.pop("Cmd", None)
    return stated | _variables(lock)


def _variables(lock: Lock) -> dict[str, Any]:
    """Return the variables on an image base, whose own are known to Docker alone.

    Values that name others are one instruction, so that none of them sees another of the spec's.
    """
    given = lock.spec.env
    plain = environment(replace(lock, spec=structs.replace(lock.spec, env={})), {})
    env = plain | {"PATH": Quoted(f"{PREFIX}/bin:$PATH")}
    if any(map(names_in, given.values())):
        return {"Env": env, "Given": {name: with_variables(given[name]) for name in sorted(given)}}
    return {"Env": env | {name: expanded(given[name], {}) for name in sorted(given)}}


def _health_options(lock: Lock) -> dict[str, str]:
    """Return the flags of HEALTHCHECK that the spec asks for."""
    check = lock.spec.healthcheck
    if check is None:
        return {}
    times = {
        "interval": check.interval,
        "timeout": check.timeout,
        "start-period": check.start_period,
    }
    found = {name: f"{seconds}s" for name, seconds in times.items() if seconds}
    return found | ({"retries": str(check.retries)} if check.retries else {})
