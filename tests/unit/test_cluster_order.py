"""What goes to a job and what comes back: its package, its needs, its answer in a log."""

import base64
import json
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

import envbuilder
from envbuilder.model.codec import to_json
from envbuilder.model.errors import (
    BuildError,
    EnvbuilderError,
    MissingToolError,
    SpecError,
    UsageError,
)
from envbuilder.model.lock import DebianBase, Lock
from envbuilder.model.plan import LAYOUT_VERSION
from envbuilder.model.reference import Digest
from envbuilder.model.spec import from_builtins
from envbuilder.model.spec_file import parse
from envbuilder.model.yaml_document import parse_document
from envbuilder.storage.store import Store
from envbuilder.workflow.cluster import order, package, start
from envbuilder.workflow.cluster.jobs_api import JobState, Node
from envbuilder.workflow.cluster.needs import LABEL, Need, check_fits, needs_of
from envbuilder.workflow.cluster.order import Answer, Order, error_of, read_answer
from envbuilder.workflow.cluster.package import pack, place_of

GIB = 1 << 30
PLAIN = {
    "version": 1,
    "name": "demo",
    "python": "3.12",
    "base": {"debian": "trixie"},
    "packages": {"six": "*"},
}


def lock_of(spec) -> Lock:
    return Lock(spec=spec, base=DebianBase(suite="trixie", packages=()), wheels=())


def node(name: str = "n", *, labels=None, **resources: float) -> Node:
    has = {"CPU": 4, "memory": 16 * GIB, **resources}
    return Node(node_id=name, node_ip=name, state="ALIVE", resources_total=has, labels=labels)


def spec_with(**smoke):
    return from_builtins({**PLAIN, "smoke": smoke})


class TestNeeds:
    def test_one_for_each_type_of_gpu(self):
        found = needs_of(spec_with(gpus=["H100", "L4", "H100"], memory=2048))
        assert found == (
            Need(memory=2 * GIB, gpus=1, gpu="H100"),
            Need(memory=2 * GIB, gpus=1, gpu="L4"),
        )
        assert needs_of(spec_with(gpu="required")) == (Need(memory=8 * GIB, gpus=1),)
        assert needs_of(spec_with()) == (Need(memory=8 * GIB),)

    @pytest.mark.parametrize(
        ("need", "there", "fits"),
        [
            (Need(memory=8 * GIB), node(), True),
            (Need(memory=17 * GIB), node(), False),
            (Need(memory=GIB), node(CPU=0), False),
            (Need(memory=GIB, gpus=1), node(), False),
            (Need(memory=GIB, gpus=1), node(GPU=1), True),
            (Need(memory=GIB, gpus=1, gpu="L4"), node(GPU=1), False),
            (Need(memory=GIB, gpus=1, gpu="L4"), node(GPU=1, labels={LABEL: "L4"}), True),
            (Need(memory=GIB, gpus=1, gpu="L4"), node(GPU=1, labels={LABEL: "H100"}), False),
            (Need(memory=GIB, gpus=1, gpu="L4"), node(labels={LABEL: "L4"}), False),
            (Need(memory=GIB, gpus=1, gpu="L4"), node(GPU=1, **{"accelerator_type:L4": 1}), True),
        ],
    )
    def test_what_fits(self, need, there, fits):
        assert need.fits(there) is fits

    def test_a_type_is_asked_by_label_or_as_older_rays_have_it(self):
        need = Need(memory=GIB, gpus=1, gpu="L4")
        base = {"entrypoint_num_cpus": 1, "entrypoint_memory": GIB, "entrypoint_num_gpus": 1}
        older = node(GPU=1, **{"accelerator_type:L4": 1.0})
        assert need.asked([older]) == {
            **base,
            "entrypoint_resources": {"accelerator_type:L4": 0.001},
        }
        label = {**base, "entrypoint_label_selector": {LABEL: "L4"}}
        assert need.asked([older, node(GPU=1, labels={LABEL: "L4"})]) == label
        assert need.asked([]) == label, "of a machine that is yet to come"

    def test_what_never_fits_is_told_with_what_there_is(self):
        there = [node("one", GPU=8, labels={LABEL: "A100"}), node("two")]
        with pytest.raises(MissingToolError) as caught:
            check_fits(Need(memory=GIB, gpus=1, gpu="L4"), there, name="demo", cluster="http://h:1")
        assert caught.value.message == (
            "no machine of the cluster at http://h:1 can run demo, which needs 1 GPU of type L4, "
            "1.0 GiB of memory; it has\n"
            "  one: 4 CPUs, 8 GPUs (A100), 16.0 GiB of memory\n"
            "  two: 4 CPUs, no GPU, 16.0 GiB of memory"
        )
        assert "--wait-for-nodes" in caught.value.hint

    @pytest.mark.parametrize(
        ("smoke", "said"),
        [
            ("{gpus: [H100], gpu: never}", "gpu: never, and types of GPUs to smoke on"),
            ("{gpus: ['H 100']}", "expected a type of GPU as Ray calls it"),
            ("{gpus: H100}", "expected a list"),
        ],
    )
    def test_types_in_a_spec_are_checked(self, smoke, said):
        text = (
            "version: 1\nname: demo\npython: '3.12'\nbase: {debian: trixie}\n"
            f"packages: {{six: '*'}}\nsmoke: {smoke}\n"
        )
        with pytest.raises(SpecError, match=said):
            parse(parse_document(Path("demo.yaml"), text))


class TestAnswers:
    def frame(self, attempt: str, answer: Answer) -> str:
        return start.frame(attempt, to_json(answer))

    def test_the_answer_of_an_attempt_is_found_in_a_log(self):
        ours = Answer(code=4, error="no", hint="try")
        log = "noise" + self.frame("aa", Answer(code=0)) + "more" + self.frame("bb", ours) + "end"
        assert read_answer(log, "bb") == ours
        assert read_answer(log, "aa") == Answer(code=0)
        assert read_answer(log, "cc") is None
        assert read_answer("", "aa") is None

    def test_half_an_answer_or_another_is_none(self):
        whole = self.frame("aa", Answer(code=0, error="x" * 400))
        for end in range(len(whole) - 1):
            assert read_answer(whole[:end], "aa") is None
        head, _, tail = whole.partition("envbuilder-answer aa ")
        assert read_answer(f"{head}envbuilder-answer aa {'0' * 64}{tail[64:]}", "aa") is None
        data = base64.encodebytes(zlib.compress(b"[]")).decode()
        digest = Digest.of(b"[]").hex
        assert (
            read_answer(f"envbuilder-answer aa {digest}\n{data}envbuilder-end aa\n", "aa") is None
        )

    def test_an_answer_that_grows_without_end_is_none(self, monkeypatch):
        frame = self.frame("aa", Answer(code=0, error="x" * 5000))
        assert read_answer(frame, "aa") is not None
        monkeypatch.setattr(order, "_MOST", 5000)
        assert read_answer(frame, "aa") is None

    @pytest.mark.parametrize("kind", [SpecError, BuildError, MissingToolError, EnvbuilderError])
    def test_an_error_keeps_its_class_and_words(self, kind):
        error = error_of(Answer(code=kind.exit_code, error="it broke", hint="mend it"), "L4: ")
        assert (type(error), error.message, error.hint) == (kind, "L4: it broke", "mend it")

    def test_a_state_that_ended(self):
        states = ("PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED")
        assert [JobState(status=each).ended for each in states] == [False, False, True, True, True]


class TestStart:
    def run(self, folder: Path, **env: str) -> tuple[int, Answer | None]:
        (folder / "request.json").write_text(json.dumps({"envbuilder": "0.1.0"}))
        done = subprocess.run(
            [sys.executable, "-S", start.__file__, "aa"],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, read_answer(done.stdout, "aa")

    def test_without_the_tool(self, tmp_path):
        code, answer = self.run(tmp_path)
        assert code == 6
        assert answer is not None
        assert "cannot import envbuilder: No module named 'envbuilder'" in answer.error
        assert answer.hint == "pip install gpu-envbuilder==0.1.0 there"

    def test_with_another_version(self, tmp_path):
        other = tmp_path / "site" / "envbuilder"
        other.mkdir(parents=True)
        (other / "__init__.py").write_text("__version__ = '9.9'\n")
        code, answer = self.run(tmp_path, PYTHONPATH=str(other.parent))
        assert code == 6
        assert answer is not None
        assert answer.error == "that machine has envbuilder 9.9, and here it is 0.1.0"

    def test_a_process_that_dies_is_an_answer(self, tmp_path):
        broken = tmp_path / "site" / "envbuilder"
        broken.mkdir(parents=True)
        (broken / "__init__.py").write_text("__version__ = '0.1.0'\n")
        code, answer = self.run(tmp_path, PYTHONPATH=str(broken.parent))
        assert code == 7
        assert answer is not None
        assert answer.error.startswith("the work on that machine ended with exit code 1; it said")
        assert "No module named 'envbuilder.cli'" in answer.error
        (broken / "cli").mkdir()
        (broken / "cli" / "__init__.py").touch()
        (broken / "cli" / "cluster_job.py").write_text("import os; os.kill(os.getpid(), 9)")
        assert (
            "was killed by signal 9" in self.run(tmp_path, PYTHONPATH=str(broken.parent))[1].error
        )

    def test_an_old_python(self, monkeypatch):
        monkeypatch.setattr(start.sys, "version_info", (3, 10, 12, "final", 0))
        assert start.unfit("0.1.0")["code"] == MissingToolError.exit_code
        assert "is 3.10.12: envbuilder needs 3.11 or newer" in str(start.unfit("0.1.0")["error"])


class TestPackage:
    def order(self, lock, **more) -> Order:
        return Order(
            envbuilder=envbuilder.__version__,
            layout=LAYOUT_VERSION,
            name=lock.spec.name,
            lock="",
            folder=place_of(lock.spec),
            engine="embedded",
            runtime="auto",
            gpus=0,
            **more,
        )

    def packed(self, tmp_path: Path, lock, name: str = "zip"):
        folder = tmp_path / "project" / "lockfiles"
        folder.mkdir(parents=True, exist_ok=True)
        made = pack(
            self.order(lock),
            lock,
            folder=folder,
            store=Store(tmp_path / "store"),
            remote=None,
            into=tmp_path / name,
        )
        with zipfile.ZipFile(made.file) as archive:
            return made, {each: archive.read(each) for each in archive.namelist()}

    def test_samples_models_and_answers_keep_their_places(self, tmp_path):
        spec = spec_with(
            models=[{"path": "../models/own"}, {"path": "/everywhere"}, {"family": "whisper"}],
            samples=["clips/a.wav"],
        )
        folder = tmp_path / "project" / "lockfiles"
        for path, text in (
            ("lockfiles/clips/a.wav", "sound"),
            ("lockfiles/demo.whisper.answers.json", "{}"),
            ("lockfiles/demo.key", "secret"),
            ("models/own/deep/config.json", "config"),
        ):
            (tmp_path / "project" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "project" / path).write_text(text)
        _, members = self.packed(tmp_path, lock_of(spec))
        assert folder.is_dir()
        assert set(members) == {
            "request.json",
            "start.py",
            "at/at/clips/a.wav",
            "at/at/demo.whisper.answers.json",
            "at/models/own/deep/config.json",
        }
        assert members["at/models/own/deep/config.json"] == b"config"

    def test_the_name_is_that_of_the_content(self, tmp_path):
        lock = lock_of(spec_with(samples=["a.wav"]))
        sample = tmp_path / "project" / "lockfiles" / "a.wav"
        sample.parent.mkdir(parents=True)
        sample.write_bytes(b"one")
        first, _ = self.packed(tmp_path, lock, "first")
        again, _ = self.packed(tmp_path, lock, "again")
        assert first.file.read_bytes() == again.file.read_bytes()
        assert first.content == again.content
        assert first.name == f"_ray_pkg_{first.content[:40]}.zip"
        sample.write_bytes(b"two")
        assert self.packed(tmp_path, lock, "third")[0].content != first.content
        other = replace(lock, spec=spec_with(samples=["a.wav"], timeout=7))
        assert other != lock

    def test_what_is_too_large_for_ray_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(package, "MOST_OF_A_PACKAGE", 1 << 10)
        with pytest.raises(UsageError, match="larger than the 0 MiB that Ray takes with a job"):
            self.packed(tmp_path, lock_of(spec_with()))
