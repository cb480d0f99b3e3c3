"""Rendered Dockerfiles in a real BuildKit (`make engine`): values, secrets, failures."""

import gzip
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuilder.engines.buildkit import find_builder
from envbuilder.model.errors import (
    BuildError,
    MissingToolError,
    NetworkError,
    ResolutionError,
    UsageError,
)
from tests.integration.docker_light import Light, Recording, make_light
from tests.servers.distribution import registry
from tests.unit import locks
from tests.unit.dockerfiles import NASTY

pytestmark = [pytest.mark.integration, pytest.mark.docker]

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-5f2d9c1e"
IN_NETRC = "correct-horse-9a1f"
IN_UV = "battery-staple-77c0"
lines = (
    st.lists(st.sampled_from(NASTY) | st.text(max_size=3), min_size=1, max_size=6)
    .map("".join)
    .filter(lambda text: all((ord(c) >= 32 and ord(c) != 127) or c == "\t" for c in text))
    .filter(lambda text: text.encode("utf-8", "ignore").decode() == text)
)


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Light:
    return make_light(tmp_path_factory.mktemp("light"))


def no_wheels(**spec):
    return locks.lock({}, **spec)


@settings(max_examples=12)
@given(value=lines, other=lines, name=lines.map(lambda text: "x" + re.sub("[=\t]", "-", text)))
def test_docker_takes_values_for_what_they_are(light, value, other, name):
    lock = no_wheels(
        env={"VALUE": value},
        labels={name: other},
        entrypoint=["/bin/echo", value],
        cmd=[other],
        expose=[8000],
    )
    config = light.build(lock).settings
    assert f"VALUE={value}" in config["Env"]
    assert config["Labels"][name] == other
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/echo", value], [other])
    assert config["ExposedPorts"] == {"8000/tcp": {}}


def test_user_and_workdir_with_spaces(light):
    config = light.build(no_wheels(user="1000:1000", workdir="/srv/my $data")).settings
    assert (config["User"], config["WorkingDir"]) == ("1000:1000", "/srv/my $data")


def test_a_step_gets_its_text_whole(light):
    line = '$HOME `id` \\ "q" {{ x }} # no comment\nSTEP_\n'
    text = f"cat >/out <<'EOF'\n{line}EOF\nchmod 644 /out"
    image = light.build(no_wheels(steps={"before_python": [text]}))
    assert b'$HOME `id` \\ "q" {{ x }} # no comment\nSTEP_\n' in everything(light.folder / "image")
    assert len(image.layers) == 5  # programs twice, the step, the environment, the lock


def test_two_clean_builds_are_one_digest(light):
    lock = no_wheels(steps={"before_python": ["mkdir /data; echo hi >/data/x"]}, workdir="/srv")
    first = light.build(lock, "first", fresh=True)
    second = light.build(lock, "second", fresh=True)
    assert first.digest == second.digest


def test_secrets_reach_steps_and_nothing_else(light, monkeypatch, tmp_path):
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"https://me:{SECRET}@index.example.org/simple")
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@proxy.example.org:3128")
    bundle = tmp_path / "ca.pem"
    bundle.write_text(f"{SECRET}-authority\n")
    tell_logins(tmp_path, monkeypatch)
    lock = no_wheels(
        build={"secrets": {"token": {"env": "TOKEN"}}, "ca": str(bundle)},
        steps={
            "before_python": [
                'test "$(cat /run/secrets/token)" = "hunter2"-5f2d9c1e\n'
                'test "$SSL_CERT_FILE" = /run/secrets/ca\n'
                "grep -q authority /run/secrets/ca\n"
                'test -n "$UV_DEFAULT_INDEX" && echo "$UV_DEFAULT_INDEX"\n'
                'cat /run/secrets/token; echo said; cat "$NETRC" "$UV_CONFIG_FILE"'
            ]
        },
    )
    watched = Recording()
    log = tmp_path / "log"
    light.build(lock, "secret", progress=watched, fresh=True, log=log)
    assert "said\nmachine a login me password ***\n" in log.read_text()
    found = [everything(light.folder / name) for name in ("secret", "secret-context")]
    found += [log.read_bytes(), "\n".join(watched.titles).encode()]
    for secret in (SECRET, IN_NETRC, IN_UV):
        assert not [place for place in found if secret.encode() in place]


def tell_logins(folder, monkeypatch):
    """Let this machine have logins in netrc and in uv's file."""
    (folder / "netrc").write_text(f"machine a login me password {IN_NETRC}\n")
    url = f"https://me:{IN_UV}@index.example.org/simple"
    (folder / "uv.toml").write_text(f'[[index]]\nurl = "{url}"\n')
    monkeypatch.setenv("NETRC", f"{folder}/netrc")
    monkeypatch.setenv("UV_CONFIG_FILE", f"{folder}/uv.toml")


def test_a_failing_step_that_prints_its_secret(light, monkeypatch, tmp_path):
    monkeypatch.setenv("TOKEN", SECRET)
    tell_logins(tmp_path, monkeypatch)
    said = "cat /run/secrets/token /run/secrets/netrc /run/secrets/uv"
    lock = no_wheels(
        build={"secrets": {"token": {"env": "TOKEN"}}},
        steps={"before_python": [f"echo before\n{said}\necho last words\nexit 3"]},
    )
    with pytest.raises(BuildError) as caught:
        light.build(lock, "failing")
    message = caught.value.message
    assert "Dockerfile line " in message
    assert "last words" in message
    assert "exit code: 3" in message
    assert not [secret for secret in (SECRET, IN_NETRC, IN_UV) if secret in message]
    assert leftovers(light.folder, "failing") == []


def test_steps_stop_at_the_first_error(light):
    with pytest.raises(BuildError, match="exit code: 1"):
        light.build(no_wheels(steps={"before_python": ["false\necho on"]}), "stopping")


def test_a_base_with_an_environment_of_its_own(light, tmp_path):
    (tmp_path / "opt" / "uv").mkdir(parents=True)
    there = replace(light, contexts={**light.contexts, "tools": str(tmp_path)})
    lock = locks.lock({"six": "1.17.0"}, steps={"before_python": ["mkdir -p /opt/venv"]})
    with pytest.raises(BuildError, match="has an /opt/venv, which is the environment's place"):
        there.build(lock, "taken")


def test_a_secret_that_is_not_there(light):
    lock = no_wheels(build={"secrets": {"token": {"env": "NOT_THERE_AT_ALL"}}})
    with pytest.raises(UsageError, match="NOT_THERE_AT_ALL"):
        light.build(lock)


def test_a_base_that_is_gone(light, tmp_path):
    with registry(tmp_path / "registry") as server:
        base = f"docker-image://{server.host}/base@sha256:{'0' * 64}"
        with pytest.raises(ResolutionError, match="is gone from its registry"):
            light.with_base(base).build(no_wheels(), "gone")
    with pytest.raises(NetworkError, match="cannot reach"):
        light.with_base(base).build(no_wheels(), "gone")
    assert leftovers(light.folder, "gone") == []


def test_no_engine_answers(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(MissingToolError, match="no Docker Engine answers"):
        find_builder()


def test_no_such_builder():
    with pytest.raises(MissingToolError, match="nobody-has-this"):
        find_builder("nobody-has-this")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_build_leaves_nothing(light, number):
    step = f"sleep 600.{number}"
    code = (
        "from pathlib import Path\n"
        "from tests.integration.docker_light import Light\n"
        "from tests.unit import locks\n"
        f"light = Light(folder=Path({str(light.folder)!r}), contexts={light.contexts!r})\n"
        f"light.build(locks.lock({{}}, steps={{'before_python': ['{step}; echo late']}}), 'slow')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "."},
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: runs(step))
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    wait_until(
        lambda: not runs(step) and not runs(rf"\S*docker.* buildx .*{light.folder}/\.slow\..*")
    )
    if number is signal.SIGINT:  # killed, it leaves a folder: in the store the next one removes it
        assert b"KeyboardInterrupt" in stderr
        assert leftovers(light.folder, "slow") == []


def wait_until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def runs(command: str) -> bool:
    """Say whether a process has a command line that matches, be it ours or the engine's."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if re.fullmatch(command, line):
                return True
    return False


def leftovers(folder: Path, name: str) -> list[Path]:
    return [*folder.glob(f".{name}.*"), *folder.glob(name)]


def everything(folder: Path) -> bytes:
    """Join every byte of a folder: files, and layers as their plain tars."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            found.append(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    return b"\n".join(found)
