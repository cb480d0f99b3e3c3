"""A small lock with a part of every kind, sealed or not."""

from dataclasses import replace

from envbuilder.model.image import Image
from envbuilder.model.lock import DebianBase, DebPackage, GitSource, Lock, Wheel
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Seal
from envbuilder.model.spec import from_builtins


def _wheel(name: str, version: str) -> Wheel:
    filename = f"{name}-{version}-py3-none-any.whl"
    digest = Digest.of(filename.encode())
    return Wheel(name=name, version=version, filename=filename, size=100, sha256=digest)


def small_lock() -> Lock:
    """Make a lock of one wheel, one git source and one .deb file."""
    spec = from_builtins(
        {
            "version": 1,
            "name": "small",
            "python": "3.13",
            "base": {"debian": "trixie"},
            "packages": {
                "tqdm": "==4.67.1",
                "mine": {"git": "https://git.example.test/mine", "tag": "v1"},
            },
        }
    )
    deb = DebPackage(
        name="libstdc++6",
        version="1:14.2.0-19",
        architecture="amd64",
        filename="pool/main/g/gcc-14/libstdc++6_14.2.0-19_amd64.deb",
        size=1,
        sha256=Digest.of(b"deb"),
    )
    source = GitSource(
        name="mine",
        version="1.0+local",
        repository="https://someone:hunter2@git.example.test/mine",
        requested="v1",
        commit="c" * 40,
        tree="d" * 40,
        requires=(_wheel("setuptools", "79.0.1"),),
        wheel=_wheel("mine", "1.0+local"),
    )
    return Lock(
        spec=spec,
        base=DebianBase(suite="trixie", packages=(deb,)),
        wheels=(_wheel("tqdm", "4.67.1"),),
        sources=(source,),
    )


def sealed(lock: Lock, image: Image) -> Lock:
    """Seal ``lock`` with ``image``."""
    seal = Seal(
        engine="embedded",
        layout=1,
        layers=image.layers,
        config=image.config_digest,
        manifest=image.digest,
    )
    return replace(lock, seal=seal)
