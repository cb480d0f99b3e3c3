"""Faults planted into the newest families' code, as transformers 5.24.0 has it, and recorded.

``python -m tests.planted`` (``make faults``) plants them in a real environment, a round of many
models at a time, looks that each turns red with its cause, and writes what the probe saw to
``tests/unit/data/planted.json``, from which ``tests/unit/test_smoke_planted.py`` judges it again.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from envbuilder.runtime import Command, Completed, Mount, Prepared
from envbuilder.smoke import Check, CheckStatus, ProbedModel, SmokePlan
from envbuilder.smoke.judge import judge
from envbuilder.smoke.run_probe import PROBE, PROBE_MOUNT, ask
from tests.pairs import environment

RELEASE = "5.24.0"
MODELS = "/opt/venv/lib/python3.13/site-packages/transformers/models"
RECORDED = Path(__file__).parent / "unit/data/planted.json"
FEW = """
BUDGET = {"audio": 4, "image": 5, "video": 4}
COMMON = {
    "audio": [("small", (16000,)), ("edge", (43840,)), ("edge", (13200,))],
    "image": [
        ("small", (280, 280)), ("edge", (49, 1323)), ("typical", (480, 640)), ("edge", (1200, 900)),
    ],
    "video": [("small", (2, 112, 112)), ("edge", (3, 113, 111)), ("typical", (8, 112, 112))],
}
"""
"""Samples for the probe, few of them and small."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One fault in the library's ``inside`` (file to old and new text) or in the probe's ``model``.

    The latter makes the model directory. ``modality`` shall turn red, say ``words`` and name the
    ``cause``.
    """

    name: str
    family: str
    modality: str
    words: str
    cause: str
    inside: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    model: tuple[str, str] | None = None


FIRST = (
    Planted(
        name="merged patches are counted one by one",
        family="kimi_k25", modality="image", cause="merge-size-lost",
        words="put 400 placeholders into the prompt, the encoder makes 100",
        inside={"kimi_k25/processing_kimi_k25.py":
                ("merge_length = self.image_processor.merge_size**2", "merge_length = 1")},
    ),
    Planted(
        name="a rest of frames makes no chunk",
        family="kimi_k25", modality="video", cause="rest-of-frames",
        words="video 3 frames 111x113",
        inside={"kimi_k25/video_processing_kimi_k25.py":
                ("math.ceil(video.shape[0] / temporal_patch_size)",
                 "video.shape[0] // temporal_patch_size")},
    ),
    Planted(
        name="the whole image is not written beside its slices",
        family="minicpmv4_6", modality="image", cause="view-missing",
        words="image 640x480",
        inside={"minicpmv4_6/processing_minicpmv4_6.py":
                ("self.image_token * int(num_tokens_per_patch[0])",
                 "self.image_token * (0 if num_rows else int(num_tokens_per_patch[0]))")},
    ),
    Planted(
        name="no thumbnail is made, but it is written",
        family="ovis2", modality="image", cause="view-missing",
        words="put 1280 placeholders into the prompt, the encoder makes 1024",
        inside={"ovis2/image_processing_ovis2.py":
                ("if len(processed_images) != 1:", "if not processed_images:")},
    ),
    Planted(
        name="the tokens of a tile are one short",
        family="cohere2_vision", modality="image", cause="view-separator",
        words="put 255 placeholders into the prompt, the encoder makes 256",
        inside={"cohere2_vision/processing_cohere2_vision.py":
                ("int(self.patch_size**2)", "int(self.patch_size**2) - 1")},
    ),
    Planted(
        name="what ends the views is not written",
        family="deepseek_ocr2", modality="image", cause="view-separator",
        words="put 256 placeholders into the prompt, the encoder makes 257",
        inside={"deepseek_ocr2/processing_deepseek_ocr2.py":
                ("local_tokens * num_crops + 1", "local_tokens * num_crops")},
    ),
    Planted(
        name="tiles are laid for the turned image",
        family="phi4_multimodal", modality="image", cause="sides-swapped",
        words="image 640x480: Phi4MultimodalProcessor put 1073 placeholders into the prompt, the"
        " formula gives 1065",
        inside={"phi4_multimodal/image_processing_phi4_multimodal.py":
                ("orig_height, orig_width = image.shape", "orig_width, orig_height = image.shape")},
    ),
    Planted(
        name="one frame of sound too few",
        family="phi4_multimodal", modality="audio", cause="audio-off-by-one",
        words="put 10 placeholders into the prompt, the encoder makes 11",
        inside={"phi4_multimodal/feature_extraction_phi4_multimodal.py":
                ("feature_lengths = (audio_lengths - self.win_length) // self.hop_length + 1",
                 "feature_lengths = (audio_lengths - self.win_length) // self.hop_length")},
    ),
    Planted(
        name="the thumbnail is not written",
        family="lfm2_vl", modality="image", cause="view-missing",
        words="image 900x1200",
        inside={"lfm2_vl/processing_lfm2_vl.py":
                ("parts.append(self.image_thumbnail_token)\n"
                 "                parts.append(self.image_token * tokens_for_image)",
                 "parts.append(self.image_thumbnail_token)")},
    ),
    Planted(
        name="sound beyond the first window is cut",
        family="voxtral", modality="audio", cause="sound-cut",
        words="audio 61 s: VoxtralProcessor put 1125 placeholders into the prompt, the encoder"
        " makes 375",
        inside={"voxtral/processing_voxtral.py":
                ('"truncation": False', '"truncation": True')},
    ),
    Planted(
        name="the encoder drops its first row",
        family="deepseek_vl", modality="image", cause="class-token",
        words="put 576 placeholders into the prompt, the encoder makes 575",
        inside={"deepseek_vl/modeling_deepseek_vl.py":
                ("self.aligner(vision_outputs.last_hidden_state)",
                 "self.aligner(vision_outputs.last_hidden_state[:, 1:])")},
    ),
    Planted(
        name="embeddings go to the padding",
        family="gemma3n", modality="image", cause="token-ids-differ",
        words="the model inserts embeddings at 256",
        model=('"image_token_id": ids["<image_soft_token>"]', '"image_token_id": ids["<pad>"]'),
    ),
)  # fmt: skip
SECOND = (
    Planted(
        name="the template writes an image twice",
        family="ovis2", modality="image", cause="template-doubles",
        words="",
        model=('template = {"image": "<image>"}', 'template = {"image": "<image><image>"}'),
    ),
    Planted(
        name="the processor merges once, the model twice",
        family="minicpmv4_6", modality="image", cause="merge-size-lost",
        words="the encoder makes",
        model=('"downsample_mode": "16x",\n            "use_image_id"',
               '"downsample_mode": "4x",\n            "use_image_id"'),
    ),
    Planted(
        name="a tile fewer than the release allows, for both",
        family="cohere2_vision", modality="image", cause="both-otherwise",
        words="the formula gives",
        inside={"cohere2_vision/image_processing_cohere2_vision.py":
                ("get_all_supported_aspect_ratios(max_image_tiles)",
                 "get_all_supported_aspect_ratios(max_image_tiles // 6)")},
    ),
)  # fmt: skip
ROUNDS: tuple[tuple[Planted, ...], ...] = (FIRST, SECOND)
"""Faults that do not get into each other's way, smoked at once."""


def asked(plan: SmokePlan, faults: Sequence[Planted]) -> SmokePlan:
    """Return the plan that counts what each of ``faults`` is about."""
    models = tuple(ProbedModel(family=one.family, label=one.name) for one in faults)
    jobs = tuple(f"tokens.{one.modality}@{number}" for number, one in enumerate(faults))
    return replace(plan, models=models, checks=("tokens",), jobs=jobs, gpu="never", timeout=1500.0)


def planted(ready: Prepared, plan: SmokePlan, faults: Sequence[Planted], folder: Path) -> Any:
    """Return what the probe says of an environment with ``faults`` in it."""
    probe = folder / "probe"
    shutil.copytree(PROBE, probe, ignore=shutil.ignore_patterns("__pycache__"))
    with (probe / "edges.py").open("a") as file:
        file.write(FEW)
    mounts = [Mount(source=probe, target=PROBE_MOUNT)]
    for fault in faults:
        mounts += [_spoilt(ready, folder, *one) for one in fault.inside.items()]
        if fault.model is not None:
            path = probe / f"families/{fault.family}.py"
            path.write_text(swapped(path.read_text(), *fault.model))

    def run(command: Command) -> Completed:
        others = [one for one in command.mounts if one.target != PROBE_MOUNT]
        return ready.run(replace(command, mounts=(*others, *mounts)))

    return ask(run, asked(plan, faults))


def _spoilt(ready: Prepared, folder: Path, file: str, change: tuple[str, str]) -> Mount:
    """Copy a library's ``file`` out of the container and spoil it, to be mounted over it."""
    path = f"{MODELS}/{file}"
    found = ready.run(Command(args=("cat", path)))
    target = folder / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(swapped(found.stdout.decode(), *change))
    return Mount(source=target, target=path)


def swapped(text: str, old: str, new: str) -> str:
    """Return ``text`` with every ``old`` replaced, of which there must be one at least."""
    assert old in text, f"there is no {old!r} any more"
    return text.replace(old, new)


def wrong(fault: Planted, checks: Sequence[Check]) -> str:
    """Say what is not as it should be with the check that ``fault`` turns red; "" if nothing is."""
    name = f"tokens.{fault.modality}"
    (check,) = [one for one in checks if (one.model, one.name) == (fault.name, name)]
    told = " ".join([check.explanation, *check.details.get("findings", ())])
    cause = check.cause.id if check.cause else None
    if check.status is CheckStatus.FAIL and fault.words in told and cause == fault.cause:
        return ""
    return f"{fault.name}: {check.status.value}, cause {cause}: {told}"


def main() -> int:
    """Plant all faults, record what is seen, and return 1 where one is not told as it should be."""
    recorded: list[Any] = []
    trouble: list[str] = []
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with environment(RELEASE, folder, libraries=True) as (ready, plan):
            for number, faults in enumerate(ROUNDS):
                document = planted(ready, plan, faults, folder / f"round-{number}")
                recorded.append(document)
                report = judge(asked(plan, faults), document, subject="planted")
                trouble += filter(None, (wrong(one, report.checks) for one in faults))
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
    print("\n".join(trouble) or "every fault is told with its cause")
    return int(bool(trouble))


if __name__ == "__main__":
    sys.exit(main())
