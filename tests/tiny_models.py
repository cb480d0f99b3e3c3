"""Tiny models that no family of ours describes, as released models are laid out.

:data:`SAVE` runs inside a container, by its own transformers: ``python -c SAVE FOLDER NAME…``
writes a folder for each name. Values are those of the released files; only what carries weights
is small.
"""

from pathlib import Path

from envbuilder.runtime import Command, Mount, Prepared
from envbuilder.smoke import run_probe

NAMES = ("gemma3", "paligemma", "pixtral", "whisper")
TEXT = "llama"
TEXTS = {"llama": True, "phi3": True, "gemma3_text": True, "t5": True, "bert": False}
"""More, which take text alone, and whether they generate."""
SAVE = '''
import json, os, sys
sys.path.insert(0, "/run/envbuilder")
import torch, transformers
from probe import tokenizer

HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
PARTS = (
    "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'text' %}"
    "{{ c['text'] }}{% else %}MARK{% endif %}{% endfor %}{% endfor %}"
)


def language(kind, **more):
    return dict(
        model_type=kind, vocab_size=300, hidden_size=64, intermediate_size=64, head_dim=32,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, **more,
    )


def vision(kind, **more):
    return dict(
        model_type=kind, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, **more,
    )


def begin(folder, specials, processor, named, mark=None, kind="PreTrainedTokenizerFast"):
    settings = {"tokenizer_class": kind, "processor_class": processor, **named}
    tokenizer.write(folder, specials, {**settings, "extra_special_tokens": named})
    if mark:
        with open(folder + "/chat_template.jinja", "w") as file:
            file.write(PARTS.replace("MARK", mark))
    return tokenizer.token_ids(specials)


def gemma3(folder):
    """Its prompt holds <start_of_image>; what is repeated is <image_soft_token>."""
    specials = ["<pad>", "<eos>", "<bos>", "<start_of_image>", "<end_of_image>"]
    named = {
        "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "bos_token": "<bos>",
        "image_token": "<image_soft_token>", "eos_token": "<eos>", "pad_token": "<pad>",
    }
    specials.append(named["image_token"])
    ids = begin(folder, specials, "Gemma3Processor", named, "<start_of_image>")
    tokenizer.write_json(folder, "preprocessor_config.json", {
        "image_processor_type": "Gemma3ImageProcessor", "processor_class": "Gemma3Processor",
        "size": {"height": 896, "width": 896}, "image_seq_length": 256, **HALF,
    })
    tokenizer.write_json(folder, "processor_config.json", {
        "processor_class": "Gemma3Processor", "image_seq_length": 256,
    })
    return transformers.Gemma3ForConditionalGeneration, transformers.Gemma3Config(
        text_config=language("gemma3_text", pad_token_id=ids["<pad>"]),
        vision_config=vision("siglip_vision_model", image_size=896, patch_size=14),
        mm_tokens_per_image=256, image_token_index=ids["<image_soft_token>"],
        boi_token_index=ids["<start_of_image>"], eoi_token_index=ids["<end_of_image>"],
    )


def paligemma(folder):
    """It has no chat template."""
    specials = ["<pad>", "<eos>", "<bos>", "<image>"]
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    ids = begin(folder, specials, "PaliGemmaProcessor", {**named, "image_token": "<image>"})
    tokenizer.write_json(folder, "preprocessor_config.json", {
        "image_processor_type": "SiglipImageProcessor", "processor_class": "PaliGemmaProcessor",
        "size": {"height": 224, "width": 224}, "image_seq_length": 256, **HALF,
    })
    return transformers.PaliGemmaForConditionalGeneration, transformers.PaliGemmaConfig(
        text_config=language("gemma", pad_token_id=ids["<pad>"], num_image_tokens=256),
        vision_config=vision(
            "siglip_vision_model", image_size=224, patch_size=14, projection_dim=64
        ),
        image_token_index=ids["<image>"], projection_dim=64,
    )


def pixtral(folder):
    """Its model_type is llava, its encoder and its processor are not."""
    specials = ["<s>", "</s>", "<pad>", "[IMG]", "[IMG_BREAK]", "[IMG_END]"]
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    ids = begin(folder, specials, "PixtralProcessor", named, "[IMG]")
    patch = {"height": 16, "width": 16}
    tokenizer.write_json(folder, "preprocessor_config.json", {
        "image_processor_type": "PixtralImageProcessor", "processor_class": "PixtralProcessor",
        "size": {"longest_edge": 1024}, "patch_size": patch, **HALF,
    })
    tokenizer.write_json(folder, "processor_config.json", {
        "processor_class": "PixtralProcessor", "patch_size": 16, "image_token": "[IMG]",
        "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]",
    })
    return transformers.LlavaForConditionalGeneration, transformers.LlavaConfig(
        text_config=language("mistral", pad_token_id=ids["<pad>"]),
        vision_config=vision("pixtral", image_size=1024, patch_size=16, head_dim=16),
        image_token_index=ids["[IMG]"], vision_feature_layer=-1,
        vision_feature_select_strategy="full", image_seq_length=1,
    )


def whisper(folder):
    """Its decoder looks at what its encoder heard; no prompt holds a sound."""
    end = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    specials = ["<|endoftext|>", "<|startoftranscript|>"]
    begin(folder, specials, "WhisperProcessor", end, kind="WhisperTokenizer")
    tokenizer.write_json(folder, "preprocessor_config.json", {
        "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80,
        "processor_class": "WhisperProcessor", "chunk_length": 30, "hop_length": 160,
        "n_fft": 400, "sampling_rate": 16000,
    })
    return transformers.WhisperForConditionalGeneration, transformers.WhisperConfig(
        vocab_size=300, d_model=32, encoder_layers=1, decoder_layers=1, pad_token_id=256,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, bos_token_id=256, eos_token_id=256, decoder_start_token_id=257,
    )


def llama(folder):
    """It takes text alone, and has no processor."""
    more = text(folder)
    return transformers.LlamaForCausalLM, transformers.LlamaConfig(**language("llama", **more))


def text(folder, processor=None):
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    ids = begin(folder, [*named.values()], processor, named)
    return {name + "_id": ids[token] for name, token in named.items()}


def phi3(folder):
    """It brings code, though transformers has the class itself."""
    config = transformers.Phi3Config(**language("phi3", **text(folder)))
    config.auto_map = {"AutoConfig": "configuration_phi3.Phi3Config"}
    return transformers.Phi3ForCausalLM, config


def gemma3_text(folder):
    """Its tokenizer names the processor of the whole Gemma 3."""
    more = text(folder, "Gemma3Processor")
    config = transformers.Gemma3TextConfig(**language("gemma3_text", **more))
    return transformers.Gemma3ForCausalLM, config


def t5(folder):
    """Its decoder begins with a token of its own."""
    more = text(folder)
    return transformers.T5ForConditionalGeneration, transformers.T5Config(
        vocab_size=300, d_model=64, d_kv=32, d_ff=64, num_layers=1, num_heads=2,
        decoder_start_token_id=more["pad_token_id"], **more,
    )


def bert(folder):
    """It has no head: texts become vectors."""
    return transformers.BertModel, transformers.BertConfig(
        vocab_size=300, hidden_size=64, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, **text(folder),
    )


for name in sys.argv[2:]:
    folder = os.path.join(sys.argv[1], name)
    os.mkdir(folder)
    kind, config = globals()[name](folder)
    torch.manual_seed(0)
    config.architectures = [kind.__name__]
    kind(config).save_pretrained(folder)
'''


def save(ready: Prepared, python: str, folder: Path) -> None:
    """Let the container ``ready`` write the models into ``folder``."""
    done = ready.run(
        Command(
            args=(python, "-I", "-B", "-c", SAVE, "/models", *NAMES, *TEXTS),
            mounts=(
                Mount(source=run_probe.PROBE, target=run_probe.PROBE_MOUNT),
                Mount(source=folder, target="/models", read_only=False),
            ),
            timeout=300,
        )
    )
    assert done.exit_code == 0, done.stderr.decode()
