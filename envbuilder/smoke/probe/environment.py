"""What is installed: distributions, their origin, whether their files are whole, what they need."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import re
import sys
from importlib.metadata import Distribution
from typing import Any

from . import records
from .facts import Absent, Emitter, Facts, describe

SHOWN = 50
"""How many findings of one kind are listed; their number is always reported in full."""


def run(request: Facts, emit: Emitter) -> None:
    """Emit the distributions on the module path, damaged files, and unmet requirements."""
    prefix = prefix_of(request)
    emit(facts={"prefix": prefix, "path": sys.path})
    found = distributions(prefix)
    emit(facts={"distributions": [entry for entry, _ in found]})
    emit(doing="checking requirements")
    emit(facts=_requirements([dist for entry, dist in found if entry["active"]], prefix))
    emit(doing="hashing installed files")
    owned = [(entry["name"], dist) for entry, dist in found if entry["owned"]]
    emit(facts={"files": records.verify(owned, request["installed"], SHOWN)})


def prefix_of(request: Facts) -> str:
    """Return the root of the environment, without symbolic links."""
    return os.path.realpath(request["prefix"] or sys.prefix)


def distributions(prefix: str) -> list[tuple[Facts, Distribution]]:
    """Return (facts, distribution) of everything on the module path.

    ``active`` is what an import would find; ``owned`` is what lies below ``prefix`` and not in
    the operating system's own ``dist-packages``.
    """
    found, seen = [], set()
    for dist in importlib.metadata.distributions():
        name = canonical(dist.metadata["Name"] or "")
        if not name:
            continue
        place = os.path.realpath(str(dist.locate_file("")))
        entry = {
            "name": name,
            "version": dist.version,
            "place": place,
            "owned": _below(place, prefix) and os.path.basename(place) != "dist-packages",
            "active": name not in seen,
            "installer": (dist.read_text("INSTALLER") or "").strip(),
            **_origin(dist),
        }
        seen.add(name)
        found.append((entry, dist))
    return sorted(found, key=lambda pair: (pair[0]["name"], not pair[0]["active"]))


def canonical(name: str) -> str:
    """Return ``name`` normalized as PEP 503 says."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _below(place: str, prefix: str) -> bool:
    return place == prefix or place.startswith(prefix.rstrip("/") + "/")


def _origin(dist: Distribution) -> Facts:
    """Return commit and editable mark from ``direct_url.json`` (PEP 610)."""
    text = dist.read_text("direct_url.json")
    try:
        record = json.loads(text) if text else {}
    except ValueError as error:
        return {"commit": None, "origin_error": describe(error)}
    return {
        "commit": record.get("vcs_info", {}).get("commit_id"),
        "editable": bool(record.get("dir_info", {}).get("editable")),
    }


def _requirements(active: list[Distribution], prefix: str) -> Facts:
    """Return the requirements that no active distribution meets (what ``pip check`` looks for)."""
    try:
        packaging = _packaging()
    except Absent as absent:
        return {"requirements_note": str(absent)}
    versions = {canonical(dist.metadata["Name"]): dist.version for dist in active}
    broken, unread = [], []
    for dist in active:
        if not _below(os.path.realpath(str(dist.locate_file(""))), prefix):
            continue
        by = f"{dist.metadata['Name']} {dist.version}"
        for text in dist.requires or ():
            try:
                needed = packaging.Requirement(text)
                if needed.marker and not needed.marker.evaluate({"extra": ""}):
                    continue
                present = versions.get(canonical(needed.name))
                met = present and needed.specifier.contains(present, prereleases=True)
            except ValueError as error:  # older than PEP 440: "numpy>=1.7.*"
                unread.append(f"{by}: {describe(error)}")
                continue
            if not met:
                broken.append({"by": by, "needs": str(needed), "found": present})
    return {"broken_requirements": broken, "unread_requirements": unread}


def _packaging() -> Any:
    for name in ("packaging", "pip._vendor.packaging", "setuptools._vendor.packaging"):
        try:
            return importlib.import_module(name + ".requirements")
        except ImportError:
            continue
    raise Absent("requirements were not compared: neither packaging nor pip is installed")
