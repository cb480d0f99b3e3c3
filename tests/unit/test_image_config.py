import msgspec

from envbuilder.engines.render import render
from envbuilder.model.image_config import image_settings
from envbuilder.model.lock import DebianBase, Lock, Wheel
from envbuilder.model.reference import Digest
from envbuilder.model.spec import from_builtins

SPEC = {
    "version": 1,
    "name": "x",
    "python": "3.12",
    "base": {"debian": "trixie"},
    "packages": {},
}
BASE = {
    "Env": ["PATH=/base/bin:/usr/bin", "CUDA_VERSION=12.4"],
    "Labels": {"maintainer": "them", "dev.gpu-envbuilder.lock": "forged"},
    "Entrypoint": ["/entry.sh"],
    "Cmd": ["serve"],
    "User": "base",
    "ExposedPorts": {"80/tcp": {}},
    "StopSignal": "SIGQUIT",
}


def lock(wheels=(), **changes):
    spec = from_builtins(SPEC | changes)
    return Lock(spec=spec, base=DebianBase(suite="trixie", packages=()), wheels=wheels)


def environment(settings):
    return dict(entry.split("=", 1) for entry in settings["Env"])


def test_a_plain_environment_runs_python_from_the_venv():
    settings = image_settings(lock(), {})
    assert environment(settings)["PATH"].startswith("/opt/venv/bin:/usr/local/sbin:")
    assert settings["Cmd"] == ["python3"]
    assert "NVIDIA_VISIBLE_DEVICES" not in environment(settings)


def test_the_base_is_kept_where_the_spec_is_silent():
    settings = image_settings(lock(), BASE)
    assert environment(settings)["PATH"] == "/opt/venv/bin:/base/bin:/usr/bin"
    assert environment(settings)["CUDA_VERSION"] == "12.4"
    assert (settings["Entrypoint"], settings["Cmd"]) == (["/entry.sh"], ["serve"])
    assert (settings["User"], settings["StopSignal"]) == ("base", "SIGQUIT")
    assert settings["Labels"]["maintainer"] == "them"


def test_the_spec_wins_and_a_new_entry_point_drops_the_old_arguments():
    changed = lock(entrypoint=["vllm", "serve"], env={"CUDA_VERSION": "none"}, expose=[8000])
    settings = image_settings(changed, BASE)
    assert settings["Entrypoint"] == ["vllm", "serve"]
    assert "Cmd" not in settings
    assert environment(settings)["CUDA_VERSION"] == "none"
    assert settings["ExposedPorts"] == {"80/tcp": {}, "8000/tcp": {}}


def test_nobody_overrides_our_labels():
    settings = image_settings(lock(labels={"dev.gpu-envbuilder.lock": "mine", "a": "b"}), BASE)
    assert settings["Labels"]["dev.gpu-envbuilder.lock"].startswith("sha256:")
    assert settings["Labels"]["a"] == "b"


def test_cuda_wheels_ask_for_the_driver():
    cuda = Wheel(
        name="nvidia-cublas-cu12",
        version="1",
        filename="nvidia_cublas_cu12-1-py3-none-any.whl",
        size=1,
        sha256=Digest.of(b""),
    )
    found = environment(image_settings(lock(wheels=(cuda,)), {}))
    assert found["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert found["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_the_spec_label_changes_with_the_spec():
    one, other = lock(), lock(env={"A": "b"})
    assert msgspec.to_builtins(one.spec) != msgspec.to_builtins(other.spec)
    labels = [image_settings(each, {})["Labels"] for each in (one, other)]
    assert labels[0]["dev.gpu-envbuilder.spec"] != labels[1]["dev.gpu-envbuilder.spec"]


HEALTH = {"command": ["curl", "-f", "http://127.0.0.1/$x"], "interval": 30, "retries": 2}


def test_health_volumes_stop_signal_and_shell():
    base = {**BASE, "Volumes": {"/cache": {}}, "Healthcheck": {"Test": ["NONE"]}}
    kept = image_settings(lock(), base)
    assert kept["Healthcheck"] == {"Test": ["NONE"]}
    changed = lock(
        healthcheck=HEALTH, volumes=["/data"], stop_signal="SIGINT", shell=["bash", "-c"]
    )
    settings = image_settings(changed, base)
    assert settings["Healthcheck"] == {
        "Test": ["CMD", "curl", "-f", "http://127.0.0.1/$x"], "Interval": 30 * 10**9, "Retries": 2
    }  # fmt: skip
    assert settings["Volumes"] == {"/cache": {}, "/data": {}}
    assert (settings["StopSignal"], settings["Shell"]) == ("SIGINT", ["bash", "-c"])


def test_the_dockerfile_says_the_same():
    changed = lock(healthcheck=HEALTH, volumes=["/data", "/log"], stop_signal="SIGINT",
                   shell=["bash", "-c"])  # fmt: skip
    text = render(changed)["Dockerfile"]
    for line in (
        'HEALTHCHECK --interval=30s --retries=2 CMD ["curl", "-f", "http://127.0.0.1/$x"]',
        'VOLUME ["/data", "/log"]', "STOPSIGNAL SIGINT", 'SHELL ["bash", "-c"]',
    ):  # fmt: skip
        assert line in text.splitlines()
