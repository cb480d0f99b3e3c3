"""Faults planted for real: a spoilt processor, tokenizer or model in the demo's own container.

The probe that is mounted is a copy with one thing broken; everything else (Debian's torch, the
released transformers, the container) is what ``make demo`` runs. Each fault must turn red, and
say why.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import envbuilder
from envbuilder.layers.store import Store
from envbuilder.pipeline import Options, current_lock, make_image, smoke_plan
from envbuilder.progress import Silent
from envbuilder.runtime import Command, Prepared, choose
from envbuilder.smoke import Model, Report, SmokePlan, Status, smoke
from envbuilder.smoke import run as smoke_run

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(envbuilder.__file__).parents[1]
ABOVE_THE_CAP = 1008
"""Side (px) of a video that the processor's own cap makes 729 tokens of, like any larger one."""
QUICK = """
SAMPLES = {
    "audio": samples.audio(("small", 1), ("maximum", 30)),
    "image": samples.image(("small", 280, 280), ("maximum", 640, 480)),
    "video": samples.video(("small", 2, 56, 56), ("maximum", 2, SIDE, SIDE)),
}
"""


@pytest.fixture(scope="module")
def container() -> Iterator[tuple[Prepared, SmokePlan]]:
    store, silent = Store.default(), Silent()
    options = Options(locked=True)
    spec = ROOT / "lockfiles" / "omni-cpu.yaml"
    lock = current_lock(spec, store=store, progress=silent, options=options)
    image = make_image(lock, store=store, progress=silent, options=options)
    runtime = choose("auto", store)
    with runtime.prepared(image, progress=silent) as ready:
        yield ready, smoke_plan(lock)


Edit = Callable[[str], str]


def _replace(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text, f"the probe no longer says {old!r}"
        return text.replace(old, new)

    return edit


@pytest.fixture
def spoilt(
    container: tuple[Prepared, SmokePlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Report]:
    """Return a function that smokes the container with one file of the probe edited."""

    def spoil(
        file: str, edit: Edit, only: str | None, *, side: int = ABOVE_THE_CAP, video: int = 729
    ) -> Report:
        ready, plan = container
        probe = tmp_path / "probe"
        shutil.copytree(smoke_run.PROBE, probe, ignore=shutil.ignore_patterns("__pycache__"))
        family = probe / "families" / "qwen2_5_omni.py"
        text = family.read_text()
        family.write_text(text.replace("\nFAMILY =", QUICK.replace("SIDE", str(side)) + "FAMILY ="))
        if only is not None:  # every job imports torch: run the one that shall find the fault
            jobs = probe / "job.py"
            whole = '(*reversed(MODALITIES), "mixed")'
            jobs.write_text(_replace(whole, f'("{only}",)')(jobs.read_text()))
        target = probe / file
        target.write_text(edit(target.read_text()))
        monkeypatch.setattr(smoke_run, "PROBE", probe)
        quick = SmokePlan(
            prefix=plan.prefix,
            python=plan.python,
            model=Model(family="qwen2_5_omni"),
            tokens={"audio": 750, "video": video},
            gpu="never",
            checks=("tokens",),
        )
        return smoke(ready.run, quick)

    return spoil


def _without(module: str) -> Edit:
    """Let ``module`` be one that cannot be imported."""
    gone = f'    __import__("sys").modules["{module}"] = None\n'
    return _replace('    require("torch"', gone + '    require("torch"')


OMNI, BASE, VISION = "families/qwen2_5_omni.py", "families/base.py", "families/_qwen_vision.py"

FAULTS = [
    ("nothing is wrong", OMNI, _replace("", ""), None, ""),
    (
        "merge size of the processor",
        VISION,
        _replace('"merge_size": 2,', '"merge_size": 4,'),
        "tokens.image",
        "encoder makes",
    ),
    (
        "tokenizer without the video token",
        OMNI,
        _replace('    "<|VIDEO|>",\n    "<|vision_bos|>"', '    "<|V|>",\n    "<|vision_bos|>"'),
        "tokens.video",
        "<|VIDEO|>",
    ),
    (
        "no processor files",
        BASE,
        _replace("in self.processor_files().items()", "in ()"),
        "tokens.image",
        "",
    ),
    (
        "audio window cut to 15 s",
        OMNI,
        _replace("extractor(seconds=300, bins=128)", "extractor(seconds=15, bins=128)"),
        "tokens.audio",
        "put 375 placeholders into the prompt",
    ),
    (
        "a cap on images that nobody knows of",
        BASE,
        _replace(
            'return_tensors="pt", **arguments, **options)',
            'return_tensors="pt", images_kwargs={"max_pixels": 50176}, **arguments, **options)',
        ),
        "tokens.image",
        "the formula gives 391",
    ),
    (
        "the video's cap lifted",
        BASE,
        _replace(
            'return_tensors="pt", **arguments, **options)',
            'return_tensors="pt", **{"videos_kwargs": {"max_pixels": 12845056}, **options},'
            " **arguments)",
        ),
        "tokens.video.reserved",
        "makes 1296 of 2 frames 1008x1008",
    ),
    (
        "image and video swapped in config.json",
        OMNI,
        _replace(
            '"image_token": "<|IMAGE|>",\n    "video_token": "<|VIDEO|>",\n    "audio_start',
            '"image_token": "<|VIDEO|>",\n    "video_token": "<|IMAGE|>",\n    "audio_start',
        ),
        "tokens.image",
        "the model inserts embeddings at",
    ),
    (
        "half of the sound is lost",
        "samples.py",
        _replace("return _sound(*self.shape)", "return _sound(self.shape[0] // 2)"),
        "tokens.audio",
        "the formula gives 750",
    ),
    (
        "the sound inside a video is not interleaved",
        OMNI,
        _replace('options: Facts = {"use_audio_in_video": True}', "options: Facts = {}"),
        "tokens.video",
        "audio 2 s in 4 frames 56x56: Qwen2_5OmniProcessor put 0 placeholders",
    ),
    (
        "torchvision is missing",
        "model.py",
        _replace(
            '    require("torch"',
            '    __import__("sys").modules["torchvision"] = None\n    require("torch"',
        ),
        "tokens.video",
        "orchvision",
    ),
    (
        "torch is missing",
        "model.py",
        _replace(
            '    require("torch"',
            '    __import__("sys").modules["torch"] = None\n    require("torch"',
        ),
        "tokens.video",
        "torch",
    ),
    (
        "the encoder crashes",
        BASE,
        _replace(
            "    def forward(",
            "    def forward(self, model, inputs):\n        import os\n"
            "        os.abort()\n\n    def unused(",
        ),
        "tokens.generate",
        "SIGABRT",
    ),
]


@pytest.mark.parametrize(
    ("file", "edit", "name", "words"),
    [pytest.param(*fault[1:], id=fault[0]) for fault in FAULTS],
)
def test_a_real_fault_is_red(
    spoilt: Callable[..., Report], file: str, edit: Edit, name: str | None, words: str
) -> None:
    job = name.split(".")[1].replace("generate", "mixed") if name else None
    report = spoilt(file, edit, job)
    if name is None:
        assert report.verdict is Status.PASS
        return
    check = next(check for check in report.checks if check.name == name)
    assert check.status in (Status.FAIL, Status.ERROR), report.summary
    assert words in " ".join([check.explanation, *check.details.get("findings", ())])
    assert "Traceback" not in check.explanation


def test_the_seeds_expectation_is_red_and_named(spoilt: Callable[..., Report]) -> None:
    report = spoilt(OMNI, _replace("", ""), "video", side=3584, video=16384)
    check = next(check for check in report.checks if check.name == "tokens.video.reserved")
    assert (check.expected, check.actual) == ("16384", "729")
    assert check.cause is not None
    assert check.cause.id == "processor-video-cap"


def test_the_container_leaves_nothing_behind(container: tuple[Prepared, SmokePlan]) -> None:
    ready, plan = container
    done = ready.run(Command(args=(plan.python, "-c", "import os; print(os.listdir('/tmp'))")))
    assert done.exit_code == 0
    assert done.stdout.strip() == b"[]"
