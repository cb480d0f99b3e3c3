"""Locks that between them use everything that a Dockerfile can hold."""

from dataclasses import replace

from envbuilder.model.lock import GitSource, ImageBase, Lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec import Spec, from_builtins, to_builtins

from . import locks


def debian() -> Lock:
    """A Debian base, heavy and small wheels, settings that need quotes."""
    found = locks.lock(
        {"idna": "3.10", "six": "1.17.0"},
        pins={"torch": "==2.6.0"},
        debs={"python3.12": "3.12.1-1", "libc6": "2.41-12"},
        name="debian",
        env={"GREETING": 'say "hi" to $$USER'},
        labels={"org.example.note": "it's `here`"},
        user="1000",
        workdir="/srv",
        entrypoint=["python", "-m", "server"],
        cmd=["--port", "8000"],
        expose=[8000],
    )
    return replace(found, wheels=(*found.wheels, locks.wheel("torch", "2.6.0", size=800 << 20)))


def image() -> Lock:
    """A registry base with pinned packages, the user's steps, secrets, and a git source."""
    found = locks.lock(
        {"numpy": "2.2.0"},
        pins={
            "numpy": "==2.2.0",
            "demo": {
                "git": "https://example.org/demo.git",
                "tag": "v1.0",
                "build": {"env": {"MAX_JOBS": "2"}},
            },
        },
        name="image",
        base={"image": "registry.example.org/base/cuda:12.4"},
        system={"packages": ["git=1:2.39.5-0", "python3.12=3.12.1-1"]},
        steps={
            "before_python": ["useradd --uid 1000 app\nmkdir /data"],
            "after_python": ["python -c 'import numpy'"],
        },
        build={"secrets": {"token": {"env": "TOKEN"}}, "ssh": True},
    )
    source = GitSource(
        name="demo",
        version="1.0",
        repository="https://example.org/demo.git",
        requested="v1.0",
        commit="c" * 40,
        tree="d" * 40,
        requires=(locks.wheel("setuptools", "80.0.0"),),
        time=1700000000,
        describe="v1.0-0-gccccccccc",
    )
    return replace(found, base=_base("registry.example.org/base/cuda:12.4"), sources=(source,))


def rpm() -> Lock:
    """An RPM base that belongs to a user, and a git source that is built on another image."""
    found = replace(image(), spec=_on("registry.example.org/base/ubi:9", image().spec))
    base = _base("registry.example.org/base/ubi:9", user="1001:0", manager="dnf")
    packages = ("git-core-2.47.1-1.el9.x86_64", "python3.12-3.12.1-1.el9.x86_64")
    builder = _base("registry.example.org/base/devel:9", user="builder")
    return replace(found, base=replace(base, packages=packages), builder=builder)


def _on(reference: str, spec: Spec) -> Spec:
    plain = to_builtins(spec)
    plain["base"]["image"] = reference
    plain["build"]["image"] = "registry.example.org/base/devel:9"
    plain["system"]["packages"] = ["git-core", "python3.12"]
    return from_builtins(plain | {"name": "rpm"})


def _base(reference: str, **more: str) -> ImageBase:
    return ImageBase(
        reference=reference, digest=Digest("a" * 64), config=Digest("b" * 64), layers=(), **more
    )


def compiled() -> Lock:
    """Bytecode of its packages, on an image that brings the Python."""
    found = locks.lock({"idna": "3.10"}, name="compiled", bytecode=True, python="3.10")
    base = replace(
        _base("registry.example.org/base/cuda:12.4"), interpreter="/opt/conda/bin/python"
    )
    plain = to_builtins(found.spec) | {"base": {"image": "registry.example.org/base/cuda:12.4"}}
    return replace(found, spec=from_builtins(plain), base=base)


CASES = {"debian": debian, "image": image, "rpm": rpm, "compiled": compiled}
