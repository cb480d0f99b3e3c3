"""Stand-ins of the stack that this project began with: as small as can be, and they fail alike.

The transformers of these repositories caps videos at 729 tokens where it is called, and so does the
vLLM fork's dummy at first, while the fork declares 16384. A later commit lifts the cap for it. The
fork compiles its kernels with ``nvcc``, takes cutlass from where a variable says, and has a version
that depends on CUDA. The toolkit is a shell script, and arrays are shapes without numbers.
"""

from __future__ import annotations

from pathlib import Path

from tests.servers.git_repositories import Origin
from tests.wheels import Recipe, write_wheel

BACKEND = """\
import base64, hashlib, os, pathlib, zipfile
from about import NAME, REQUIRES, tell_version, compiled
VERSION = tell_version()
INFO = f"{NAME}-{VERSION}.dist-info"
METADATA = f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: {VERSION}\\n" + "".join(
    f"Requires-Dist: {line}\\n" for line in REQUIRES
)

def prepare_metadata_for_build_wheel(output, *_):
    os.mkdir(os.path.join(output, INFO))
    pathlib.Path(output, INFO, "METADATA").write_text(METADATA)
    return INFO

def row(name, content):
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(content)}\\n"

def build_wheel(output, *_):
    filename = f"{NAME}-{VERSION}-py3-none-any.whl"
    about = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files = {str(path): path.read_bytes() for path in sorted(pathlib.Path(NAME).rglob("*.py"))}
    files |= compiled() | {f"{INFO}/METADATA": METADATA.encode(), f"{INFO}/WHEEL": about.encode()}
    rows = [row(*item) for item in files.items()]
    files[f"{INFO}/RECORD"] = "".join([*rows, f"{INFO}/RECORD,,\\n"]).encode()
    with zipfile.ZipFile(os.path.join(output, filename), "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return filename
"""
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
TRANSFORMERS = {
    "pyproject.toml": PYPROJECT,
    "backend.py": BACKEND,
    "about.py": """\
NAME, REQUIRES = "transformers", ["numpy"]
def tell_version(): return "4.52.0.dev0"
def compiled(): return {}
""",
    "transformers/__init__.py": """\
import json, pathlib, types
__version__ = "4.52.0.dev0"
CAP = 768 * 28 * 28

class Tokenizer:
    def __init__(self, folder):
        settings = json.loads(pathlib.Path(folder, "tokenizer_config.json").read_text())
        added = settings["added_tokens_decoder"].items()
        self.ids = {token["content"]: int(number) for number, token in added}
    def convert_tokens_to_ids(self, token):
        return self.ids[token]

class AutoProcessor:
    @classmethod
    def from_pretrained(cls, folder, **_):
        return types.SimpleNamespace(tokenizer=Tokenizer(folder))

class AutoConfig:
    @classmethod
    def from_pretrained(cls, folder, **_):
        return types.SimpleNamespace(thinker_config=types.SimpleNamespace())

def tokens(kind, item, max_pixels=None):
    if kind == "audio":
        return item.shape[0] // 640
    if kind == "image":
        wide, high = item.size
        return _patches(high, wide, max_pixels or 12845056)
    frames, high, wide = item.shape[:3]
    return -(-frames // 2) * _patches(high, wide, max_pixels or CAP)  # whatever the attributes say

def _patches(high, wide, most, least=3136):
    rows, columns = max(1, round(high / 28)), max(1, round(wide / 28))
    if rows * columns * 784 > most:
        scale = (high * wide / most) ** 0.5
        rows, columns = max(1, int(high / scale / 28)), max(1, int(wide / scale / 28))
    elif rows * columns * 784 < least:
        scale = (least / (high * wide)) ** 0.5
        rows, columns = -int(-high * scale // 28), -int(-wide * scale // 28)
    return rows * columns
""",
}
DUMMY = "vllm/dummy.py"
CAPPED, LIFTED = (f"ARGUMENTS = {{{each}}}\n" for each in ("", '"max_pixels": 12845056'))
VLLM = {
    "pyproject.toml": PYPROJECT,
    "backend.py": BACKEND,
    "about.py": """\
import os, subprocess
NAME, REQUIRES = "vllm", ["torch==2.6.0", "transformers>=4.51.1", "pillow"]
def tell_version():
    said = subprocess.check_output(["nvcc", "--version"], text=True)
    return "0.8.5+cu" + said.split("release ")[1].split(",")[0].replace(".", "")
def compiled():
    kernel = os.path.join(os.environ["VLLM_CUTLASS_SRC_DIR"], "gemm.cu")
    subprocess.check_call(["nvcc", "-c", kernel, "-o", "/tmp/kernels.o"])
    return {"vllm/kernels.o": open("/tmp/kernels.o", "rb").read()}
""",
    DUMMY: CAPPED,
    "vllm/__init__.py": '__version__ = "0.8.5"\n',
    "vllm/platforms.py": """\
import types
current_platform = types.SimpleNamespace(device_type="cuda")
""",
    "vllm/engine/__init__.py": "",
    "vllm/engine/arg_utils.py": """\
class ModelConfig(dict):
    architecture = "Qwen2_5OmniModel"

class EngineArgs:
    def __init__(self, **given):
        self.given = given
    def create_model_config(self):
        return ModelConfig(self.given)
""",
    "vllm/multimodal/__init__.py": """\
import types, transformers
from vllm.dummy import ARGUMENTS
MOST = 16384

class Span:
    def __init__(self, offset, length):
        self.offset, self.length, self.is_embed = offset, length, None
    def get_num_embeds(self):
        return self.length

class Processor:
    TOKENS = {"audio": "<|AUDIO|>", "image": "<|IMAGE|>", "video": "<|VIDEO|>"}
    def __init__(self, config):
        self.tokenizer = transformers.AutoProcessor.from_pretrained(config["model"]).tokenizer
        self.settings = config.get("mm_processor_kwargs", {})
        self.info = self.dummy_inputs = self
    def get_mm_max_tokens_per_item(self, seq_len, mm_counts):
        most = self.settings.get("max_pixels", MOST * 784) // 784
        return {"audio": 750, "image": most, "video": most}
    def get_dummy_processor_inputs(self, seq_len, mm_counts):
        data = {
            "audio": [types.SimpleNamespace(shape=(480000,))],
            "image": [types.SimpleNamespace(size=(3584, 3584))],
            "video": [types.SimpleNamespace(shape=(2, 3584, 3584, 3))],
        }
        return types.SimpleNamespace(
            prompt="", mm_data=data, hf_processor_mm_kwargs=dict(ARGUMENTS)
        )
    def apply(self, prompt, mm_data, hf_processor_mm_kwargs):
        limits = {**self.settings, **hf_processor_mm_kwargs}
        ids, spans = [], {}
        for kind, items in mm_data.items():
            counts = [transformers.tokens(kind, item, **limits) for item in items]
            spans[kind] = []
            for count in counts:
                spans[kind].append(Span(len(ids), count))
                ids += [self.tokenizer.convert_tokens_to_ids(self.TOKENS[kind])] * count
        return {"prompt_token_ids": ids, "mm_placeholders": spans}

class Registry:
    def create_processor(self, config, disable_cache=False):
        return Processor(config)

MULTIMODAL_REGISTRY = Registry()
""",
    "vllm/multimodal/profiling.py": """\
class MultiModalProfiler:
    def __init__(self, processor):
        self.processor = processor
    def get_and_validate_mm_inputs(self, seq_len, mm_counts):
        inputs = self.processor.get_dummy_processor_inputs(seq_len, mm_counts)
        made = self.processor.apply("", inputs.mm_data, inputs.hf_processor_mm_kwargs)
        total = {kind: spans[0].length for kind, spans in made["mm_placeholders"].items()}
        expected = self.processor.get_mm_max_tokens_per_item(seq_len, mm_counts)
        if total != expected:
            raise AssertionError(
                f"The processed dummy data has a total of {total} placeholder tokens, which is "
                f"not the expected {expected} tokens.")
""",
}
NUMPY = """\
__version__, pi = "2.2.6", 3.14
float32 = float64 = uint8 = uint32 = None

class Array:
    def __init__(self, *shape):
        self.shape = shape
    def astype(self, kind):
        return self
    def __getitem__(self, index):
        return Array(*(1 if each is None else self.shape[0] for each in index))
    def _with(self, other):
        return Array(*map(max, self.shape, getattr(other, "shape", (1,) * len(self.shape))))
    __add__ = __radd__ = __mul__ = __rmul__ = __truediv__ = __floordiv__ = __and__ = __xor__ = _with

def arange(length, dtype=None):
    return Array(length)

def sin(array):
    return array

def stack(arrays, axis=0):
    shape = arrays[0].shape
    return Array(*shape, len(arrays)) if axis else Array(len(arrays), *shape)
"""
PILLOW = """\
import types

def fromarray(array):
    high, wide, planes = array.shape
    return types.SimpleNamespace(size=(wide, high))
"""
NVCC = """\
#!/bin/sh
case $1 in
--version) echo "Cuda compilation tools, release 12.4, V12.4.131" ;;
-c) sed 's/^/compiled: /' "$2" >"$4" ;;
esac
"""
"""A toolkit: it tells its version, and compiles by marking each line."""


def repositories(folder: Path, *, between: int) -> tuple[Origin, list[str]]:
    """Make the three repositories in ``folder``; return the fork's, and its commits in order.

    ``between`` commits lie before the one that mends it, and one after.
    """
    Origin.create(folder / "cutlass").commit({"gemm.cu": "gemm\n"})
    preview = Origin.create(folder / "transformers")
    preview.commit(TRANSFORMERS)
    preview.tag("v4.51.3-Qwen2.5-Omni-preview")
    fork = Origin.create(folder / "vllm")
    commits = [fork.commit(VLLM)]
    commits += [fork.commit({"notes.txt": str(number)}) for number in range(between)]
    commits += [fork.commit({DUMMY: LIFTED}), fork.commit({"notes.txt": "after"})]
    return fork, commits


def wheels(folder: Path) -> dict[str, str]:
    """Write torch, numpy and pillow into ``folder``; return the file name of each."""
    made = [
        Recipe(
            name="torch", version="2.6.0", files={"torch/__init__.py": b"__version__ = '2.6.0'\n"}
        ),
        Recipe(name="numpy", version="2.2.6", files={"numpy/__init__.py": NUMPY.encode()}),
        Recipe(
            name="pillow",
            version="11.2.1",
            files={"PIL/__init__.py": b"", "PIL/Image.py": PILLOW.encode()},
        ),
    ]
    for recipe in made:
        write_wheel(folder, recipe)
    return {recipe.name: recipe.filename for recipe in made}
