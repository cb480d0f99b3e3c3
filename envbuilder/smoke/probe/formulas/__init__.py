"""Formulas of processors that are met in real model directories: how many tokens an item becomes.

One small file for each, written from its source and from nothing that the processor returns, so
that a rounding that is wrong but consistent meets a second opinion. Each has ``SOURCE`` and
``tokens(sample, stated, config)``: ``stated`` is what the processor's files say, ``config`` the
model's configuration; None if these do not say what the formula needs.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

BY_PROCESSOR = {
    "AyaVisionProcessor": "aya_vision",
    "Cohere2VisionProcessor": "cohere2_vision",
    "DeepseekOcr2Processor": "deepseek_ocr2",
    "DeepseekVLProcessor": "deepseek_vl",
    "Gemma3Processor": "gemma3",
    "Gemma3nProcessor": "gemma3n",
    "Gemma4Processor": "gemma4",
    "Glm46VProcessor": "glm4v",
    "Glm4vProcessor": "glm4v",
    "GraniteSpeechProcessor": "granite_speech",
    "Idefics3Processor": "idefics3",
    "Kimi_K25Processor": "kimi_k25",
    "Lfm2VlProcessor": "lfm2_vl",
    "Llama4Processor": "llama4",
    "MiniCPMV4_6Processor": "minicpm_v",
    "Ovis2Processor": "ovis2",
    "PaliGemmaProcessor": "paligemma",
    "Phi4MultimodalProcessor": "phi4_multimodal",
    "PixtralProcessor": "pixtral",
    "Qwen2VLProcessor": "qwen_vl",
    "Qwen2_5_VLProcessor": "qwen_vl",
    "Qwen3VLProcessor": "qwen_vl",
    "SmolVLMProcessor": "idefics3",
}


def of(processor: Any) -> ModuleType | None:
    """Return the module that knows how ``processor`` counts; None if none does."""
    name = BY_PROCESSOR.get(type(processor).__name__)
    return importlib.import_module("." + name, __name__) if name else None
