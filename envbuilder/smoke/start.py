"""What an image starts, read from its own config: the smoke looks at it as it will be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .plan import SmokePlan, Start


def as_it_starts(plan: SmokePlan, settings: Mapping[str, Any]) -> SmokePlan:
    """Let ``plan`` look at what an image with ``settings`` (its OCI config) starts."""
    entry = tuple(settings.get("Entrypoint") or ())
    args = (*entry, *(settings.get("Cmd") or ()))
    start = plan.start or Start()
    serve = (*entry, *start.serve) if start.serve else ()
    workdir = settings.get("WorkingDir") or "/"
    return replace(plan, start=replace(start, args=args, serve=serve, workdir=workdir))
