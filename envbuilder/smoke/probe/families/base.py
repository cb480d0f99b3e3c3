"""What every family has: modalities, files for a tiny model, samples and a formula."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Iterable, Sequence

from .. import edges, films, tokenizer
from ..facts import Absent, Facts, Unasked
from ..samples import Sample, Sounding
from ._encoders import feature_method, parameters, rows, settled
from ._marks import stated_id
from ._model_files import processor_settings, read_json

ENCODER_LIMIT = 1500
"""Items above this many tokens are counted on the grid, not encoded: transformers 4.52.4 allocates
a dense attention mask of (4·tokens)² entries several times over, 34 GB for 16384 tokens."""

MORE = {"audio": 4, "image": 8}
"""How many samples are searched, beside those that a family chose. Its videos are few and large."""


class Modality:
    """How one modality appears in a prompt and in the processor's and model's interfaces.

    ``token`` is repeated once per embedding; ``wrap`` is how an item stands in a prompt;
    ``argument``
    is the processor's keyword (or several, newest first); ``features`` the model's method that
    encodes it.
    """

    def __init__(
        self, token: str, wrap: str, argument: str | tuple[str, ...], features: Any
    ) -> None:
        self.token = token
        self.wrap = wrap
        self.arguments = (argument,) if isinstance(argument, str) else tuple(argument)
        self.features = features


class Family:
    """A model family; subclasses fill in the class attributes and what differs."""

    name = ""
    source = ""
    model_class = ""
    tokenizer_class = ""
    processor_class = ""
    specials: Sequence[str] = ()
    named_tokens: dict[str, str] = {}
    modalities: dict[str, Modality] = {}
    settings: Facts = {}
    """What the formula takes from the processor's files, as released; None if a real model's
    files do not say (:meth:`of`)."""
    encoder_limit = ENCODER_LIMIT
    pixels_per_side: int | None = None
    """Side (px) of the square that becomes one token, where ``max_pixels`` limits an item."""
    several = True
    """Whether a prompt may hold several items."""
    whole: Facts = {}
    """Options for a processor that chooses among a video's frames, by which it takes them all."""
    sounding: Sequence[Sounding] = ()
    """Videos to count with their sound inside, where the family interleaves the two."""
    nested: frozenset[str] = frozenset()
    """Modalities whose items the processor wants in a list for each text."""
    uncounted: dict[str, str] = {}
    """Why a modality that the processor takes cannot be counted."""
    together = True
    """Whether items of all modalities can stand, and be told apart, in one prompt."""
    spelled = True
    """Whether a placeholder stands in a text, in which the tokenizer must know it as one token."""
    needs: dict[str, str] = {}
    """Packages that transformers takes for the model and does not require, by what is imported."""
    engine_arguments: Facts = {}
    """With which arguments a serving engine takes the model; none, of most."""
    counts = "placeholders"
    """What is counted: an encoder-decoder's prompt holds no placeholders."""

    # --- the tiny model -------------------------------------------------------------------

    def config(self, ids: dict[str, int]) -> Facts:
        """Return config.json; ``ids`` maps each special token to its id."""
        raise NotImplementedError

    def processor_files(self) -> dict[str, Facts]:
        """Return the processor's JSON files by name, with the family's real settings."""
        raise NotImplementedError

    def write(self, directory: str) -> None:
        """Write a complete model directory, but for the weights."""
        settings: Facts = {
            "tokenizer_class": self.tokenizer_class,
            "processor_class": self.processor_class,
        }
        settings.update(self.named_tokens)
        settings["extra_special_tokens"] = dict(self.named_tokens)
        tokenizer.write(directory, self.specials, settings)
        tokenizer.write_json(directory, "config.json", self.config(self.ids()))
        for name, value in self.processor_files().items():
            tokenizer.write_json(directory, name, value)

    def ids(self) -> dict[str, int]:
        """Return the tiny vocabulary's id of every special token."""
        return tokenizer.token_ids(self.specials)

    def load_processor(self, directory: str) -> Any:
        """Load the processor as an application would."""
        import transformers

        return transformers.AutoProcessor.from_pretrained(directory, local_files_only=True)

    def load_model(self, directory: str, *, weights: bool) -> Any:
        """Return the model on the CPU, from its ``weights`` or random with a fixed seed."""
        import torch

        kind = self.find_class(self.model_class)
        if weights:  # in the type that they are saved in: 32 bits would double what they take
            stated = read_json(directory, "config.json")
            name = stated.get("dtype") or stated.get("torch_dtype")  # as 5 and as 4 call it
            dtype = getattr(torch, name) if name else "auto"
            return kind.from_pretrained(directory, local_files_only=True, torch_dtype=dtype).eval()
        torch.manual_seed(0)
        return kind(self.load_config(directory)).eval()

    def load_config(self, directory: str) -> Any:
        """Return the configuration object that the model class takes."""
        import transformers

        return transformers.AutoConfig.from_pretrained(directory, local_files_only=True)

    def find_class(self, name: str) -> Any:
        """Return ``transformers.NAME``; raise Absent where this version lacks it."""
        import transformers

        if not hasattr(transformers, name):
            raise Absent(f"transformers {transformers.__version__} has no {name}")
        return getattr(transformers, name)

    def of(self, directory: str) -> Family:
        """Return the family with the settings of the real model in ``directory``."""
        stated = processor_settings(directory)
        family = copy.copy(self)
        family.settings = {name: stated.get(name) for name in self.settings}
        return family

    def real(self, directory: str) -> Family:
        """Return the family for the user's own model in ``directory``; see :meth:`of`."""
        return self.of(directory)

    def tiny(self, directory: str) -> Family:
        """Return the family for the model that it wrote to ``directory``: its settings stay.

        They are those that were released, whatever the files turned out to say.
        """
        return self

    def bound(self, processor: Any, directory: str) -> Family:
        """Return the family as ``processor`` and the files in ``directory`` show it.

        Only an unknown model's depends on them.
        """
        return self

    # --- counting ---------------------------------------------------------------------------

    def samples(self, modality: str) -> list[Sample]:
        """Return the samples to count for ``modality``."""
        raise NotImplementedError

    def searched(self, modality: str) -> list[Sample]:
        """Return more samples: where the family's own settings make the count of an item turn."""
        known = self.samples(modality)
        return edges.searched(modality, self.settings, known, MORE.get(modality, 0))

    def formula(
        self, sample: Sample, inputs: Any, config: Any
    ) -> tuple[int | None, list[int] | None]:
        """Return the tokens that ``sample`` must become, and its patch grid; None if unknown.

        ``inputs`` is what the processor returned, ``config`` the model's own configuration.
        """
        raise NotImplementedError

    def token_id(self, modality: str, processor: Any) -> int:
        """Return the id that stands for one embedding of ``modality``."""
        tokenizer = getattr(processor, "tokenizer", processor)
        return int(tokenizer.convert_tokens_to_ids(self.modalities[modality].token))

    def model_token_id(self, modality: str, directory: str) -> int | None:
        """Return the id at which the model itself inserts embeddings of ``modality``."""
        return stated_id(self.load_config(directory), modality)

    def counted(self, processor: Any, inputs: Any) -> dict[str, int]:
        """Return, per modality, how often its token id stands in the prompt."""
        ids = inputs["input_ids"]
        return {
            name: int((ids == self.token_id(name, processor)).sum()) for name in self.modalities
        }

    def length(self, inputs: Any) -> int:
        """Return the length (tokens) of the prompt."""
        return int(inputs["input_ids"].shape[-1])

    def strangers(self, modalities: Iterable[str]) -> list[str]:
        """Return the modalities whose token must not stand in a prompt of ``modalities``."""
        own = {self.modalities[name].token for name in modalities}
        return [name for name, other in self.modalities.items() if other.token not in own]

    def prompt(self, modalities: Sequence[str]) -> str:
        """Return a prompt with one item of each of ``modalities``, in order."""
        return "".join(self.modalities[name].wrap for name in modalities) + "Describe."

    def take(self, processor: Any, sample: Sample) -> Any:
        """Run the processor on ``sample`` alone; return its tensors."""
        if isinstance(sample, Sounding):
            return self.take_sounding(processor, sample)
        return self.call(processor, [(sample.modality, sample.make())])

    def take_sounding(self, processor: Any, sample: Sounding) -> Any:
        """Run the processor on a video and the sound inside it, as one item."""
        raise NotImplementedError

    def call(
        self,
        processor: Any,
        items: Sequence[tuple[str, Any]],
        *,
        text: str | None = None,
        **options: Any,
    ) -> Any:
        """Run the processor on ``items``, pairs of (modality, array); return its tensors.

        ``text`` is the prompt, if it is not one placeholder for each item in order.
        """
        arguments: dict[str, list[Any]] = {}
        accepted = inspect.signature(processor.__call__).parameters
        for modality, array in items:
            names = self.modalities[modality].arguments
            name = next((one for one in names if one in accepted), names[0])
            arguments.setdefault(name, [[]] if modality in self.nested else [])
            (arguments[name][0] if modality in self.nested else arguments[name]).append(array)
        if text is None:
            text = self.prompt([modality for modality, _ in items])
        clips = [array for modality, array in items if modality == "video"]
        # Copies: some processors take their settings out of the caller's own arguments.
        handed = copy.deepcopy({**(self.film_options(clips) if clips else {}), **options})
        return processor(text=[text], return_tensors="pt", **arguments, **handed)

    def film_options(self, arrays: Sequence[Any]) -> Facts:
        """Return what the processor is told of the videos ``arrays`` beside their frames."""
        return films.options(list(arrays)) if self.whole else {}

    def features(self, model: Any, modality: str, inputs: Any) -> int:
        """Return how many embedding rows the encoder of ``modality`` really makes of ``inputs``."""
        return rows(self.encoded(model, self.modalities[modality].features, inputs))

    def encoded(self, model: Any, name: str, inputs: Any) -> Any:
        """Call the encoding method ``name`` with what it takes of ``inputs`` and of the config."""
        method = feature_method(model, name)
        if method is None:
            raise Unasked(f"{type(model).__name__} has no {name}")
        given = {}
        for parameter in parameters(model, name):
            if parameter.name in inputs:
                given[parameter.name] = inputs[parameter.name]
            elif parameter.name.startswith("vision_") and (found := settled(model, parameter.name)):
                # the layer and strategy to select: required in some versions, None in others
                given[parameter.name] = found[0]
            elif parameter.default is parameter.empty:
                raise Unasked(f"{name} of {type(model).__name__} asks for {parameter.name}")
        return method(**given)

    def engine_item(self, sample: Sample) -> Any:
        """Return ``sample`` as a serving engine takes it: pictures as PIL, the rest as arrays."""
        made = sample.make()
        if sample.modality == "image":
            from PIL import Image

            return Image.fromarray(made)
        return made

    def engine_prompt(self, processor: Any, sample: Sample) -> str | list[int]:
        """Return the prompt that a serving engine gets with ``sample``, as text or token ids."""
        return self.prompt([sample.modality])

    def generates(self) -> bool:
        """Return whether the model writes on where a prompt ends."""
        return True

    def forward(self, model: Any, inputs: Any) -> Any:
        """Return the logits of one pass over ``inputs``: (1, positions, vocabulary)."""
        return model(**inputs).logits

    def generate(self, model: Any, inputs: Any, count: int) -> tuple[list[int], list[float]]:
        """Continue ``inputs`` greedily by ``count`` tokens.

        Return them, and by how much each one's logit exceeded the second best.
        """
        output = model.generate(
            **inputs,
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
        best = [scores[0].float().topk(2).values for scores in output.scores]
        return output.sequences[0, -count:].tolist(), [float(two[0] - two[1]) for two in best]
