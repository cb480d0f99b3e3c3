"""Make the golden layers and print their digests: ``python -m tests.golden.layer_digests``."""

import json
import sys
import tempfile
from pathlib import Path

from envbuilder.layers.files import Content, Link, files_layer, venv_skeleton
from envbuilder.layers.install import Target
from envbuilder.layers.wheel import wheel_layer
from envbuilder.model.image import Layer
from envbuilder.model.plan import LAYOUT_VERSION
from envbuilder.storage.store import Store
from tests.wheels import as_wheel

FOLDER = Path(__file__).with_name("layers")
TARGET = Target(python="3.11")


def digests() -> str:
    """Make every golden layer in an empty store; return their digests as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        layers = made(Store(Path(folder)))
    found = {name: facts(layer) for name, layer in layers.items()} | {"layout": LAYOUT_VERSION}
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


def made(store: Store) -> dict[str, Layer]:
    plain = as_wheel(FOLDER / "plain-1.0-py3-none-any.whl")
    rich = as_wheel(FOLDER / "rich-1.0-py3-none-any.whl")
    asked = as_wheel(FOLDER / plain.filename, requested=True, direct_url=b'{"url":"x"}')
    elsewhere = Target(python="3.13", prefix="/srv/env")
    skeleton = venv_skeleton(TARGET, interpreter="/usr/bin/python3.11")
    files = {"/etc/x": Content(data=b"x" * 70_000, mode=0o600), "/etc/y": Link(target="x")}
    return {
        "plain": wheel_layer(store, [plain], target=TARGET, title=""),
        "rich": wheel_layer(store, [rich], target=TARGET, title=""),
        "asked": wheel_layer(store, [asked], target=TARGET, title=""),
        "both": wheel_layer(store, [plain, rich], target=TARGET, title=""),
        "elsewhere": wheel_layer(store, [rich], target=elsewhere, title=""),
        "skeleton": files_layer(store, skeleton, title=""),
        "files": files_layer(store, files, title=""),
    }


def facts(layer: Layer) -> dict[str, object]:
    return {"digest": str(layer.digest), "size": layer.size, "diff_id": str(layer.diff_id)}


if __name__ == "__main__":
    sys.stdout.write(digests())
