"""vLLM's own multimodal processor, asked without a GPU and without weights.

What vLLM calls these things changes from release to release, so every question below is put in
each known way, and the way is chosen by what the installed modules offer, never by version.
"""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import inspect
from typing import Any, Mapping

from . import films
from .facts import Absent, Facts
from .imports import modules

LENGTH = 32768
"""The context (tokens) in which the engine plans: room for one item of each modality."""


POSITIONS = ("max_position_embeddings", "max_target_positions")
"""How configurations call the longest prompt."""
PARSERS = ("get_data_parser", "_get_data_parser")
"""Methods that make the parser of items, newest first; 0.32 keeps it as ``data_parser``."""


def model_config(
    directory: str, limits: Mapping[str, int], arguments: Facts, length: int = LENGTH
) -> Any:
    """Return vLLM's configuration of the model in ``directory``: it must know the architecture.

    ``arguments`` are what else a server is started with; ``length`` (tokens) is its context.
    """
    from vllm.engine.arg_utils import EngineArgs

    _inspect_here()
    return EngineArgs(
        model=directory,
        dtype="float32",
        max_model_len=length,
        limit_mm_per_prompt=dict(limits),
        **arguments,
    ).create_model_config()


def _inspect_here() -> None:
    """Let vLLM look at the model's class in this process, which loads it next in any case.

    It would start another, lest CUDA be initialised in its own, and so import itself once more. A
    release that keeps this elsewhere goes its own way.
    """
    try:
        from vllm.model_executor.models import registry
    except ModuleNotFoundError:
        return
    if hasattr(registry, "_run_in_subprocess"):
        registry._run_in_subprocess = lambda inspect: inspect()


def architecture(config: Any) -> str:
    """Return the architecture that vLLM found for its model configuration ``config``."""
    found = getattr(config, "architecture", None)
    return str(found or config.hf_config.architectures[0])


class Vllm:
    """The processor that the installed vLLM would serve the model of ``config`` with.

    One per process: vLLM 0.8 keeps a global cache that ignores the options of a configuration.
    """

    def __init__(self, config: Any, limits: Mapping[str, int], length: int = LENGTH) -> None:
        from vllm.multimodal import MULTIMODAL_REGISTRY

        self.limits = dict(limits)
        self.length = length
        self.config = config
        self.registry = MULTIMODAL_REGISTRY
        create = MULTIMODAL_REGISTRY.create_processor
        uncached = {"disable_cache": True} if _takes(create, "disable_cache") else {}
        self.processor = create(self.config, **uncached)
        self.info = self.processor.info

    def refused(self) -> list[str]:
        """Return the modalities of which the engine takes none, whatever the model does."""
        known = getattr(self.info, "get_supported_mm_limits", None)
        return sorted(self.limits.keys() - known()) if known is not None else []

    # --- what it reserves ---------------------------------------------------------------------

    def declared(self) -> tuple[dict[str, int] | None, str]:
        """Return the maxima (tokens per item) that the engine declares, and who declares them.

        None: it declares nothing and measures its dummy instead.
        """
        for name in ("get_mm_max_tokens_per_item", "get_max_tokens_per_item"):
            method = getattr(self.info, name, None)
            if method is None:
                continue
            found = method(seq_len=self.length, mm_counts=self.limits)
            if found is not None:
                return {kind: int(number) for kind, number in found.items()}, f"info.{name}"
        return None, "derived from its dummy"

    def dummy(self) -> dict[str, int]:
        """Return the embeddings (per modality) that the engine's own dummy input yields."""
        inputs = self._dummy_inputs()
        return {kind: spans["embeds"] for kind, spans in self._spans(inputs).items()}

    def start_up(self) -> str | None:
        """Run the engine's own assertion of the two, where it has one; return its complaint or ''.

        None: this version has no such assertion.
        """
        try:
            from vllm.multimodal.profiling import MultiModalProfiler
        except ImportError:
            return None
        check = getattr(MultiModalProfiler(self.processor), "get_and_validate_mm_inputs", None)
        if check is None:
            return None
        try:
            check(self.length, self.limits)
        except AssertionError as error:
            return " ".join(str(error).split())
        return ""

    # --- what it makes of an item -------------------------------------------------------------

    def counts(
        self, prompt: str | list[int], data: Facts, token_ids: Mapping[str, int]
    ) -> dict[str, Facts]:
        """Return ``embeds``, ``ranges`` and occurrences of its token (``tokens``) by modality.

        The token is that of ``token_ids``, or, if it stands nowhere, the only one in the ranges: an
        engine may take another than transformers' processor.
        """
        inputs = self._apply(prompt, handed(self.processor, data), {})
        ids = list(inputs.get("encoder_prompt_token_ids") or inputs["prompt_token_ids"])
        spans = self._spans(inputs)
        for kind, found in spans.items():
            filled = {ids[at] for span in inputs["mm_placeholders"][kind] for at in _places(span)}
            known = ids.count(token_ids.get(kind, -1))
            found["tokens"] = known or (ids.count(*filled) if len(filled) == 1 else 0)
        return spans

    def _spans(self, inputs: Any) -> dict[str, Facts]:
        return {
            kind: {"embeds": sum(_embeds(span) for span in spans), "ranges": len(spans)}
            for kind, spans in inputs["mm_placeholders"].items()
        }

    def _dummy_inputs(self) -> Any:
        if _takes(getattr(self.processor, "get_dummy_inputs", None), "mm_options"):
            return self._applied(self.processor.get_dummy_inputs(self.length, self.limits, {}))
        builder = _dummy_builder(self.processor)
        whole = getattr(builder, "get_dummy_processor_inputs", None)
        if whole is not None and not _takes(whole, "mm_options"):
            # Before 0.11: prompt, data and arguments (the fork lifts caps there) in one answer.
            inputs = whole(self.length, self.limits)
            prompt = inputs.prompt_text if hasattr(inputs, "prompt_text") else inputs.prompt
            return self._apply(prompt, inputs.mm_data, dict(inputs.hf_processor_mm_kwargs))
        options: Facts = (
            {"mm_options": {}} if _takes(builder.get_dummy_mm_data, "mm_options") else {}
        )
        data = builder.get_dummy_mm_data(self.length, self.limits, **options)
        return self._apply(builder.get_dummy_text(self.limits), data, {})

    def _apply(self, prompt: str | list[int], data: Any, arguments: Facts) -> Any:
        """Run the processor on ``prompt`` and ``data`` in the way that this version asks for.

        It gets copies: some processors take settings out of the caller's own arguments, and some
        engines keep what they built a dummy of, so that the next question would find it changed.
        """
        data, arguments = copy.deepcopy(data), copy.deepcopy(arguments)
        apply = self.processor.apply
        if _takes(apply, "timing_ctx"):  # 0.18 and later: one value for everything
            from vllm.multimodal.processing import ProcessorInputs

            ids = "list[int]" in str(ProcessorInputs.__annotations__["prompt"])
            if ids and isinstance(prompt, str):
                prompt = self.info.get_tokenizer().encode(prompt, add_special_tokens=False)
            inputs = ProcessorInputs(
                prompt=prompt,
                mm_data_items=self.info.parse_mm_data(data),
                hf_processor_mm_kwargs=arguments,
            )
            return self._applied(inputs)
        given: Facts = {"prompt": prompt, "hf_processor_mm_kwargs": arguments}
        if _takes(apply, "mm_items"):
            given["mm_items"] = self.info.parse_mm_data(data)
        else:
            given["mm_data"] = data
        if _takes(apply, "tokenization_kwargs"):
            given["tokenization_kwargs"] = {}
        return apply(**given)

    def _applied(self, inputs: Any) -> Any:
        """Run the processor on ``inputs``, the one value that 0.18 and later take."""
        from vllm.multimodal.processing.context import TimingContext

        return self.processor.apply(inputs, TimingContext(enabled=False))


def handed(processor: Any, data: Facts) -> Facts:
    """Return ``data`` (lists of items by modality) as the parser of ``processor`` asks for it."""
    if "video" not in data or not needs_metadata(processor):
        return data
    return {**data, "video": [films.with_metadata(one) for one in data["video"]]}


def needs_metadata(processor: Any) -> bool:
    """Return whether the parser of vLLM's ``processor`` refuses a video without its metadata."""
    holders = [one for one in (processor, getattr(processor, "info", None)) if one is not None]
    parsers = [getattr(one, "data_parser", None) for one in holders]
    makers = [getattr(one, name, None) for one in holders for name in PARSERS]
    parsers += [make() for make in makers if make is not None]
    return any(getattr(parser, "video_needs_metadata", False) for parser in parsers)


def require_vllm() -> str:
    """Return the version of the installed vLLM, whatever a fork calls its distribution.

    Raises Absent if there is none; its message says how another engine in the image is asked.
    """
    version = _installed("vllm")
    if version is not None:
        return version
    sglang = _installed("sglang")
    if sglang is None:
        raise Absent("vLLM is not installed")
    raise Absent(
        f"vLLM is not installed. SGLang {sglang} is, which answers nothing before it serves: "
        "compare its counts with smoke --server URL"
    )


def _installed(package: str) -> str | None:
    """Return the version of what brings ``package``; None if a folder at most is there."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    installed = importlib.metadata.distributions()
    return next((dist.version for dist in installed if package in modules(dist)), "unknown")


def context(config: Any) -> int:
    """Return the context (tokens) to plan in: LENGTH, or the model's own if that is shorter.

    An encoder-decoder's is its decoder's.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    stated: list[int | None] = [getattr(text, name, None) for name in POSITIONS]
    return min([LENGTH, *filter(None, stated)])


def _takes(function: Any, name: str) -> bool:
    return function is not None and name in inspect.signature(function).parameters


def _places(span: Any) -> list[int]:
    """Return where in the prompt the embeddings of a placeholder range go."""
    mask = getattr(span, "is_embed", None)
    inside = range(span.length) if mask is None else [at for at, on in enumerate(mask) if on]
    return [span.offset + at for at in inside]


def _embeds(span: Any) -> int:
    """Return the embeddings of a placeholder range: a method in some versions, else a property."""
    number = span.get_num_embeds
    return int(number() if callable(number) else number)


def _dummy_builder(processor: Any) -> Any:
    """Return the builder of dummy inputs, which 0.8 calls ``dummy_inputs``."""
    return processor.dummy_inputs
