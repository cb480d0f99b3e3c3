"""Reading and writing ``pylock.NAME.toml``: PEP 751, plus ``[tool.envbuilder]``.

The text is a function of the value: sorted, stable, ending in one newline.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import tomli_w

from . import spec as specs
from .atomic import write_text
from .errors import EnvbuilderError, LockError
from .lock import DebianBase, GitSource, ImageBase, Lock, Seal, Wheel, spec_checksum
from .reference import Digest

if TYPE_CHECKING:
    from .spec import Spec

FORMAT = 1
HEADER = "# Written by `envbuilder lock`; do not edit. The spec beside it says what is wanted.\n"


def lock_path(spec_path: Path) -> Path:
    """Name the lock that belongs to a spec: ``NAME.yaml`` has ``pylock.NAME.toml`` beside it."""
    return spec_path.with_name(f"pylock.{spec_path.stem}.toml")


def read_lock(path: Path) -> Lock:
    """Read a lock; raise LockError if it is missing, no TOML, or not of our format."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        name = path.name.removeprefix("pylock.").removesuffix(".toml")
        hint = f"envbuilder lock {name} makes it"
        raise LockError(f"there is no lock {path}", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LockError(f"cannot read {path}: {error}") from error
    return parse_lock(text, name=str(path))


def parse_lock(text: str, *, name: str = "lock") -> Lock:
    """Parse a lock's text; ``name`` is how errors call it. Raises LockError."""
    hint = "restore it from git, or choose every pin anew: envbuilder lock NAME --upgrade"
    try:
        data = tomllib.loads(text)
        ours = data["tool"]["envbuilder"]
        if ours["format"] != FORMAT:
            raise LockError(
                f"{name} has format {ours['format']!r}, this envbuilder reads {FORMAT}", hint=hint
            )
        lock = _lock(data, ours)
        if ours["spec-checksum"] != str(spec_checksum(lock.spec)):
            raise LockError(f"{name}: the embedded spec was edited by hand", hint=hint)
    except tomllib.TOMLDecodeError as error:
        raise LockError(f"{name} is not TOML: {error}", hint=hint) from error
    except KeyError as error:
        raise LockError(f"{name} is not a lock of ours: it lacks {error}", hint=hint) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise LockError(f"{name} is not a lock of ours: {error!r}", hint=hint) from error
    except LockError:
        raise
    except EnvbuilderError as error:
        raise LockError(f"{name}: {error.message}", hint=hint) from error
    return lock


def write_lock(path: Path, lock: Lock) -> None:
    """Write ``lock`` to ``path`` at once or not at all."""
    write_text(path, dump_lock(lock))


def dump_lock(lock: Lock) -> str:
    """Return the lock's text."""
    spec = lock.spec
    machine = specs.MACHINES[spec.platform]
    document = {
        "lock-version": "1.0",
        "environments": [f"platform_machine == '{machine}' and sys_platform == 'linux'"],
        "requires-python": f"=={spec.minor}.*",
        "created-by": "envbuilder",
        "packages": _packages(lock),
        "tool": {"envbuilder": _ours(lock)},
    }
    return HEADER + tomli_w.dumps(document)


def lock_checksum(lock: Lock) -> Digest:
    """Hash the unsealed lock's text: the same before and after building."""
    return Digest.of(dump_lock(lock.unsealed()).encode())


def check_fresh(lock: Lock, spec: Spec, *, name: str) -> None:
    """Raise LockError that shows the difference where ``spec`` is not what was locked."""
    if spec_checksum(spec) == spec_checksum(lock.spec):
        return
    old, new = (
        json.dumps(specs.to_builtins(each), indent=1, sort_keys=True).splitlines()
        for each in (lock.spec, spec)
    )
    changes = [
        line
        for line in difflib.unified_diff(old, new, lineterm="", n=0)
        if line[:1] in "+-" and line[:3] not in {"+++", "---"}
    ]
    shown = "\n".join(f"  {line}" for line in changes[:20])
    raise LockError(
        f"the lock of {name} is older than its spec (- locked, + wanted):\n{shown}",
        hint=f"envbuilder lock {name}",
    )


def needed_blobs(lock: Lock) -> set[Digest]:
    """Name what a store must keep so that ``lock`` builds and runs without a network."""
    needed = {wheel.sha256 for wheel in lock.wheels}
    needed |= {wheel.sha256 for source in lock.sources for wheel in source.requires}
    needed |= {source.wheel.sha256 for source in lock.sources if source.wheel is not None}
    if isinstance(lock.base, DebianBase):
        needed |= {deb.sha256 for deb in lock.base.packages}
    else:
        needed |= {lock.base.config, *(layer.digest for layer in lock.base.layers)}
    if lock.builder is not None and any(source.wheel is None for source in lock.sources):
        needed |= {lock.builder.config, *(layer.digest for layer in lock.builder.layers)}
    if lock.seal is not None:
        needed |= {lock.seal.config, lock.seal.manifest}
        needed |= {layer.digest for layer in lock.seal.layers}
    return needed


def _packages(lock: Lock) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"name": wheel.name, "version": wheel.version, "wheels": [_wheel_entry(wheel)]}
        for wheel in lock.wheels
    ]
    for source in lock.sources:
        vcs: dict[str, Any] = {
            "type": "git",
            "url": source.repository,
            "requested-revision": source.requested,
            "commit-id": source.commit,
        }
        if source.subdirectory is not None:
            vcs["subdirectory"] = source.subdirectory
        entries.append({"name": source.name, "version": source.version, "vcs": vcs})
    return sorted(entries, key=lambda entry: str(entry["name"]))


def _wheel_entry(wheel: Wheel) -> dict[str, Any]:
    return {
        "path": f"wheels/{wheel.filename}",
        "size": wheel.size,
        "hashes": {"sha256": wheel.sha256.hex},
    }


def _ours(lock: Lock) -> dict[str, Any]:
    ours: dict[str, Any] = {
        "format": FORMAT,
        "spec-checksum": str(spec_checksum(lock.spec)),
        "spec": specs.to_builtins(lock.spec),
        "base": _plain(lock.base),
    }
    if lock.sources:
        ours["sources"] = _plain(lock.sources)
    if lock.builder is not None:
        ours["builder"] = _plain(lock.builder)
    if lock.seal is not None:
        ours["seal"] = _plain(lock.seal)
    return ours


def _lock(data: dict[str, Any], ours: dict[str, Any]) -> Lock:
    wheels = (
        _wheel(package, entry)
        for package in data["packages"]
        for entry in package.get("wheels", ())
    )
    base_type = DebianBase if "suite" in ours["base"] else ImageBase
    return Lock(
        spec=specs.from_builtins(ours["spec"]),
        base=_value(ours["base"], base_type),
        wheels=tuple(wheels),
        sources=_value(ours.get("sources", []), tuple[GitSource, ...]),
        builder=_value(ours["builder"], ImageBase) if "builder" in ours else None,
        seal=_value(ours["seal"], Seal) if "seal" in ours else None,
    )


def _wheel(package: dict[str, Any], entry: dict[str, Any]) -> Wheel:
    plain = {
        "name": package["name"],
        "version": package["version"],
        "filename": entry["path"].rpartition("/")[2],
        "size": entry["size"],
        "sha256": f"sha256:{entry['hashes']['sha256']}",
    }
    wheel: Wheel = _value(plain, Wheel)
    if _wheel_entry(wheel) != entry:
        raise ValueError(f"expected {_wheel_entry(wheel)}, found {entry}")
    return wheel


def _plain(value: object) -> Any:  # noqa: ANN401 - TOML tables of any shape
    """Turn our dataclasses into TOML's types; TOML has no null, so None is left out."""
    if isinstance(value, Digest):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        named = ((field, getattr(value, field.name)) for field in fields(value))
        # What is left out comes back as its default; an empty tuple without one must be said.
        return {
            field.name: _plain(item)
            for field, item in named
            if item is not None and (item != () or field.default is MISSING)
        }
    return value


def _value(plain: Any, kind: Any) -> Any:  # noqa: ANN401 - any of lock.py's types
    """Turn TOML's types into ``kind``; raises TypeError or ValueError where they do not fit."""
    if kind is Digest:
        return Digest.parse(plain)
    if get_origin(kind) is tuple:
        return tuple(_value(item, get_args(kind)[0]) for item in plain)
    if isinstance(kind, UnionType):
        return _value(plain, get_args(kind)[0])
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _value(item, hints[name]) for name, item in plain.items()})
    if type(plain) is not kind:  # True is no size
        raise TypeError(f"expected {kind.__name__}, found {plain!r}")
    return plain


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)
