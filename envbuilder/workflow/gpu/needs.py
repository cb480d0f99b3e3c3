"""What a lock wants of a GPU: a CUDA release, and a device that its wheels hold code for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from envbuilder.layers.wheel_reconstruction import has_wheel, wheel_file
from envbuilder.layers.wheelfile import WheelFile
from envbuilder.model.lock import ImageBase, Lock, Wheel
from envbuilder.resolve.context import Context
from envbuilder.storage.store import Store

from .code import architectures
from .cuda import number

RECORD = "gpu-code"
_RUNTIME = re.compile(r"nvidia-cuda-runtime(-cu\d+)?")
_BASE = re.compile(r"(?:.*/)?nvidia/cuda:(\d+\.\d+)")
_NVIDIA = re.compile(r"(?:.*/)?nvidia/")
_TARGET = re.compile(r"(\d+\.\d[a-z]?)((?:\+PTX)*)")
_NAMED = {
    "Maxwell+Tegra": "5.3",
    "Maxwell": "5.0;5.2+PTX",
    "Pascal": "6.0;6.1+PTX",
    "Volta+Tegra": "7.2",
    "Volta": "7.0+PTX",
    "Turing": "7.5+PTX",
    "Ampere+Tegra": "8.7",
    "Ampere": "8.0;8.6+PTX",
    "Ada": "8.9+PTX",
    "Hopper": "9.0+PTX",
    "Blackwell+Tegra": "10.1",
    "Blackwell": "10.0;12.0+PTX",
}
"""Torch's own names for targets. Source: ``torch.utils.cpp_extension`` of torch 2.7."""
_COMPILES_LATER = ("nvidia-", "triton")
"""NVIDIA's own libraries follow the CUDA release; Triton compiles for the device that it finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuda:
    """A CUDA release ("12.4") that something in the lock is made for, and how that is known."""

    version: str
    known_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The architectures (``sm_90``, as PTX ``compute_90``) that a package carries code for."""

    package: str
    architectures: tuple[str, ...]
    known_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Everything that a lock says of GPUs; all empty if it wants none.

    ``wanted_by`` says what wants a GPU if nothing names a CUDA release. ``unread`` are packages
    whose wheels are not in the store, the heaviest first, ``unclear`` sources whose targets are not
    in torch's words: nobody can say what they carry. ``compat`` names the forward-compatibility
    package, where the image has one.
    """

    cuda: tuple[Cuda, ...] = ()
    code: tuple[Code, ...] = ()
    wanted_by: str = ""
    unread: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    compat: str | None = None

    @property
    def newest(self) -> Cuda | None:
        """The newest CUDA release of all: the driver must serve it."""
        return max(self.cuda, key=lambda each: number(each.version), default=None)


def needs(context: Context, lock: Lock) -> Needs:
    """Find out what ``lock`` wants; wheels that the store lacks stay unknown, nothing is fetched.

    Reading the wheels takes seconds per GB, once: the answer is recorded in the store.
    """
    if not wants_gpu(lock):
        return Needs()
    cuda, targets = tuple(_releases(lock)), _targets(lock)
    wanted_by = "" if cuda else _wanted_by(lock, targets)
    carried, unread = _carried(context, lock)
    compiled = {name: arch_list(text) for name, text in targets.items()}
    by = "TORCH_CUDA_ARCH_LIST in the spec"
    return Needs(
        cuda=cuda,
        code=(
            *(
                Code(package=name, architectures=code, known_by=by)
                for name, code in compiled.items()
                if code
            ),
            *carried,
        ),
        wanted_by=wanted_by,
        unread=unread,
        unclear=tuple(f"{name} ({targets[name]})" for name, code in compiled.items() if not code),
        compat=_compat(lock),
    )


def wants_gpu(lock: Lock) -> bool:
    """Return whether what ``lock`` holds is made for a GPU; reads no wheel."""
    return any(True for _ in _releases(lock)) or bool(_wanted_by(lock, _targets(lock)))


def _releases(lock: Lock) -> Iterator[Cuda]:
    for wheel in lock.wheels:
        label = f"{wheel.name} {wheel.version}"
        local = re.fullmatch(r"cu(\d\d)(\d)", wheel.version.partition("+")[2])
        if _RUNTIME.fullmatch(wheel.name):
            yield Cuda(version=_release(wheel.version), known_by=label)
        elif local:
            yield Cuda(version=f"{local[1]}.{local[2]}", known_by=label)
    tag = _BASE.match(lock.base.reference) if isinstance(lock.base, ImageBase) else None
    if tag:
        yield Cuda(version=tag[1], known_by="the base image's tag")


def _release(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _targets(lock: Lock) -> dict[str, str]:
    """Return what the spec says that sources are compiled for, in its own words."""
    found = {
        source.name: lock.spec.build_of(source.name).env.get("TORCH_CUDA_ARCH_LIST", "")
        for source in lock.built
    }
    return {name: text for name, text in found.items() if text}


def _wanted_by(lock: Lock, targets: Mapping[str, str]) -> str:
    """Say what wants a GPU, or ''."""
    if isinstance(lock.base, ImageBase) and _NVIDIA.match(lock.base.reference):
        return "the base image is NVIDIA's"
    if targets:
        return f"TORCH_CUDA_ARCH_LIST is set for {', '.join(targets)}"
    return "smoke.gpu is required" if lock.spec.smoke.gpu == "required" else ""


def arch_list(text: str) -> tuple[str, ...]:
    """Translate torch's way to name targets, "8.0 9.0a+PTX", into sm_80, sm_90a and compute_90a.

    Nothing if a word is none of torch's.
    """
    for name, targets in _NAMED.items():
        text = text.replace(name, targets)
    words = [_TARGET.fullmatch(word) for word in re.findall(r"[^ ;]+", text)]
    found: list[str] = []
    for word in words:
        if word is None:
            return ()
        short = word[1].replace(".", "")
        found += [f"sm_{short}"] + [f"compute_{short}"] * bool(word[2])
    return tuple(found)


def _carried(context: Context, lock: Lock) -> tuple[list[Code], tuple[str, ...]]:
    """Return what each wheel with code for GPUs carries, and the packages that cannot be read."""
    wheels = [
        wheel
        for wheel in sorted(lock.wheels, key=lambda each: -each.size)
        if not wheel.filename.endswith("-any.whl") and not wheel.name.startswith(_COMPILES_LATER)
    ]
    found, unread = [], []
    with context.progress.step("read", "code for GPUs in the wheels", unit="wheels") as step:
        for wheel in wheels:
            known, label = _known(wheel, store=context.store), f"{wheel.name} {wheel.version}"
            if known is None:
                unread.append(label)
            elif known:
                by = "the fat binaries in its wheel"
                found.append(Code(package=label, architectures=tuple(known), known_by=by))
            step.advance(1)
    return found, tuple(unread)


def _known(wheel: Wheel, *, store: Store) -> list[str] | None:
    """Return the architectures in ``wheel``, None if neither it nor a record of it is here."""
    recorded = store.record(RECORD, str(wheel.sha256), list[str])
    if recorded is not None or not has_wheel(store, wheel.sha256):
        return recorded
    found: set[str] = set()
    with wheel_file(store, wheel.sha256) as path, WheelFile.open(path, wheel.filename) as opened:
        for member in opened.members.values():
            if ".so" in member.name:
                found |= architectures(content for _, content in opened.pieces(member))
    ordered = sorted(found, key=lambda name: (name.split("_")[0], int(name.split("_")[1])))
    store.put_record(RECORD, str(wheel.sha256), ordered)
    return ordered


def _compat(lock: Lock) -> str | None:
    """Name the cuda-compat package in the image: asked for, or part of NVIDIA's own base."""
    for name in lock.spec.system.packages:
        if name.startswith("cuda-compat"):
            return name
    tag = _BASE.match(lock.base.reference) if isinstance(lock.base, ImageBase) else None
    return f"cuda-compat-{tag[1].replace('.', '-')}" if tag else None
