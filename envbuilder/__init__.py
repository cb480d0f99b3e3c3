"""envbuilder: reproducible deployment environments for multimodal models on GPUs."""

from __future__ import annotations

__version__ = "0.1.0"
