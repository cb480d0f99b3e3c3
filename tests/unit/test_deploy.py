"""How other tools are told to run an image: as files of theirs, checked by their own schemas."""

import configparser
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from envbuilder.cli import options
from envbuilder.cli.app import cli
from envbuilder.cli.wishes import size, wishes_of
from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.lock import Lock
from envbuilder.model.pylock import write_lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Form, Seal
from envbuilder.runtime import Mount
from envbuilder.runtime.linked_folder import mounts_at
from envbuilder.workflow.deploy import run_here
from envbuilder.workflow.deploy.apptainer import apptainer
from envbuilder.workflow.deploy.compose import compose
from envbuilder.workflow.deploy.deployment import Wishes, deployment, pinned
from envbuilder.workflow.deploy.engine_command import engine_command
from envbuilder.workflow.deploy.kubernetes import kubernetes
from envbuilder.workflow.deploy.kubernetes_names import object_name
from envbuilder.workflow.deploy.quadlet import quadlet
from envbuilder.workflow.deploy.run_here import ReadyToRun, ready_to_run
from tests.snapshots import snapshot_at
from tests.unit.locks import lock

IMAGE = "registry.example.com/team/x@sha256:" + "0" * 64
MODEL_IMAGE = ImageRef.parse("models.example/q:1")
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
@pytest.mark.parametrize("wishes", [EVERYTHING, Wishes(), Wishes(model_image=MODEL_IMAGE)])
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


def test_a_snapshots_links_lead_to_its_blobs_wherever_it_is_mounted(tmp_path):
    snapshot = snapshot_at(tmp_path)
    wishes = Wishes(model=snapshot)
    line = engine_command(deployment(SMALL, wishes, image=IMAGE), engine="docker", terminal=False)
    blobs = snapshot.parents[1] / "blobs"
    assert [word for word in line if word.startswith("--mount")] == [
        f"--mount=type=bind,source={snapshot},target=/model,readonly",
        f"--mount=type=bind,source={blobs},target=/blobs,readonly",
    ]
    assert mounts_at(snapshot / "onnx", "/model")[1] == Mount(source=blobs, target="/blobs")
    (deeper,) = mounts_at(snapshot, "/srv/a/b")[1:]
    assert deeper.target == "/srv/blobs"


def test_a_model_whose_links_are_lost_is_not_run(tmp_path):
    (tmp_path / "config.json").symlink_to("/srv/config.json")
    context = None  # it is not asked: nothing is built first
    wishes = Wishes(model=tmp_path)
    ready = ready_to_run(context, tmp_path / "x.yaml", wishes, engine=None, in_shell=False)
    with (
        pytest.raises(UsageError, match=r"config.json is a link to /srv/config.json, which"),
        ready,
    ):
        pass


def test_a_lock_that_wants_no_gpu_gets_none_and_zero_means_none():
    assert deployment(SMALL, Wishes(), image=IMAGE).gpus == 0
    assert deployment(SERVING, Wishes(), image=IMAGE).gpus == 1
    none = deployment(SERVING, Wishes(gpus=0), image=IMAGE)
    assert (none.gpus, none.shm) == (0, 1 << 30)


@pytest.mark.parametrize("path", ["/a,b", "/a:b", '/a"b', "/a\nb", "/a/../b"])
def test_a_path_that_an_engine_would_cut_in_two_is_refused(path):
    with pytest.raises(UsageError, match="cannot be mounted"):
        deployment(SMALL, Wishes(model=Path(path)), image=IMAGE)


def test_a_model_has_one_place():
    with pytest.raises(UsageError, match="one place"):
        deployment(SMALL, Wishes(model=Path("/m"), model_image=MODEL_IMAGE), image=IMAGE)


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


def _expanded(text: str) -> str:
    """Read a word as Kubernetes does that knows no variable: ``$$`` is ``$``, ``$(A)`` is gone."""
    return re.sub(r"\$\$|\$\([^)]*\)", lambda found: "$" if found[0] == "$$" else "", text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=12), max_size=4))
def test_any_words_come_through_yaml_as_they_are(words):
    wanted = deployment(SMALL, Wishes(args=tuple(words)), image=IMAGE)
    service = yaml.safe_load(compose(wanted))["services"]["x"]
    assert [word.replace("$$", "$") for word in service.get("command", [])] == words
    (made,) = yaml.safe_load_all(kubernetes(wanted))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert [_expanded(word) for word in container.get("args", [])] == words


@given(st.text("$()A", max_size=8))
def test_no_word_is_a_variable_of_kubernetes(word):
    (made,) = yaml.safe_load_all(kubernetes(deployment(SMALL, Wishes(args=(word,)), image=IMAGE)))
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert [_expanded(arg) for arg in container["args"]] == [word]


@given(st.text("{ a}'", max_size=10))
def test_no_word_is_an_argument_of_apptainer(word):
    wanted = deployment(SMALL, Wishes(args=(word,), env={"A": word}), image=IMAGE)
    text = apptainer(wanted)
    assert not re.search(r"{{\s*\w+\s*}}", text)  # what it takes for one, in comments too
    lines = text.splitlines()
    assert shlex.split(lines[1].removeprefix("# "))[-1] == word
    assert shlex.split(lines[-1]) == ["export", f"A={word}"]


def test_an_address_of_ipv6_stands_in_brackets():
    wanted = deployment(SMALL, Wishes(listen=IPv6Address("::1"), ports=(80,)), image=IMAGE)
    assert yaml.safe_load(compose(wanted))["services"]["x"]["ports"] == ["[::1]:80:80"]
    assert "PublishPort=[::1]:80:80\n" in quadlet(wanted)
    line = engine_command(wanted, engine="docker", terminal=False)
    assert line[line.index("--publish") + 1] == "[::1]:80:80"


@pytest.mark.parametrize("name", ["3d-vlm", "123", "a" * 64, "a-" * 31 + "ab", "9" * 64])
def test_a_name_that_kubernetes_does_not_take_gives_way(name):
    named = replace(SMALL, spec=structs.replace(SMALL.spec, name=name))
    made, service = _kubernetes(named, Wishes(ports=(80,)))
    assert made["metadata"]["annotations"]["gpu-envbuilder.dev/environment"] == name
    template = made["spec"]["template"]
    (container,) = template["spec"]["containers"]
    names = {made["metadata"]["name"], service["metadata"]["name"], container["name"]}
    names |= set(template["metadata"]["labels"].values())
    assert names == {object_name(name)}
    assert re.fullmatch(r"env-[a-z0-9-]*[a-z0-9]-[0-9a-f]{8}", object_name(name))
    assert len(object_name(name)) <= 63
    assert service["spec"]["selector"] == made["spec"]["selector"]["matchLabels"]


def test_names_that_give_way_stay_two_and_others_stay_as_they_are():
    assert object_name("omni-gpu") == "omni-gpu"
    assert object_name("a" * 63) == "a" * 63
    assert object_name("a" * 64) != object_name("a" * 63 + "b")
    assert object_name(object_name("3d-vlm")) == object_name("3d-vlm") != object_name("env-3d-vlm")


@pytest.mark.parametrize("name", ["", "Team", "a_b", "-a", "a.", "a b", "a\n", "a" * 254])
def test_a_secret_that_cannot_be_is_refused(name):
    with pytest.raises(UsageError, match="--pull-secret"):
        kubernetes(deployment(SMALL, Wishes(pull_secret=name), image=IMAGE))


WISHES = {
    "args": (), "env": (), "gpus": None, "model": None, "model_image": None, "ports": (),
    "listen": "127.0.0.1", "shm_size": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "listen",
    ["localhost", "", "127.0.0.1\n", "::1\n", "1.2.3", "[::1]", "fe80::1%eth0", "01.1.1.1"],
)
def test_what_is_no_address_is_refused(listen):
    with pytest.raises(UsageError, match="--listen"):
        wishes_of(**WISHES | {"listen": listen})


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "fe80::1"])
def test_an_address_is_taken(listen):
    assert str(wishes_of(**WISHES | {"listen": listen}).listen) == listen


@pytest.mark.parametrize("ref", ["a b,ro=no", "a,target=/", "a\n", "$A", ""])
def test_a_model_image_is_an_image(ref):
    with pytest.raises(UsageError, match="is not an image reference"):
        wishes_of(**WISHES | {"model_image": ref})


def test_a_model_image_is_spelled_out_for_all_tools():
    wanted = deployment(SMALL, wishes_of(**WISHES | {"model_image": "team/q"}), image=IMAGE)
    full = "docker.io/team/q:latest"
    assert f"Mount=type=image,source={full},destination=/model\n" in quadlet(wanted)
    (volume,) = yaml.safe_load(compose(wanted))["services"]["x"]["volumes"]
    assert volume["source"] == full
    (made,) = yaml.safe_load_all(kubernetes(wanted))
    assert made["spec"]["template"]["spec"]["volumes"][1]["image"]["reference"] == full
    line = engine_command(wanted, engine="podman", terminal=False)
    assert f"--mount=type=image,source={full},target=/model" in line


@pytest.mark.parametrize(
    ("text", "expected"), [("8g", 8 << 30), ("512MiB", 512 << 20), ("4096", 4096), ("1Kb", 1024)]
)
def test_sizes_are_read_as_engines_read_them(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5g", "8 g", "8x", f"{1 << 63}", "8388608t"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match=r"is no size|is more than any machine has"):
        size(text)


@pytest.mark.parametrize("tools", [(), ("--compose", "--kubernetes")])
def test_one_tool_is_written_for(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["export", *tools, "--image", "registry.example.com/x", "x"]
    done = CliRunner().invoke(cli, line)
    assert isinstance(done.exception, UsageError)
    assert "expected one of --kubernetes, --compose" in done.exception.message


def test_what_runs_is_let_go_of_once_it_has_run(tmp_path, monkeypatch):
    told = []

    def run() -> int:
        told.append("run")
        return 7

    @contextmanager
    def ready(*_: object, **__: object) -> Iterator[ReadyToRun]:
        yield ReadyToRun(shown="x", run=run)
        told.append("let go")

    monkeypatch.setenv("ENVBUILDER_CACHE", str(tmp_path))
    monkeypatch.setattr(options, "spec_path", lambda *_: tmp_path / "x.yaml")
    monkeypatch.setattr(run_here, "ready_to_run", ready)
    assert CliRunner().invoke(cli, ["run", "x", "--runtime", "oci"]).exit_code == 7
    assert told == ["run", "let go"]


def _exported(folder: Path, *options: str) -> Result:
    """Run ``export`` for a sealed lock in ``folder``."""
    seal = Seal(
        layout=1, engine="embedded", manifest=Digest.of(b"m"), config=Digest.of(b"c"), layers=()
    )
    write_lock(folder / "pylock.x.toml", replace(SMALL, seal=seal))
    line = ["export", "--quadlet", "--image", "registry.example.com/x", *options]
    return CliRunner().invoke(cli, [*line, str(folder / "pylock.x.toml"), "--", "serve"])


def test_words_of_every_language_stand_in_every_file(tmp_path):
    value = "\N{IDEOGRAPHIC SPACE}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}"
    done = _exported(tmp_path, "--env", f"A={value}")
    assert done.exit_code == 0, done.exception
    assert f'Environment="A={value}"\n' in done.output


@pytest.mark.parametrize(
    "options",
    [("--env", "A=\x1b[0m"), ("--env", "A=1\n2"), ("--env", "A=\udc80"), ("--model", "/srv/a\tb")],
)
def test_what_stands_in_no_line_of_a_file_is_refused(tmp_path, options):
    done = _exported(tmp_path, *options)
    assert isinstance(done.exception, UsageError)
    assert "control characters" in done.exception.message
