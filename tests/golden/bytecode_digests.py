"""The layer of bytecode of fixed modules, for each Python that the goldens have."""

import json
from collections.abc import Mapping
from pathlib import Path

from envbuilder.engines.bytecode_layers import bytecode_layers, keep_bytecode
from envbuilder.model.image import Layer
from envbuilder.storage.store import Store
from tests.unit.locks import lock

FOLDER = Path(__file__).with_name("layers")
MODULES = {
    "constants.py": (FOLDER / "bytecode.txt").read_bytes(),
    "template.py": b"class {{ name }}:\n",
}


def expected(minor: str) -> Path:
    return FOLDER / f"bytecode-{minor}.json"


def site_packages(minor: str) -> str:
    return f"opt/venv/lib/python{minor}/site-packages"


def packed(store: Store, minor: str, compiled: Mapping[str, bytes]) -> Layer:
    """Pack what a Python compiled, by paths relative to the root of the image."""
    made = lock({"golden": "1.0"}, python=minor, bytecode=True)
    keep_bytecode(store, made, made.wheels[0], compiled)
    return bytecode_layers(store, made, {})[0]


def facts(layer: Layer) -> str:
    found = {"digest": str(layer.digest), "size": layer.size, "diff_id": str(layer.diff_id)}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"
