"""How other tools are told to run an image: as files of theirs, checked by their own schemas."""

import configparser
import json
import shlex
from dataclasses import replace
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.cli.app import cli
from envbuilder.cli.wishes import size
from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Form, Seal
from envbuilder.workflow.deploy.apptainer import apptainer
from envbuilder.workflow.deploy.compose import compose
from envbuilder.workflow.deploy.deployment import Wishes, deployment, pinned
from envbuilder.workflow.deploy.engine_command import engine_command
from envbuilder.workflow.deploy.kubernetes import kubernetes
from envbuilder.workflow.deploy.quadlet import quadlet
from tests.unit.locks import lock

IMAGE = "registry.example.com/team/x@sha256:" + "0" * 64
SERVING = lock(
    {"vllm": "0.8.5", "nvidia-cuda-runtime-cu12": "12.4.127"},
    expose=[8000],
    healthcheck={"command": ["probe", "$(A) $B"], "interval": 7, "start_period": 65, "retries": 4},
)
SMALL = lock({"idna": "3.10"})
WORDS = ("serve", "/model", 'a "b" \\c', "$HOME $(id) %h")
EVERYTHING = Wishes(
    args=WORDS,
    env={"A": "50% $HOME"},
    model=Path("/srv/models/qwen omni"),
    ports=(9000, 8000),
    pull_secret="team",
)


def _kubernetes(lock: Lock, wishes: Wishes) -> list[dict]:
    documents = list(yaml.safe_load_all(kubernetes(deployment(lock, wishes, image=IMAGE))))
    for document in documents:
        kubernetes_validate.validate(document, "1.33", strict=True)
    return documents


@pytest.mark.parametrize("lock", [SERVING, SMALL])
@pytest.mark.parametrize("wishes", [EVERYTHING, Wishes(), Wishes(model_image="models.example/q:1")])
def test_kubernetes_takes_the_manifest_by_its_own_schema(lock, wishes):
    _kubernetes(lock, wishes)


def test_a_pod_gets_gpus_memory_probes_and_its_words_as_they_stand():
    made, service = _kubernetes(SERVING, EVERYTHING)
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert container["args"] == ["serve", "/model", 'a "b" \\c', "$HOME $$(id) %h"]
    assert container["env"] == [{"name": "A", "value": "50% $HOME"}]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert made["spec"]["strategy"] == {"type": "Recreate"}
    shm, model = pod["volumes"]
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "8192Mi"}
    assert model["hostPath"]["path"] == "/srv/models/qwen omni"
    assert pod["imagePullSecrets"] == [{"name": "team"}]
    ready = container["readinessProbe"]
    assert ready["exec"]["command"] == ["probe", "$$(A) $B"]
    assert (ready["periodSeconds"], ready["failureThreshold"]) == (7, 4)
    assert [port["port"] for port in service["spec"]["ports"]] == [8000, 9000]


@pytest.mark.parametrize(
    ("times", "patience"),
    [
        ({}, 1800),
        ({"start_period": 5, "interval": 60, "retries": 1}, 1800),  # no less than without one
        ({"start_period": 3600, "interval": 7, "retries": 4}, 3630),
        ({"start_period": 1790}, 1880),
        ({"interval": 900, "timeout": 45}, 2700),
    ],
)
def test_no_healthcheck_kills_what_still_starts(times, patience):
    asked = lock({"idna": "3.10"}, healthcheck={"command": ["probe"], **times})
    (made,) = _kubernetes(asked, Wishes())
    (container,) = made["spec"]["template"]["spec"]["containers"]
    starting = container["startupProbe"]
    assert starting["periodSeconds"] * starting["failureThreshold"] == patience
    probes = [container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]
    assert [probe["timeoutSeconds"] for probe in probes] == [times.get("timeout", 30)] * 3


def test_without_a_healthcheck_the_first_port_is_asked_and_without_one_nothing():
    (made,) = _kubernetes(SMALL, Wishes())
    assert not {"readinessProbe", "resources"} & set(
        made["spec"]["template"]["spec"]["containers"][0]
    )
    made, _ = _kubernetes(SMALL, Wishes(ports=(80,)))
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"] == {"tcpSocket": {"port": 80}}
    assert "livenessProbe" not in container  # a port that is slow to answer kills no server


def test_compose_gets_the_same():
    read = yaml.safe_load(compose(deployment(SERVING, EVERYTHING, image=IMAGE)))
    service = read["services"]["x"]
    assert service["command"][-1] == "$$HOME $$(id) %h"
    assert service["environment"] == {"A": "50% $$HOME"}
    assert service["ports"] == ["127.0.0.1:8000:8000", "127.0.0.1:9000:9000"]
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    (volume,) = service["volumes"]
    assert (volume["type"], volume["read_only"]) == ("bind", True)


def test_a_quadlet_is_a_unit_whose_words_systemd_leaves_alone():
    text = quadlet(deployment(SERVING, EVERYTHING, image=IMAGE))
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(text)
    container = unit["Container"]
    assert container["Image"] == IMAGE
    assert container["Exec"] == r'"serve" "/model" "a \"b\" \\c" "$$HOME $$(id) %%h"'
    assert container["Environment"] == '"A=50%% $$HOME"'
    assert container["Volume"] == "/srv/models/qwen omni:/model:ro"  # one value: quotes would stay
    assert container["AddDevice"] == "nvidia.com/gpu=0"
    assert json.loads(container["HealthCmd"].replace("$$", "$")) == ["probe", "$(A) $B"]
    assert container["HealthStartPeriod"] == "65s"
    assert text.count("PublishPort=") == 2


def test_apptainer_gets_a_definition_and_how_to_run_it():
    text = apptainer(deployment(SERVING, EVERYTHING, image=IMAGE))
    assert f"Bootstrap: docker\nFrom: {IMAGE}\n" in text
    assert "    export A='50% $HOME'\n" in text
    run = shlex.split(text.splitlines()[1].removeprefix("# "))
    assert run[:2] == ["apptainer", "run"]
    assert run[-len(WORDS) :] == list(WORDS)
    assert "--nv" in run
    assert "/srv/models/qwen omni:/model:ro" in run


def test_docker_counts_gpus_and_podman_names_them():
    wanted = deployment(SERVING, replace(EVERYTHING, gpus=2), image=IMAGE)
    docker = engine_command(wanted, engine="docker", terminal=True)
    assert docker[:6] == ["docker", "run", "--rm", "--interactive", "--tty", "--init"]
    assert "--gpus=2" in docker
    assert docker[docker.index(IMAGE) + 1 :] == list(WORDS)
    podman = engine_command(wanted, engine="podman", terminal=False, entrypoint="/bin/sh")
    assert {"--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=1"} <= set(podman)
    assert podman[podman.index("--entrypoint") + 1] == "/bin/sh"
    assert not {"--tty", "--init", "--gpus=2"} & set(podman)


def test_a_lock_that_wants_no_gpu_gets_none_and_zero_means_none():
    assert deployment(SMALL, Wishes(), image=IMAGE).gpus == 0
    assert deployment(SERVING, Wishes(), image=IMAGE).gpus == 1
    none = deployment(SERVING, Wishes(gpus=0), image=IMAGE)
    assert (none.gpus, none.shm) == (0, 1 << 30)


@pytest.mark.parametrize("path", ["/a,b", "/a:b", '/a"b', "/a\nb"])
def test_a_path_that_an_engine_would_cut_in_two_is_refused(path):
    with pytest.raises(UsageError, match="cannot be mounted"):
        deployment(SMALL, Wishes(model=Path(path)), image=IMAGE)


def test_a_model_has_one_place():
    with pytest.raises(UsageError, match="one place"):
        deployment(SMALL, Wishes(model=Path("/m"), model_image="m.example/m"), image=IMAGE)


def test_what_is_deployed_is_the_sealed_image_by_its_digest():
    ref = ImageRef.parse("registry.example.com/team/x:latest")
    with pytest.raises(LockError, match="no seal"):
        pinned([SMALL], ref)
    digest = Digest.of(b"manifest")
    seal = Seal(
        layout=1, engine="embedded", manifest=digest, config=Digest.of(b"config"), layers=()
    )
    sealed = replace(SMALL, seal=seal)
    assert pinned([sealed], ref) == f"registry.example.com/team/x@{digest}"
    with pytest.raises(UsageError, match="another image"):
        pinned([sealed], ref.at(Digest.of(b"other")))


def test_what_is_deployed_is_the_form_that_the_spec_publishes():
    ref = ImageRef.parse("registry.example.com/team/x:latest")
    seal = Seal(
        layout=1, engine="embedded", manifest=Digest.of(b"manifest"), config=Digest.of(b"config"),
        layers=(),
    )  # fmt: skip
    published = lock({"idna": "3.10"}, publish={"compression": "zstd"})
    with pytest.raises(LockError, match="published as zstd, and its lock does not list"):
        pinned([replace(published, seal=seal)], ref)
    form = Form(compression="zstd", manifest=Digest.of(b"zstd"), layers=())
    listed = replace(published, seal=seal.with_form(form))
    assert pinned([listed], ref) == f"registry.example.com/team/x@{form.manifest}"


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12), max_size=4))
def test_any_words_come_through_yaml_as_they_are(words):
    wanted = deployment(SMALL, Wishes(args=tuple(words)), image=IMAGE)
    service = yaml.safe_load(compose(wanted))["services"]["x"]
    assert [word.replace("$$", "$") for word in service.get("command", [])] == words


@pytest.mark.parametrize(
    ("text", "expected"), [("8g", 8 << 30), ("512MiB", 512 << 20), ("4096", 4096), ("1Kb", 1024)]
)
def test_sizes_are_read_as_engines_read_them(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5g", "8 g", "8x"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="is no size"):
        size(text)


@pytest.mark.parametrize("tools", [(), ("--compose", "--kubernetes")])
def test_one_tool_is_written_for(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["export", *tools, "--image", "registry.example.com/x", "x"]
    done = CliRunner().invoke(cli, line)
    assert isinstance(done.exception, UsageError)
    assert "expected one of --kubernetes, --compose" in done.exception.message
