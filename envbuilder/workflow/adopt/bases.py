"""What an environment stands on: told by a FROM line, or by what an image itself holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from envbuilder.layers.contents import Contents
from envbuilder.model.image import Image

from .statements import At, Setting, Statement, left, taken
from .texts import lines_of

DEBIAN_PYTHON = {"bullseye": "3.9", "bookworm": "3.11", "trixie": "3.13"}
"""Each Debian suite's own Python."""
_NEWEST = "trixie"
_STANDALONE = 9
"""The first minor version of Python 3 that is taken as a standalone build."""
_DEBIAN = {"11": "bullseye", "12": "bookworm", "13": "trixie", "stable": "trixie"}
_UBUNTU_PYTHON = {"20.04": "3.8", "22.04": "3.10", "24.04": "3.12"}
_UBUNTU = {"focal": "20.04", "jammy": "22.04", "noble": "24.04"}
_OFFICIAL = r"(?:docker\.io/)?(?:library/)?"
_DEBIAN_REF = re.compile(
    rf"{_OFFICIAL}debian:(?P<suite>[a-z]+|\d+)(?:\.\d+)?(?:-slim|-\d{{8}}\S*)?"
)
_PYTHON_REF = re.compile(rf"{_OFFICIAL}python:(?P<version>3\.\d+)(?:\.\d+)?(?:-\S+)?")
_BASE_LABEL = "org.opencontainers.image.base.name"


def base_statement(at: At, reference: str) -> Statement:
    """Read a reference to a base image: Debian's suites are made of packages, others are kept.

    So is a Debian with a digest: a suite's packages would not be those of that very image.
    """
    name, _, digest = reference.partition("@")
    debian = _DEBIAN_REF.fullmatch(name)
    if debian is not None:
        suite = _DEBIAN.get(debian["suite"], debian["suite"])
        settings = list(_debian(suite))
        if digest:
            settings[0] = Setting(path=("base", "image"), value=reference)
        return taken(at, *settings)
    python = _PYTHON_REF.fullmatch(name)
    if python is not None:
        return taken(at, *python_image(reference, python["version"]))
    if reference == "scratch":
        return left(at, "an empty base has no Python")
    release = next((each for each in _UBUNTU_PYTHON if f"ubuntu{each}" in name), None)
    release = release or _ubuntu(name)
    settings = [Setting(path=("base", "image"), value=reference)]
    if release is not None:
        settings.append(Setting(path=("python",), value=_UBUNTU_PYTHON[release]))
    if "/pytorch:" in f"/{reference}" and "pytorch/pytorch" in reference:
        settings.append(Setting(path=("base", "python"), value="/opt/conda/bin/python3"))
    note = "" if release else "which Python this image has is not known: check `python`"
    return taken(at, *settings, note=note)


def base_variables(reference: str) -> dict[str, str]:
    """Return the variables of a well-known base that build lines go by."""
    cuda = re.search(r"(?:^|/)nvidia/cuda:(\d+\.\d+\.\d+)-", reference)
    python = re.fullmatch(rf"{_OFFICIAL}python:(3\.\d+\.\d+)(?:-\S+)?", reference.partition("@")[0])
    found = {"CUDA_VERSION": cuda[1]} if cuda else {}
    return found | ({"PYTHON_VERSION": python[1]} if python else {})


def python_image(reference: str, minor: str) -> tuple[Setting, ...]:
    """Return the settings for an official Python image, whose interpreter lies in /usr/local."""
    return (
        Setting(path=("base", "image"), value=reference),
        Setting(path=("base", "python"), value=f"/usr/local/bin/python{minor}"),
        Setting(path=("python",), value=minor),
    )


def default_base(minor: str, suite: str = "") -> tuple[Setting, ...]:
    """Return the base for Python ``minor``: Debian's ``suite``, else that which has this Python.

    Where it lacks it, or none has it, that Python is a standalone build, which needs no Docker.
    Before Python 3.9 there are none to count on, and the base is Python's official image.
    """
    own = next((each for each, python in DEBIAN_PYTHON.items() if python == minor), _NEWEST)
    chosen = suite or own
    if DEBIAN_PYTHON.get(chosen) != minor and int(minor.partition(".")[2]) < _STANDALONE:
        return python_image(f"python:{minor}-slim", minor)
    return (Setting(path=("base", "debian"), value=chosen),)


def has_own_python(base: Mapping[str, Any], minor: str) -> bool:
    """Return whether a Debian ``base`` has Python ``minor`` as a package, as far as is known."""
    return DEBIAN_PYTHON.get(str(base.get("debian")), minor) == minor


def base_of_image(name: str, image: Image, contents: Contents, minor: str) -> Iterator[Statement]:
    """Read what an image stands on: its label, else its CUDA, else its system's release."""
    at = At(place=name, text="base")
    settings = image.settings
    labels = settings.get("Labels") or {}
    if labels.get(_BASE_LABEL):
        yield base_statement(At(place=name, text=f"LABEL {_BASE_LABEL}"), str(labels[_BASE_LABEL]))
        yield _python_again(at, minor)
        return
    release = _os_release(contents.documents)
    reference = _cuda(settings, release) or _system(release)
    if reference is None:
        yield left(at, f"its system is not known here: {release.get('ID', 'no os-release')}")
        return
    where = At(place=f"{name}/etc/os-release", text=release.get("PRETTY_NAME", reference))
    suite = release.get("VERSION_CODENAME", "")
    debian = release.get("ID") == "debian" and reference.startswith("debian:")
    if debian and DEBIAN_PYTHON.get(suite) != minor:
        known = f"its Python {minor} is not Debian's own"
        note = known if suite in DEBIAN_PYTHON else f"which Python {suite} has is not known here"
        yield taken(where, *default_base(minor, suite), note=note)
        return
    yield base_statement(where, reference)
    yield _python_again(at, minor)


def _python_again(at: At, minor: str) -> Statement:
    return taken(at, Setting(path=("python",), value=minor))


def _debian(suite: str) -> Iterator[Setting]:
    yield Setting(path=("base", "debian"), value=suite)
    if suite in DEBIAN_PYTHON:
        yield Setting(path=("python",), value=DEBIAN_PYTHON[suite])


def _ubuntu(reference: str) -> str | None:
    match = re.fullmatch(rf"{_OFFICIAL}ubuntu:(\w+(?:\.\d+)?)(?:-\S+)?", reference)
    found = _UBUNTU.get(match[1], match[1]) if match else None
    return found if found in _UBUNTU_PYTHON else None


def _os_release(documents: Mapping[str, bytes]) -> dict[str, str]:
    text = documents.get("etc/os-release") or documents.get("usr/lib/os-release") or b""
    pairs = (line.partition("=") for line in lines_of(text.decode(errors="replace")))
    return {key: value.strip().strip("\"'") for key, equals, value in pairs if equals}


def _system(release: Mapping[str, str]) -> str | None:
    """Return the reference of the official image of a system."""
    if release.get("ID") == "debian" and release.get("VERSION_CODENAME"):
        return f"debian:{release['VERSION_CODENAME']}"
    if {"ID", "VERSION_ID"} <= release.keys():
        return f"{release['ID']}:{release['VERSION_ID']}"
    return None


def _cuda(settings: Mapping[str, Any], release: Mapping[str, str]) -> str | None:
    """Return the reference of NVIDIA's CUDA image, whose variables an image carries on."""
    env = dict(str(each).partition("=")[::2] for each in settings.get("Env") or ())
    version = env.get("CUDA_VERSION", "")
    if not re.fullmatch(r"\d+\.\d+\.\d+", version) or "NV_CUDA_CUDART_VERSION" not in env:
        return None
    cudnn = "cudnn-" if "NV_CUDNN_VERSION" in env else ""
    flavour = "devel" if "NV_CUDA_LIB_DEV_VERSION" in env or "NV_NVTX_DEV_VERSION" in env else (
        "runtime" if "NV_CUDA_LIB_VERSION" in env else "base"
    )  # fmt: skip
    system = f"{release.get('ID', '')}{release.get('VERSION_ID', '')}"
    return f"nvidia/cuda:{version}-{cudnn}{flavour}-{system}"
