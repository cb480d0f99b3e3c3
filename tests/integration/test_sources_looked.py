"""Metadata that depends on where it is asked is asked where the wheel is built.

The build environments here are this machine's Python with a toolkit, or without one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from envbuilder.model.errors import BuildError, ResolutionError
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.package_spec import Package
from envbuilder.model.reference import Digest
from envbuilder.resolve.git.ask import ask
from envbuilder.resolve.git.build_environment import BuildEnvironment
from envbuilder.resolve.git.contained import contained
from envbuilder.resolve.git.context import GitContext
from envbuilder.resolve.git.sandbox import Sandbox, host_sandbox
from envbuilder.resolve.git.wheel_build import build_sources
from envbuilder.resolve.sources import lock_sources, locking
from envbuilder.resolve.target import python_target
from envbuilder.runtime import Mount
from envbuilder.storage.store import Store
from tests.contexts import git_context
from tests.integration.docker_light import Recording
from tests.integration.test_sources_build import BASE, PYTHON, lock_of, origin_of, spec_of
from tests.servers import git_projects
from tests.servers.git_repositories import Origin

pytestmark = pytest.mark.integration

TOOLKIT = "/opt/toolkit/bin"
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
BACKEND = """\
import ctypes, glob, os, pathlib, shutil, subprocess, sys, zipfile
version = "1.0"
{look}
METADATA = f"Metadata-Version: 2.1\\nName: looky\\nVersion: {{version}}\\n"

def prepare_metadata_for_build_wheel(output, *_):
    os.mkdir(f"{{output}}/looky-{{version}}.dist-info")
    pathlib.Path(output, f"looky-{{version}}.dist-info/METADATA").write_text(METADATA)
    return f"looky-{{version}}.dist-info"

def build_wheel(output, *_):
    name = f"looky-{{version}}-py3-none-any.whl"
    with zipfile.ZipFile(f"{{output}}/{{name}}", "w") as wheel:
        wheel.writestr(f"looky-{{version}}.dist-info/METADATA", METADATA)
        wheel.writestr(f"looky-{{version}}.dist-info/RECORD", "")
    return name
"""
BY_CUDA = """
if shutil.which("nvcc"):
    said = subprocess.check_output(["nvcc", "--version"], text=True)
    version += "+cu" + said.split()[-1].replace(".", "")
"""
NEEDS_CUDA = "subprocess.check_call(['nvcc', '--version'])"
LOOKS = {  # what it does: what is noted of it
    "shutil.which('nvcc')": "nvcc",
    "os.path.exists('/usr/local/cuda')": "/usr/local/cuda",
    "pathlib.Path('/opt/rocm').is_dir()": "/opt/rocm",
    "os.path.exists(b'../../usr/local/cuda-12.4')": "/usr/local/cuda-12.4",
    "glob.glob('/usr/lib/cuda-*')": "/usr/lib",
    "open('/etc/os-release').read()": "/etc/os-release",
    "subprocess.call(['gcc', '--version'])": "gcc",
    "os.system('hipcc --version')": "hipcc --version",
    "subprocess.call('ls /usr | wc', shell=True)": "ls /usr | wc",
    "subprocess.call([sys.executable, '-c', ''])": "python",
    "os.access('/usr/bin/ccache', os.X_OK)": "ccache",
    "os.waitpid(os.fork() or os._exit(0), 0)": "a process of its own",
}
HARMLESS = """
subprocess.call(["git", "describe"]); shutil.which("git"); os.path.realpath(sys.executable)
os.path.isfile("setup.cfg"); open("/tmp/x", "w"); os.listdir("."); tempfile.mkdtemp()
list(importlib.metadata.distributions()); platform.libc_ver(); platform.system()
sysconfig.get_config_var("CC"); argparse.ArgumentParser().format_help()
"""


def project(look: str = "") -> dict[str, str]:
    """Give a project whose build backend does ``look`` first."""
    return {"pyproject.toml": PYPROJECT, "b.py": BACKEND.format(look=look), "setup.py": ""}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def context(store) -> GitContext:
    return git_context(store, Recording())


@dataclass(frozen=True, kw_only=True)
class Toolkits:
    """Makes places to build in that have an nvcc of some version, and remembers which it made."""

    folder: Path
    store: Store
    made: list[str]

    def sandbox(self, cuda: str) -> Sandbox:
        """Give this machine's Python, and beside it an nvcc unless ``cuda`` is ``none``."""
        plain = host_sandbox(PYTHON, store=self.store)
        if cuda == "none":
            return plain
        place = self.folder / cuda
        place.mkdir(exist_ok=True)
        (place / "nvcc").write_text(f"#!/bin/sh\necho release {cuda}\n")
        (place / "nvcc").chmod(0o755)
        return replace(
            plain,
            mounts=(*plain.mounts, Mount(source=place, target=TOOLKIT)),
            settings={"Env": [f"PATH={TOOLKIT}:/usr/bin:/bin", f"CUDA_VERSION={cuda}"]},
        )

    def environment(self, cuda: str, lock: Lock) -> BuildEnvironment:
        """Give the build environment with that sandbox, as an image of a registry would be one."""

        def make() -> Sandbox:
            self.made.append(cuda)
            return self.sandbox(cuda)

        bare = replace(lock, builder=image(cuda), sources=())
        settings = self.sandbox(cuda).settings
        return BuildEnvironment(
            lock=bare,
            variables=lambda: tuple(settings.get("Env", ())),
            pinned=lambda: bare,
            sandbox=make,
        )


def image(cuda: str) -> ImageBase:
    digest = Digest.of(cuda.encode())
    return ImageBase(
        reference=f"registry.example.com/devel:{cuda}", digest=digest, config=digest, layers=()
    )


@pytest.fixture
def toolkits(tmp_path, store) -> Toolkits:
    return Toolkits(folder=tmp_path, store=store, made=[])


@pytest.fixture
def lock_in(tmp_path, context, toolkits):
    """Give a function that locks a project of some files where there is that version of CUDA."""

    def locked(files, cuda: str, *, previous: Lock | None = None, release=()) -> Lock:
        place = tmp_path / "proj"
        origin = Origin(path=place) if place.exists() else origin_of(tmp_path, files)
        pin = Package(git=str(origin.path), branch="main")
        bare = Lock(spec=spec_of("looky", pin), base=BASE, wheels=())
        environment = toolkits.environment(cuda, bare)
        sources = lock_sources(
            locking(
                bare.spec,
                target=python_target(bare.spec, BASE),
                context=context,
                environment=environment,
                previous=previous,
                release=release,
            )
        )
        return replace(bare, sources=sources, builder=environment.lock.builder)

    return locked


def looked(files, tmp_path, context, *, tag: str = "") -> tuple[str, ...]:
    """Ask a project on this machine, and return what it looked at."""
    origin = origin_of(tmp_path, files)
    if tag:
        origin.tag(tag)
    questions = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "envbuilder.resolve.git.examine.ask",
            lambda *asked: questions.append(ask(*asked)) or questions[0],
        )
        with suppress(BuildError, ResolutionError):
            lock_of("looky", origin, context)
    return questions[0].looked


@pytest.mark.parametrize("files", [git_projects.NATIVE, git_projects.SCM], ids=["native", "scm"])
def test_honest_projects_have_looked_at_nothing(files, tmp_path, context):
    assert looked(files, tmp_path, context, tag="v1.0") == ()


def test_what_is_ones_own_or_the_same_everywhere_is_no_look(tmp_path, context):
    look = f"import argparse, importlib.metadata, platform, sysconfig, tempfile\n{HARMLESS}"
    assert looked(project(look), tmp_path, context) == ()


def test_what_looks_at_the_machine_is_seen(tmp_path, context):
    each = "    try: exec(each)\n    except OSError: pass"  # whether it is there does not matter
    found = looked(project(f"for each in {list(LOOKS)}:\n{each}"), tmp_path, context)
    assert set(found) == set(LOOKS.values())


@pytest.mark.parametrize(
    ("look", "found"),
    [
        ("raise ImportError('libcuda.so.1: cannot open shared object file')", "libcuda.so.1"),
        ("os._exit(0)", "nobody knows what"),
    ],
)
def test_a_failure_tells_what_it_looked_at_too(look, found, tmp_path, context):
    assert looked(project(look), tmp_path, context) == (found,)


def test_what_looks_at_nothing_is_asked_here(lock_in, toolkits):
    files = project()
    assert lock_in(files, "12.4").sources == lock_in(files, "12.6").sources
    assert toolkits.made == []


def test_a_version_that_depends_on_cuda_is_that_of_the_build_environment(
    lock_in, toolkits, context, monkeypatch
):
    """A laptop without a toolkit and a machine with another one lock the same."""
    files = project(BY_CUDA)
    laptop = lock_in(files, "12.4")
    assert laptop.sources[0].version == "1.0+cu124"
    assert any("registry.example.com/devel:12.4" in told for told in context.progress.titles)
    assert lock_in(files, "12.4").sources == laptop.sources
    assert toolkits.made == ["12.4"]  # remembered
    monkeypatch.setattr(
        "envbuilder.resolve.git.examine.host_sandbox", lambda *_, **__: toolkits.sandbox("11.8")
    )
    released = lock_in(files, "12.4", release={"looky"})
    assert released.sources == laptop.sources
    built = build_sources(
        released, make=contained(lambda: toolkits.sandbox("12.4"), context), context=context
    )
    assert built.sources[0].wheel.filename == "looky-1.0+cu124-py3-none-any.whl"


def test_another_image_to_compile_in_is_asked_again(lock_in):
    files = project(BY_CUDA)
    before = lock_in(files, "12.4")
    assert lock_in(files, "12.4", previous=before).sources == before.sources
    assert lock_in(files, "12.6", previous=before).sources[0].version == "1.0+cu126"
    assert lock_in(files, "none", previous=before).sources[0].version == "1.0"


def test_a_variable_of_the_image_is_there_when_it_is_asked_here(lock_in, toolkits):
    look = "version = '1.0+cu' + os.environ.get('CUDA_VERSION', 'none').replace('.', '')"
    assert lock_in(project(look), "12.4").sources[0].version == "1.0+cu124"
    assert toolkits.made == []


def test_a_setup_that_needs_nvcc_locks_where_there_is_one(lock_in, toolkits):
    assert lock_in(project(NEEDS_CUDA), "12.4").sources[0].version == "1.0"
    assert toolkits.made == ["12.4"]


def test_a_setup_that_needs_nvcc_where_nothing_has_it(lock_in):
    with pytest.raises(BuildError, match=r"in registry\.example\.com/devel:none") as caught:
        lock_in(project(NEEDS_CUDA), "none")
    assert "No such file or directory: 'nvcc'" in caught.value.message
    assert caught.value.hint.startswith("it looked for nvcc: what it needs belongs into the image")
    assert "build: {image: …, system: {packages: […]}}" in caught.value.hint
    assert "the whole log: " in caught.value.hint


def test_what_fails_without_looking_is_not_asked_twice(lock_in, toolkits):
    with pytest.raises(BuildError, match="not today"):
        lock_in(project("raise SystemExit('not today')"), "12.4")
    assert toolkits.made == []


def test_a_script_is_not_asked_in_another_python(lock_in, toolkits, monkeypatch):
    """It may decide by the version of Python; a project without one has markers for that."""
    here = toolkits.sandbox("none")
    older = replace(here, target=replace(here.target, python="3.10"))
    monkeypatch.setattr("envbuilder.resolve.git.examine.host_sandbox", lambda *_, **__: older)
    assert lock_in(project(), "12.4").sources[0].version == "1.0"
    assert toolkits.made == ["12.4"]


def test_what_its_build_contradicts_is_asked_where_it_is_built(lock_in, toolkits, context):
    """Compiled code looks at what it likes; nobody sees it, until the wheel says otherwise."""
    files = project()
    lock = lock_in(files, "12.4")
    wrong = replace(lock, sources=(replace(lock.sources[0], version="0.9"),))
    make = contained(lambda: toolkits.sandbox("12.4"), context)
    with pytest.raises(BuildError, match=r"looky 0\.9 is locked") as caught:
        build_sources(wrong, make=make, context=context)
    assert "--upgrade-package looky asks it anew, in what it is built in" in caught.value.hint
    again = lock_in(files, "12.4", previous=wrong, release={"looky"})
    assert again.sources[0].version == "1.0"
    assert toolkits.made == ["12.4"]
