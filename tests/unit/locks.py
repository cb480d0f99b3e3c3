"""Small locks for tests: a spec's pins and a few wheels, written in one line."""

from dataclasses import replace
from typing import Any

from packaging.requirements import Requirement

from envbuilder.model.lock import DebianBase, DebPackage, FileTree, GitSource, Lock, Wheel
from envbuilder.model.reference import Digest
from envbuilder.model.spec import from_builtins


def wheel(name: str, version: str, *, size: int = 1000, tag: str = "py3-none-any") -> Wheel:
    filename = f"{name.replace('-', '_')}-{version}-{tag}.whl"
    return Wheel(
        name=name,
        version=version,
        filename=filename,
        size=size,
        sha256=Digest.of(filename.encode()),
    )


def deb(name: str, version: str) -> DebPackage:
    return DebPackage(
        name=name,
        version=version,
        architecture="amd64",
        filename=f"pool/{name.partition('-')[0]}/{name}_{version}_amd64.deb",
        size=1,
        sha256=Digest.of(f"{name}{version}".encode()),
    )


def source(name: str, commit: str) -> GitSource:
    return GitSource(
        name=name,
        version="1.0",
        repository=f"https://example.org/{name}.git",
        requested="main",
        commit=commit,
        tree=commit,
        requires=(),
    )


def lock(
    versions: dict[str, str],
    *,
    pins: dict[str, Any] | None = None,
    debs: dict[str, str] | None = None,
    sources: tuple[GitSource, ...] = (),
    **spec: Any,
) -> Lock:
    """Lock ``versions`` (name -> version); the spec pins ``pins``, else everything exactly."""
    default = {name: f"=={version}" for name, version in versions.items()}
    plain = {
        "version": 1,
        "name": "x",
        "python": "3.12",
        "base": {"debian": "trixie"},
        "packages": default if pins is None else pins,
    }
    packages = tuple(deb(*item) for item in (debs or {}).items())
    return Lock(
        spec=from_builtins(plain | spec),
        base=DebianBase(suite="trixie", packages=packages),
        wheels=tuple(sorted(wheel(*item) for item in versions.items())),
        sources=sources,
    )


def needs(**lines: str) -> dict[str, tuple[Requirement, ...]]:
    """Give requirements: ``needs(torchvision="torch==2.6, numpy")``; ``_`` stands for ``-``."""
    return {
        name.replace("_", "-"): tuple(Requirement(each) for each in text.split(", ") if each)
        for name, text in lines.items()
    }


def replace_files(found: Lock, trees: tuple[FileTree, ...]) -> Lock:
    """Give a lock the files that its spec names."""
    return replace(found, files=trees)
