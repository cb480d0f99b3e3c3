"""The seed's environment, rendered: its real lock needs servers that tests do not reach.

So the lock here is made up where only those servers know: digests, and what lies in the wheels.
"""

import subprocess
import sys
from pathlib import Path

from envbuilder.engines.render import render
from envbuilder.model.lock import GitSource, ImageBase, Lock, SourceTree, Wheel
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import load

HERE = Path(__file__).parent
SPEC = HERE.parents[1] / "lockfiles" / "qwen2-5-omni.yaml"
HADOLINT = Path(sys.executable).parent / "hadolint"
RENDERED = ("Dockerfile", "requirements/source-vllm.txt", "requirements/source-vllm.json")


def made_up(name: str, version: str, tag: str = "py3-none-any") -> Wheel:
    filename = f"{name.replace('-', '_')}-{version}-{tag}.whl"
    return Wheel(name=name, version=version, filename=filename, size=1 << 20,
                 sha256=Digest.of(filename.encode()))  # fmt: skip


def lock() -> Lock:
    spec = load(SPEC)
    base = ImageBase(
        reference=f"docker.io/{spec.base.image}",
        digest=Digest.of(b"base"),
        config=Digest.of(b"config"),
        layers=(),
        manager="apt",
        packages=tuple(f"{name}=1-0ubuntu1" for name in sorted(spec.system.packages)),
    )
    builder = ImageBase(
        reference=f"docker.io/{spec.build.image}",
        digest=Digest.of(b"builder"),
        config=Digest.of(b"builder config"),
        layers=(),
        manager="apt",
        packages=tuple(f"{name}=1-0ubuntu1" for name in sorted(spec.build.system.packages)),
    )
    trees = tuple(
        SourceTree(
            name=name,
            repository=pin.git,
            requested=pin.tag or pin.commit or "",
            commit=pin.commit or "4" * 40,
            tree="5" * 40,
            submodules=pin.submodules,
            time=1_744_000_000,
        )
        for name, pin in sorted(spec.sources["vllm"].build.sources.items())
    )
    torch = made_up("torch", "2.6.0", "cp310-cp310-manylinux1_x86_64")
    setuptools = made_up("setuptools", "79.0.1")
    tools = [made_up("cmake", "4.0.2"), made_up("ninja", "1.11.1.4"),
             made_up("setuptools-scm", "8.3.1")]  # fmt: skip
    return Lock(
        spec=spec,
        base=base,
        wheels=(setuptools, torch),
        sources=(
            GitSource(
                name="transformers",
                version="4.52.0.dev0",
                repository=spec.sources["transformers"].git,
                requested="v4.51.3-Qwen2.5-Omni-preview",
                commit="1" * 40,
                tree="2" * 40,
                time=1_743_000_000,
                requires=(setuptools,),
            ),
            GitSource(
                name="vllm",
                version="0.8.5.dev0+gde8f43fbe",
                repository=spec.sources["vllm"].git,
                requested="de8f43fbe9",
                commit="de8f43fbe9" + "0" * 30,
                tree="3" * 40,
                time=1_744_000_000,
                describe="v0.8.4-20-gde8f43fbe",
                requires=(*tools, setuptools, torch),
                sources=trees,
            ),
        ),
        builder=builder,
    )


def test_the_seeds_environment_as_a_dockerfile(golden):
    files = render(lock())
    for name in RENDERED:
        golden(HERE / "render" / "qwen2-5-omni" / name, files[name])


def test_hadolint_finds_nothing():
    command = [HADOLINT, HERE / "render" / "qwen2-5-omni" / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_pins_what_the_seed_pins():
    spec = load(SPEC)
    assert spec.python == "3.10"
    assert {str(each) for each in spec.requirements} == {
        "torch==2.6.0",
        "setuptools==79.0.1",
        "librosa",
    }
    assert spec.sources["transformers"].tag == "v4.51.3-Qwen2.5-Omni-preview"
    assert spec.sources["vllm"].branch == "qwen2_omni_public"
    assert spec.sources["vllm"].commit == "de8f43fbe9"


def test_it_stands_the_checks_that_need_no_network():
    command = [sys.executable, "-m", "envbuilder", "lock", "--file", SPEC, "--dry-run"]
    alone = ["unshare", "--map-root-user", "--net", "--"]
    done = subprocess.run([*alone, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is a valid spec: linux/amd64, Python 3.10; 3 from indexes, 2 from git" in done.stdout


def test_its_header_says_why_there_is_no_lock_beside_it():
    assert not SPEC.with_name("pylock.qwen2-5-omni.toml").exists()
    assert "There is no pylock.qwen2-5-omni.toml beside this file" in SPEC.read_text()
