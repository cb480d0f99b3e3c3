"""Reading and writing ``pylock.NAME.toml``: PEP 751, plus ``[tool.envbuilder]``.

The text is a function of the value: sorted, stable, ending in one newline.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from msgspec import Struct

from . import spec as specs
from .atomic import write_text
from .codec import MisfitError, from_plain
from .errors import LockError
from .lock import (
    ArchiveSource,
    DebianBase,
    FileTree,
    GitSource,
    ImageBase,
    Lock,
    Wheel,
    in_build_order,
    spec_checksum,
)
from .reference import Digest
from .seal import Seal
from .spec_words import MACHINES, PLATFORMS, Platform
from .toml_text import TomlError, parse_toml

if TYPE_CHECKING:
    from .spec import Spec

FORMAT = 1
_OURS = "tool.envbuilder"
HEADER = "# Written by `envbuilder lock`; do not edit. The spec beside it says what is wanted.\n"


def lock_path(spec_path: Path, platform: Platform | None = None) -> Path:
    """Name the lock that belongs to a spec: ``NAME.yaml`` has ``pylock.NAME.toml`` beside it.

    Of a spec for several platforms it is that of the first of PLATFORMS; each other ``platform``
    has a ``pylock.NAME_ARCHITECTURE.toml``. No NAME has an underscore, and PEP 751 allows no dot.
    """
    return spec_path.with_name(f"pylock.{spec_path.stem}{suffix(platform)}.toml")


def suffix(platform: str | None) -> str:
    """Return what a file's name has behind NAME where it is that of a further platform."""
    return "" if platform in {None, PLATFORMS[0]} else f"_{str(platform).partition('/')[2]}"


def read_lock(path: Path) -> Lock:
    """Read a lock; raise LockError if it is missing, no TOML, or not of our format."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        name = path.name.removeprefix("pylock.").removesuffix(".toml").partition("_")[0]
        hint = f"envbuilder lock {name} makes it"
        raise LockError(f"there is no lock {path}", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise LockError(f"cannot read {path}: {error}") from error
    return parse_lock(text, name=str(path))


def parse_lock(text: str, *, name: str = "lock") -> Lock:
    """Parse a lock's text; ``name`` is how errors call it. Raises LockError."""
    hint = "restore it from git, or choose every pin anew: envbuilder lock NAME --upgrade"
    try:
        data = parse_toml(text)
    except TomlError as error:
        raise LockError(f"{name} is not TOML: {error}", hint=hint) from error
    try:
        return _lock(data)
    except MisfitError as error:
        raise LockError(f"{name} is not a lock of ours: {error}", hint=hint) from error
    except LockError as error:
        raise LockError(f"{name} {error.message}", hint=hint) from error


def write_lock(path: Path, lock: Lock) -> None:
    """Write ``lock`` to ``path`` at once or not at all."""
    write_text(path, dump_lock(lock))


def dump_lock(lock: Lock) -> str:
    """Return the lock's text."""
    return HEADER + tomli_w.dumps(_document(lock))


def lock_checksum(lock: Lock) -> Digest:
    """Hash the unsealed lock's text: the same before and after building."""
    return Digest.of(dump_lock(lock.unsealed()).encode())


def check_fresh(lock: Lock, spec: Spec, *, name: str) -> None:
    """Raise LockError that shows the difference if ``spec`` is not what was locked."""
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
    """Name what a store must keep so that ``lock`` builds and runs without a network.

    The forms that it was published in are among that, so that no push has to make them again.
    """
    needed = {wheel.sha256 for wheel in lock.wheels}
    for source in in_build_order(lock.built):
        needed |= {wheel.sha256 for wheel in source.requires}
        needed |= {source.wheel.sha256} if source.wheel is not None else set()
        needed |= {source.sha256} if isinstance(source, ArchiveSource) else set()
    needed |= {file.sha256 for tree in lock.files for file in tree.files if file.link is None}
    if isinstance(lock.base, DebianBase):
        needed |= {deb.sha256 for deb in lock.base.packages}
        needed |= {lock.base.standalone.sha256} if lock.base.standalone is not None else set()
    else:
        needed |= {lock.base.config, *(layer.digest for layer in lock.base.layers)}
    if lock.builder is not None and any(source.wheel is None for source in lock.built):
        needed |= {lock.builder.config, *(layer.digest for layer in lock.builder.layers)}
    if lock.seal is not None:
        needed |= {lock.seal.config, lock.seal.manifest}
        needed |= {layer.digest for layer in lock.seal.layers}
        for form in lock.seal.forms:
            needed |= {form.manifest, *(layer.digest for layer in form.layers)}
    return needed


def _document(lock: Lock) -> dict[str, Any]:
    spec = lock.spec
    machine = MACHINES[spec.platform]
    return {
        "lock-version": "1.0",
        "environments": [f"platform_machine == '{machine}' and sys_platform == 'linux'"],
        "requires-python": f"=={spec.minor}.*",
        "created-by": "envbuilder",
        "packages": _packages(lock),
        "tool": {"envbuilder": _ours(lock)},
    }


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
    entries += [_archive_entry(lock.spec, archive) for archive in lock.archives]
    return sorted(entries, key=lambda entry: str(entry["name"]))


def _archive_entry(spec: Spec, archive: ArchiveSource) -> dict[str, Any]:
    """Say where an sdist or folder lies, by paths alone: addresses stand in the spec."""
    pin = spec.archives.get(spec.key_of(archive.name) or "")
    if archive.files and pin is not None:  # a folder's version may differ tomorrow (PEP 751)
        return {"name": archive.name, "directory": {"path": pin.path}}
    path = f"sdists/{archive.filename}" if pin is None or pin.path is None else pin.path
    file = {"path": path, "size": archive.size, "hashes": {"sha256": archive.sha256.hex}}
    kind = "sdist" if pin is None else "archive"
    return {"name": archive.name, "version": archive.version, kind: file}


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
    if lock.archives:
        ours["archives"] = _plain(lock.archives)
    if lock.builder is not None:
        ours["builder"] = _plain(lock.builder)
    if lock.files:
        ours["files"] = _plain(lock.files)
    if lock.seal is not None:
        ours["seal"] = _plain(lock.seal) | {"layers": _sealed_layers(lock.seal)}
    return ours


def _sealed_layers(seal: Seal) -> list[dict[str, Any]]:
    """Return the layers with what they are, which their content does not tell."""
    return [
        _plain(layer)
        | {"kind": str(layer.kind)}
        | ({} if layer.bucket is None else {"bucket": layer.bucket})
        for layer in seal.layers
    ]


class _Artifact(Struct, frozen=True, kw_only=True):
    path: str
    size: int
    hashes: dict[str, str]


class _Package(Struct, frozen=True, kw_only=True):
    name: str
    version: str = ""
    wheels: tuple[_Artifact, ...] = ()


class _Ours(Struct, frozen=True, kw_only=True, rename="kebab"):
    """The table ``[tool.envbuilder]``; a new key is added here and in :func:`_ours`."""

    format: int
    spec_checksum: Digest
    spec: specs.Spec
    base: dict[str, Any]
    sources: tuple[GitSource, ...] = ()
    archives: tuple[ArchiveSource, ...] = ()
    builder: ImageBase | None = None
    files: tuple[FileTree, ...] = ()
    seal: Seal | None = None


def _lock(data: dict[str, Any]) -> Lock:
    """Read a lock; raise MisfitError, or LockError for what fits and yet may not be."""
    table = from_plain(data.get("tool"), dict[str, dict[str, Any]], place="tool")
    plain = table.get("envbuilder", {})
    if (found := plain.get("format", FORMAT)) != FORMAT:
        raise LockError(f"has format {found!r}, this envbuilder reads {FORMAT}")
    ours = from_plain(plain, _Ours, place=_OURS)
    base: type[DebianBase | ImageBase] = DebianBase if "suite" in ours.base else ImageBase
    packages = from_plain(data.get("packages"), tuple[_Package, ...], place="packages")
    lock = Lock(
        spec=ours.spec,
        base=from_plain(ours.base, base, place=f"{_OURS}.base"),
        wheels=tuple(_wheel(each, artifact) for each in packages for artifact in each.wheels),
        sources=ours.sources,
        archives=ours.archives,
        builder=ours.builder,
        files=ours.files,
        seal=ours.seal,
    )
    if ours.spec_checksum != spec_checksum(lock.spec):
        raise LockError("is damaged: the embedded spec was edited by hand")
    _check_same(data["packages"], _packages(lock), "packages")
    _check_same({**plain, "spec": None}, {**_ours(lock), "spec": None}, _OURS)
    return lock


def _wheel(package: _Package, artifact: _Artifact) -> Wheel:
    plain = {
        "name": package.name,
        "version": package.version,
        "filename": artifact.path.rpartition("/")[2],
        "size": artifact.size,
        "sha256": f"sha256:{artifact.hashes.get('sha256')}",
    }
    return from_plain(plain, Wheel, place=f"packages, {package.name}")


def _check_same(found: object, ours: object, place: str) -> None:
    """Raise MisfitError if ``found`` says what the lock that was read of it would not say.

    It may say less: a lock of an older version lacks keys that have a default.
    """
    if isinstance(found, dict) and isinstance(ours, dict):
        for key, value in found.items():
            if key not in ours:
                raise MisfitError(f"{place}: has an unknown key {key}")
            _check_same(value, ours[key], f"{place}.{key}")
    elif isinstance(found, list) and isinstance(ours, list) and len(found) == len(ours):
        for number, pair in enumerate(zip(found, ours, strict=True)):
            _check_same(*pair, f"{place}[{number}]")
    elif found != ours:
        raise MisfitError(f"{place}: expected {ours!r}, found {found!r}")


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
            if field.compare  # else it follows from the others
            and item is not None
            and (item != () or field.default is MISSING)
        }
    return value
