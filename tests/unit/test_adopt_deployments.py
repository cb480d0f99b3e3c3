"""Deployment files as the projects of this field have them: how many of their statements come in.

They are small files of our own that say what such projects' files say. The numbers are those of the
table in docs/how-to/bring-what-you-have.md.
"""

import re
from pathlib import Path

import pytest

from envbuilder.model.spec_file import parse
from envbuilder.model.yaml_document import parse_document
from envbuilder.workflow.adopt.dockerfile.read import read_dockerfile
from envbuilder.workflow.adopt.fold import Target, fold
from envbuilder.workflow.adopt.pyproject import Choice, read_pyproject
from envbuilder.workflow.adopt.requirements import read_requirements_file
from envbuilder.workflow.adopt.writer import write_spec

DEPLOYMENTS = Path(__file__).parent / "data" / "deployments"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "bring-what-you-have.md"
AMD64 = {"TARGETPLATFORM": "linux/amd64", "TARGETARCH": "amd64", "TARGETOS": "linux"}
COUNTS = {  # file: statements that come in, of how many; packages and packages of the system
    "engine-multistage/Dockerfile": (44, 47, 20, 11),
    "kernels-from-clones/Dockerfile": (32, 45, 10, 11),
    "finetune-ui/Dockerfile": (24, 24, 4, 0),
    "node-graph-ui/Dockerfile": (36, 36, 19, 3),
    "omni-demo/Dockerfile": (29, 32, 15, 8),
    "turbo-server/Dockerfile": (33, 44, 15, 9),
    "conda-stages/Dockerfile": (21, 25, 6, 4),
    "distributed-runtime/Dockerfile": (24, 30, 5, 7),
    "node-graph-ui/requirements.txt": (19, 19, 19, 3),
    "vision-demo/requirements.txt": (17, 18, 16, 3),
    "project-extras/pyproject.toml": (26, 26, 17, 3),
}


def findings(name):
    path = DEPLOYMENTS / name
    if path.name == "Dockerfile":
        statements = read_dockerfile(path, arguments=AMD64)
    elif path.name == "pyproject.toml":
        statements = read_pyproject(path, pin=False, choice=Choice(extras=frozenset({"all"})))
    else:
        statements = read_requirements_file(path)
    return fold(statements, Target(folder=path.parent))


@pytest.mark.parametrize("name", COUNTS)
def test_what_comes_in_is_counted_and_valid(name):
    found = findings(name)
    spec = parse(parse_document(Path("x.yaml"), write_spec("x", name, found)))
    read = len(found.statements)
    counts = (read - len(found.left), read, len(spec.packages), len(spec.system.packages))
    assert counts == COUNTS[name]
    assert spec.bytecode
    assert all(each.left for each in found.left)


def test_the_page_shows_these_numbers():
    rows = re.findall(
        r"^\| .*?\| `(\S+)` \| (\d+) of (\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE
    )
    assert {name: (int(a), int(b)) for name, a, b in rows} == {
        name: counts[:2] for name, counts in COUNTS.items()
    }


def test_an_engine_of_several_stages_by_what_its_files_say():
    spec = findings("engine-multistage/Dockerfile").spec
    assert spec["base"] == {"image": "nvidia/cuda:12.8.1-devel-ubuntu22.04"}
    assert spec["python"] == "3.12"
    assert spec["index"]["extra_urls"] == ["https://whl.example.com/torch/cu128"]
    packages = spec["packages"]
    assert packages["torch"] == "==2.7.1"
    assert packages["six"] == ">=1.16.0", "its marker holds for Python 3.12"
    assert packages["bitsandbytes"] == ">=0.46.1", "the branch for amd64"
    assert packages["fastapi[standard]"] == ">=0.115.0"


def test_kernels_are_chosen_by_the_version_of_cuda():
    packages = findings("kernels-from-clones/Dockerfile").spec["packages"]
    assert packages["sgl-kernel"] == "==0.3.16"
    assert packages["nvidia-nccl-cu12"] == "==2.28.3"
    assert packages["engine[all]"] == {
        "git": "https://git.example.com/engine.git", "tag": "v0.5.5", "subdirectory": "python",
    }  # fmt: skip
    assert packages["deep-ep"]["build"] == {
        "env": {"TORCH_CUDA_ARCH_LIST": "9.0;10.0", "MAX_JOBS": "8"}
    }
