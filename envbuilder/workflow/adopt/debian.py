"""Debian's package database in an image: what somebody asked for, not what came along."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .statements import At, Setting, Statement, taken
from .texts import lines_of

_STATUS = "var/lib/dpkg/status"
_MARKS = "var/lib/apt/extended_states"
_GIVEN = {"required", "important", "standard"}
_OF_CUDA = re.compile(r"(cuda|libcu|libnv|libnpp|libnccl|nvidia)[a-z0-9.+-]*")


def asked_packages(name: str, documents: Mapping[str, bytes], *, pin: bool) -> Iterator[Statement]:
    """Read the packages that were installed by name, with ``pin`` in their very versions."""
    status = list(_paragraphs(documents.get(_STATUS, b"")))
    came = {each.get("Package") for each in _paragraphs(documents.get(_MARKS, b""))
            if each.get("Auto-Installed") == "1"}  # fmt: skip
    for each in status:
        package, version = each.get("Package", ""), each.get("Version", "")
        if not each.get("Status", "").endswith(" installed") or not version:
            continue
        at = At(place=f"{name}/{_STATUS}", text=f"{package} {version}")
        if package in came or _is_given(each) or _OF_CUDA.fullmatch(package):
            yield taken(at)
        else:
            value = f"{package}={version}" if pin else package
            yield taken(at, Setting(path=("system", "packages"), value=[value]))


def _is_given(each: Mapping[str, str]) -> bool:
    return each.get("Priority") in _GIVEN or each.get("Essential") == "yes"


def _paragraphs(text: bytes) -> Iterator[dict[str, str]]:
    for paragraph in text.decode(errors="replace").split("\n\n"):
        lines = (line.partition(":") for line in lines_of(paragraph) if line[:1].strip())
        if found := {key: value.strip() for key, _, value in lines}:
            yield found
