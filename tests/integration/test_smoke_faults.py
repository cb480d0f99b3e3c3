"""Faults planted for real: the demo's container with one thing in it broken, one fault at a time.

A spoilt file is mounted over the container's own (a library's module, a package's metadata), or the
model directory is made wrong. Everything else is what ``make demo`` runs: Debian's torch, the
released transformers. Each fault must turn red and say why; the same run without one is green.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envbuilder.runtime import Command, Completed, Mount, Prepared
from envbuilder.smoke import Check, CheckStatus, ProbedModel, Report, SmokePlan, smoke
from envbuilder.smoke.run_probe import PROBE, PROBE_MOUNT
from tests.unit.smoke_documents import conform

pytestmark = [pytest.mark.integration]

SITE = "/opt/venv/lib/python3.13/site-packages"
DEBIAN = "/usr/lib/python3/dist-packages"
OMNI = f"{SITE}/transformers/models/qwen2_5_omni"
PROCESSOR, MODELING = f"{OMNI}/processing_qwen2_5_omni.py", f"{OMNI}/modeling_qwen2_5_omni.py"
METADATA = f"{SITE}/transformers-4.52.4.dist-info/METADATA"
FAMILY, BASE = "families/qwen2_5_omni.py", "families/base.py"
ABOVE_THE_CAP = 1008
"""Side (px) of a video that the processor's own cap makes 729 tokens of, like any larger one."""
QUICK = """
SAMPLES = {
    "audio": samples.audio(("small", 1), ("edge", 2.74), ("maximum", 30)),
    "image": samples.image(("small", 280, 280), ("maximum", 640, 480)),
    "video": samples.video(("small", 2, 56, 56), ("edge", 4, 56, 56), ("maximum", 2, SIDE, SIDE)),
}
Qwen25Omni.sounding = SOUNDING[:1]
"""

Edit = Callable[[str], str]


def swap(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text, f"there is no {old!r} any more"
        return text.replace(old, new)

    return edit


def begin(line: str) -> Edit:
    """Let a module do ``line`` before anything else; only comments may stand above it."""
    return lambda text: line + "\n" + text


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is broken: files edited ``inside`` the container, ``folders`` that take the place of its
    own (it runs Debian's bytecode unchecked), the probe's files that make the ``model``, or a
    ``directory`` that holds nothing but this config.json.

    ``job`` is the one that shall find it, ``check`` the one that turns red, says ``words``, and
    names the ``cause`` that looks like it, where the book has one. ``again`` marks what is found as
    another fault is, by the same job and the same comparison: `make deep` plants it.
    """

    name: str
    job: str
    check: str
    words: str
    inside: Mapping[str, Edit] = field(default_factory=dict)
    model: Mapping[str, Edit] = field(default_factory=dict)
    folders: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    directory: str | None = None
    cause: str | None = None
    again: bool = False
    side: int = ABOVE_THE_CAP
    video: int = 729
    timeout: float = 300

    @property
    def checks(self) -> tuple[str, ...]:
        return (self.job,) if self.job in {"environment", "caches"} else ("tokens",)

    @property
    def jobs(self) -> tuple[str, ...]:
        return (f"tokens.{self.job}",) if self.checks == ("tokens",) else ()


GREEN = Fault(name="nothing", job="video", check="tokens.video", words="placeholders agree")
FAULTS = [
    # --- a processor that counts otherwise than its model ---------------------------------------
    Fault(
        name="audio length off by one",
        job="audio", check="tokens.audio", cause="audio-off-by-one",
        words="audio 2.74 s: Qwen2_5OmniProcessor put 69 placeholders into the prompt, the encoder"
        " makes 68",
        inside={PROCESSOR: swap("sum(-1) - 1) // 2 + 1", "sum(-1) + 1 - 1) // 2 + 1")},
    ),
    Fault(
        name="one image placeholder too few, which transformers accepts silently",
        job="image", check="tokens.image", words="put 99 placeholders into the prompt, the encoder",
        inside={PROCESSOR: swap("// merge_length_image", "// merge_length_image - 1")},
    ),
    Fault(
        name="one audio placeholder too few", again=True,
        job="audio", check="tokens.audio", cause="audio-off-by-one",
        words="put 24 placeholders into the prompt, the encoder",
        inside={PROCESSOR: swap('" * next(audio_lengths)', '" * (next(audio_lengths) - 1)')},
    ),
    Fault(
        name="merge size of images forgotten", again=True,
        job="image", check="tokens.image", words="put 200 placeholders into the prompt",
        inside={PROCESSOR: swap("image_processor.merge_size**2", "image_processor.merge_size")},
    ),
    Fault(
        name="merge size of videos squared twice",
        job="video", check="tokens.video", words="placeholders into the prompt, the encoder makes",
        inside={PROCESSOR: swap("video_processor.merge_size**2", "video_processor.merge_size**4")},
    ),
    Fault(
        name="steps in time not counted", again=True,
        job="video", check="tokens.video", words="4 frames 56x56",
        inside={PROCESSOR: swap("next(video_grid_thw).prod()", "next(video_grid_thw)[1:].prod()")},
    ),
    Fault(
        name="images written as videos", again=True,
        job="image", check="tokens.image", words="put 0 placeholders into the prompt",
        inside={PROCESSOR: swap('"<|image_placeholder|>" *', '"<|video_placeholder|>" *')},
    ),
    Fault(
        name="sound cut after five seconds",
        job="audio", check="tokens.audio", cause="sound-cut",
        words="put 125 placeholders into the prompt, the formula"
        " gives 750",
        inside={PROCESSOR: swap("feature_extractor(audio,",
                                "feature_extractor([one[:80000] for one in audio],")},
    ),
    Fault(
        name="the video's cap removed", again=True,
        job="video", check="tokens.video.reserved", words="makes 1296 of 2 frames 1008x1008",
        inside={PROCESSOR: swap('"max_pixels": 768 * 28', '"max_pixels": 16384 * 28')},
    ),
    Fault(
        name="the video's cap lowered",
        job="video", check="tokens.video.reserved", words="makes 256 of 2 frames 1008x1008",
        inside={PROCESSOR: swap('"max_pixels": 768 * 28', '"max_pixels": 256 * 28')},
    ),
    Fault(
        name="a cap on images that nobody knows of",
        job="image", check="tokens.image", cause="both-otherwise", words="the formula gives 391",
        inside={PROCESSOR: swap('"videos_kwargs": {\n',
                                '"images_kwargs": {"max_pixels": 50176},\n"videos_kwargs": {\n')},
    ),
    Fault(
        name="the sound inside a video is not interleaved",
        job="video", check="tokens.video",
        words="audio 2 s in 4 frames 56x56: Qwen2_5OmniProcessor put 0 placeholders",
        inside={PROCESSOR: swap('.pop("use_audio_in_video")',
                                '.pop("use_audio_in_video") and None')},
    ),
    # --- an encoder that makes other rows, and a model that answers nonsense ---------------------
    Fault(
        name="the encoder drops a row of an image",
        job="image", check="tokens.image", words="the encoder makes 99",
        inside={MODELING: swap("return image_embeds", "return image_embeds[:-1]")},
    ),
    Fault(
        name="the encoder gives a video twice", again=True,
        job="video", check="tokens.video", words="the encoder makes 288",
        inside={MODELING: swap("return video_embeds", "return video_embeds.repeat(2, 1)")},
    ),
    Fault(
        name="the encoder drops the end of a sound", again=True,
        job="audio", check="tokens.audio", cause="audio-off-by-one", words="the encoder makes 24",
        inside={MODELING: swap("        return audio_features\n",
                               "        return audio_features[:-1]\n")},
    ),
    Fault(
        name="logits that are no numbers",
        job="mixed", check="tokens.generate", words="logits are not finite numbers",
        inside={MODELING: swap("self.lm_head(hidden_states)",
                               "self.lm_head(hidden_states) * float('nan')")},
    ),
    Fault(
        name="wrong dtype", again=True,
        job="mixed", check="tokens.generate", words="audio alone: RuntimeError: expected",
        inside={MODELING: swap("self.lm_head(hidden_states)",
                               "self.lm_head(hidden_states.double())")},
    ),
    # --- a process that does not come back -------------------------------------------------------
    Fault(
        name="the encoder aborts",
        job="audio", check="tokens.audio", words="SIGABRT while counting audio 1 s",
        inside={MODELING: swap("        return audio_features\n",
                               "        import os; os.abort()\n")},
    ),
    Fault(
        name="a segmentation fault", again=True,
        job="image", check="tokens.image", words="SIGSEGV while counting image 280x280",
        inside={MODELING: swap("return image_embeds", "import ctypes; ctypes.string_at(0)")},
    ),
    Fault(
        name="more memory than there is",
        job="image", check="tokens.image", cause="dense-attention-mask", words="allocate memory",
        inside={MODELING: swap("return image_embeds", "return torch.empty(1 << 50)")},
    ),
    Fault(
        name="a processor that hangs",
        job="audio", check="tokens.audio", words="the time limit",
        inside={PROCESSOR: begin("import time; time.sleep(600)")},
        timeout=8,
    ),
    # --- libraries that are missing, broken or not the locked ones -------------------------------
    Fault(
        name="torch is missing",
        job="image", check="tokens.image", words="torch is not installed",
        folders={f"{DEBIAN}/torch": {"__init__.py":
                 "raise ModuleNotFoundError('No module named torch', name='torch')"}},
    ),
    Fault(
        name="transformers is missing", again=True,
        job="image", check="tokens.image", words="transformers is not installed",
        folders={f"{SITE}/transformers": {}},
    ),
    Fault(
        name="torchvision of another build",
        job="video", check="tokens.video", words="torchvision::nms does not exist",
        cause="torchvision-beside-cpu-torch",
        folders={f"{DEBIAN}/torchvision": {"__init__.py":
                 "raise RuntimeError('operator torchvision::nms does not exist')"}},
    ),
    Fault(
        name="transformers cannot be imported",
        job="environment", check="environment.import.transformers",
        words="transformers cannot be imported: ImportError: broken on purpose",
        inside={f"{SITE}/transformers/__init__.py":
                begin("raise ImportError('broken on purpose')")},
    ),
    Fault(
        name="another version than the locked one",
        job="environment", check="environment.packages",
        words="the lock states transformers 4.52.4, but 4.51.3 is what Python imports",
        inside={METADATA: swap("Version: 4.52.4", "Version: 4.51.3")},
    ),
    Fault(
        name="a requirement that nothing meets",
        job="environment", check="environment.requirements", words="needs numpy>=99",
        inside={METADATA: swap("Requires-Dist: filelock",
                               "Requires-Dist: numpy>=99\nRequires-Dist: filelock")},
    ),
    Fault(
        name="a file changed by hand",
        job="environment", check="environment.files", words="changed since it was installed",
        inside={PROCESSOR: begin("# my patch")},
    ),
    Fault(
        name="apt's lists left behind",
        job="caches", check="caches", words="apt left 9 bytes in /var/lib/apt/lists",
        folders={"/var/lib/apt/lists": {"leftover": "forgotten"}},
    ),
    # --- a model directory that is not what the processor and the model take it for --------------
    Fault(
        name="a tokenizer without the video token",
        job="video", check="tokens.video", words="<|VIDEO|>",
        model={FAMILY: swap('    "<|VIDEO|>",\n    "<|vision_bos|>"',
                            '    "<|V|>",\n    "<|vision_bos|>"')},
    ),
    Fault(
        name="image and video swapped in config.json",
        job="image", check="tokens.image", words="the model inserts embeddings at",
        cause="token-ids-differ",
        model={FAMILY: swap(
            '"image_token": "<|IMAGE|>",\n    "video_token": "<|VIDEO|>",\n    "audio_start',
            '"image_token": "<|VIDEO|>",\n    "video_token": "<|IMAGE|>",\n    "audio_start',
        )},
    ),
    Fault(
        name="an audio window of 15 s",
        job="audio", check="tokens.audio", cause="sound-cut",
        words="put 375 placeholders into the prompt",
        model={FAMILY: swap("extractor(seconds=WINDOW,", "extractor(seconds=15,")},
    ),
    Fault(
        name="a model directory without processor files",
        job="image", check="tokens.image", words="preprocessor_config.json",
        directory='{"model_type": "qwen2_5_omni"}',
    ),
    Fault(
        name="a model directory of nobody's model",
        job="image", check="tokens.image", words="nobody's",
        cause="architecture-unknown",
        directory='{"model_type": "nobody\'s"}',
    ),
    Fault(
        name="no processor files", again=True,
        job="image", check="tokens.image", words="preprocessor_config.json",
        model={BASE: swap("in self.processor_files().items()", "in ()")},
    ),
    Fault(
        name="AutoProcessor gives a bare tokenizer",
        job="image", check="tokens.image", words="gave a bare Qwen2Tokenizer",
        cause="processor-degraded",
        inside={f"{SITE}/transformers/models/auto/processing_auto.py":
                swap('        ("qwen2_5_omni", "Qwen2_5OmniProcessor"),\n', "")},
        model={FAMILY: swap('"Qwen2_5OmniProcessor"', "None"),
               BASE: swap('"processor_class": self.processor_class', '"processor_class": None')},
    ),
    # --- the seed's failure: what its engine reserved for one video ------------------------------
    Fault(
        name="the seed's expectation",
        job="video", check="tokens.video.reserved", cause="processor-video-cap",
        words="16384 video tokens are reserved per item, but Qwen2_5OmniProcessor makes 729",
        side=3584, video=16384,
    ),
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """The demo's container, and a folder for spoilt copies."""

    ready: Prepared
    plan: SmokePlan
    folder: Path

    def report(self, fault: Fault) -> Report:
        """Smoke the container with ``fault`` in it: one job, on few and small samples."""
        folder = self.folder / fault.name.replace(" ", "-")
        spoilt = [self._spoil(folder, path, edit) for path, edit in fault.inside.items()]
        spoilt += [self._replace(folder, path, files) for path, files in fault.folders.items()]
        probe = self._probe(folder, fault)

        def run(command: Command) -> Completed:
            mounts = [one for one in command.mounts if one.target != PROBE_MOUNT]
            mounts += [Mount(source=probe, target=PROBE_MOUNT), *spoilt]
            # Threads that wait for their next loop sleep: others want the processors.
            env = {**command.env, "OMP_WAIT_POLICY": "passive"}
            return self.ready.run(dataclasses.replace(command, mounts=tuple(mounts), env=env))

        tokens = {"audio": 750, "video": fault.video}
        model = ProbedModel(family="qwen2_5_omni", tokens=tokens)
        if fault.directory is not None:
            (folder / "config.json").write_text(fault.directory)
            model = ProbedModel(path=str(folder), tokens=tokens)
        asked = dataclasses.replace(
            self.plan,
            models=(model,),
            gpu="never",
            checks=fault.checks,
            jobs=fault.jobs,
            timeout=fault.timeout,
        )
        return smoke(run, asked)

    def _spoil(self, folder: Path, path: str, edit: Edit) -> Mount:
        """Copy a file out of the container and edit it, to be mounted over the original."""
        found = self.ready.run(Command(args=("cat", path)))
        assert found.exit_code == 0, path
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True)
        target.write_text(edit(found.stdout.decode()))
        return Mount(source=target, target=path)

    def _replace(self, folder: Path, path: str, files: Mapping[str, str]) -> Mount:
        """Make a folder of ``files``, to be mounted in place of the container's."""
        target = folder / path.lstrip("/")
        target.mkdir(parents=True)
        for name, text in files.items():
            (target / name).write_text(text)
        return Mount(source=target, target=path)

    def _probe(self, folder: Path, fault: Fault) -> Path:
        """Copy the probe, with the fault's edits and quick samples."""
        probe = folder / "probe"
        shutil.copytree(PROBE, probe, ignore=shutil.ignore_patterns("__pycache__"))
        quick = QUICK.replace("SIDE", str(fault.side)) + "FAMILY ="
        for file, edit in [(FAMILY, swap("\nFAMILY =", quick)), *fault.model.items()]:
            (probe / file).write_text(edit((probe / file).read_text()))
        return probe


@pytest.fixture(scope="module")
def workshop(
    container: tuple[Prepared, SmokePlan], tmp_path_factory: pytest.TempPathFactory
) -> Workshop:
    ready, plan = container
    return Workshop(ready=ready, plan=plan, folder=tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def reports(
    workshop: Workshop, request: pytest.FixtureRequest
) -> Iterator[Mapping[str, Future[Report]]]:
    """Smoke two at a time, in the order of the tests, those whose tests were selected."""
    callspecs = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = [spec.params["fault"] for spec in callspecs if spec and "fault" in spec.params]
    with ThreadPoolExecutor(2) as pool:
        yield {fault.name: pool.submit(workshop.report, fault) for fault in wanted}
        pool.shutdown(cancel_futures=True)


def _check(report: Report, name: str) -> Check:
    found = [check for check in report.checks if check.name == name]
    assert found, f"{[check.name for check in report.checks]} lacks {name}: {report.summary}"
    return found[0]


@pytest.mark.parametrize("fault", [GREEN], ids=lambda fault: fault.name)
def test_without_a_fault_it_is_green(reports: Mapping[str, Future[Report]], fault: Fault) -> None:
    report = reports[fault.name].result()
    conform(report)
    assert report.verdict is CheckStatus.PASS, report.summary
    assert fault.words in _check(report, fault.check).explanation


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault.name, marks=pytest.mark.deep if fault.again else ())
        for fault in FAULTS
    ],
)
def test_a_real_fault_is_red_and_explained(
    reports: Mapping[str, Future[Report]], fault: Fault
) -> None:
    report = reports[fault.name].result()
    conform(report)
    check = _check(report, fault.check)
    assert check.status in (CheckStatus.FAIL, CheckStatus.ERROR), check
    assert report.verdict in (CheckStatus.FAIL, CheckStatus.ERROR)
    told = " ".join([check.explanation, *check.details.get("findings", ())])
    assert fault.words in told
    assert "Traceback" not in told
    assert (check.cause.id if check.cause else None) == fault.cause


def test_at_least_twenty_faults_are_planted_for_real() -> None:
    assert len({fault.name for fault in FAULTS if not fault.again}) >= 20
