"""Lock -> a folder that Docker builds the same image from, without envbuilder."""

from __future__ import annotations

from .folder import render, render_question, write
from .stages import files_stage, further_stage, index_layers, wheel_stage
from .values import OWN_SECRETS, system_packages

__all__ = [
    "OWN_SECRETS",
    "files_stage",
    "further_stage",
    "index_layers",
    "render",
    "render_question",
    "system_packages",
    "wheel_stage",
    "write",
]
