"""A real Debian base as layers: reproducible, clean, and never half-built.

Needs root, mmdebstrap and a Debian mirror in the machine's apt sources. One small base is built
once and looked at from all sides; it is built again as another user, elsewhere and elsewhen.
"""

import gzip
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from envbuilder.model.errors import BuildError, MissingToolError
from envbuilder.model.progress import Silent
from envbuilder.model.system_plan import system_plan
from envbuilder.resolve.debian import mmdebstrap
from envbuilder.resolve.debian.packages import lock_base
from envbuilder.resolve.debian.system_layers import stored_system_layers, system_layers
from envbuilder.storage.store import Store
from tests.contexts import context

pytestmark = [pytest.mark.integration]

PROGRAM = Path(__file__).with_name("build_system.py")
USER = 54321
UNCHECKED = b"\1\0\0\0"  # PEP 552


class Told(Silent):
    """Remembers how far each phase came."""

    def __init__(self):
        self.done = {}

    @contextmanager
    def step(self, phase, title, *, total=None, unit="bytes"):  # noqa: ARG002
        self.done[phase] = [0, total]
        yield self._Step(self.done[phase])

    class _Step:
        def __init__(self, counter):
            self.counter = counter

        def advance(self, amount):
            self.counter[0] += amount


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("system") / "store")


@pytest.fixture(scope="module")
def base(store):
    """Resolve for trixie whatever suite the machine itself runs."""
    return lock_base(
        context(store),
        suite="trixie",
        packages=["python3", "ca-certificates"],
        architecture="amd64",
    )


@pytest.fixture(scope="module")
def told():
    return Told()


@pytest.fixture(scope="module")
def layers(store, base, told):
    return system_layers(context(store, told), base, architecture="amd64")


@pytest.fixture(scope="module")
def tars(store, layers):
    """Read each layer: its members by name, with the beginnings of files."""
    return {layer.title: read(store.path(layer.digest)) for layer in layers}


def read(path):
    with gzip.open(path) as plain, tarfile.open(fileobj=plain) as tar:
        return {
            member.name: (member, tar.extractfile(member).read(16) if member.isreg() else b"")
            for member in tar
        }


@pytest.fixture(scope="module")
def members(tars):
    return {name: found for tar in tars.values() for name, found in tar.items()}


@pytest.fixture
def elsewhere(store, base):
    """Copy the .deb files into a store of its own, below a folder that every user may enter."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        home = Path(name)
        home.chmod(0o755)
        with_debs = Store(home / "store")
        for deb in base.packages:
            with_debs.adopt(store.path(deb.sha256), deb.sha256)
        (home / "base").write_bytes(pickle.dumps(base))
        yield with_debs


@contextmanager
def builder(store, *, user=0, before=""):
    """Run the build as a process; ``before`` is shell code that comes first.

    It sees this checkout below the store's folder: where it lies may be closed to ``user``.
    """
    home, root = store.root.parent, PROGRAM.parents[2]
    checkout = home / "checkout"
    checkout.mkdir(exist_ok=True)
    program = checkout / PROGRAM.relative_to(root)
    command = (
        f"umask 077; mount --bind {root} {checkout}; {before} "
        f"exec {sys.executable} {program} {store.root} {home / 'base'} {user}"
    )
    environment = {
        **os.environ,
        "TMPDIR": str(home),
        "PYTHONPATH": str(checkout),
        "TZ": "Asia/Tokyo",
    }
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def processes():
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return listed.stdout


def scratch(store):
    return [path for path in store.root.parent.iterdir() if path.name.startswith("envbuilder-")]


def wait_for(condition, seconds=300, of=None):
    """Wait until ``condition`` holds; the process ``of`` which it waits must not end before."""
    end = time.monotonic() + seconds
    while not condition():
        assert of is None or of.poll() is None, of.stderr.read()
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def rootless(elsewhere):
    """Give the store to a user without privileges, and the shell code that makes one known."""
    home = elsewhere.root.parent
    for path in (home, *home.rglob("*")):
        os.chown(path, USER, USER)
    (home / "passwd").write_text(f"builder:x:{USER}:{USER}::{home}:/bin/sh\n")
    (home / "subid").write_text("builder:700000:65536\n")
    return "".join(
        f"mount --bind {home / own} /etc/{name};"
        for own, name in (("passwd", "passwd"), ("subid", "subuid"), ("subid", "subgid"))
    )


def test_another_user_elsewhere_makes_the_same_layers_without_root(layers, elsewhere, rootless):
    """In another time zone, with another umask, below another path, after a kill -9."""
    with builder(elsewhere, user=USER, before=rootless) as process:
        wait_for(
            lambda: list(elsewhere.root.parent.glob("envbuilder-*/mmdebstrap.*/usr")), of=process
        )
        process.kill()
        process.communicate()
    wait_for(lambda: str(elsewhere.root.parent) not in processes())
    with builder(elsewhere, user=USER, before=rootless) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out) == [[str(e.digest), str(e.diff_id), e.size] for e in layers]
    assert not scratch(elsewhere)


def test_a_second_request_is_answered_from_the_store(store, base, layers):
    told = Told()
    assert system_layers(context(store, told), base, architecture="amd64") == layers
    assert told.done == {}
    assert stored_system_layers(store, base, architecture="amd64") == layers


def test_the_progress_reaches_its_end(layers, told, base):
    assert told.done["system"] == [2 * len(base.packages), 2 * len(base.packages)]
    assert told.done["layer"][0] > sum(layer.size for layer in layers)


def test_times_names_and_devices_are_gone(members):
    for name, (member, _) in members.items():
        facts = (member.mtime, member.uname, member.gname, member.isdev())
        assert facts == (946684800, "", "", False), name


def test_no_cache_log_or_trace_of_the_builder_is_left(members):
    files = {name for name, (member, _) in members.items() if not member.isdir()}
    for folder in ("var/cache/apt", "var/lib/apt", "var/log", "tmp", "dev", "var/cache/ldconfig"):
        assert not {name for name in files if name.startswith(f"{folder}/")}
    assert not files & {"etc/hostname", "etc/resolv.conf", "etc/apt/sources.list"}
    assert not {name for name in files if name.startswith("usr/share/man/")}
    assert "usr/share/doc/bash/copyright" in files


def test_each_file_lies_in_the_layer_of_its_package_and_once(tars, base):
    files = [
        (name, title)
        for title, tar in tars.items()
        for name, (member, _) in tar.items()
        if not member.isdir()
    ]
    assert len(files) == len(dict(files))
    place = dict(files)
    for group in system_plan(base):
        for deb in group.packages:
            lists = [f"var/lib/dpkg/info/{deb.name}{arch}.list" for arch in ("", ":amd64")]
            assert {place[name] for name in lists if name in place} == {group.title}
    assert place["usr/bin/bash"] == place["var/lib/dpkg/info/bash.list"]
    for name, title in files:
        if name.endswith(".pyc"):
            folder, _, module = name.rpartition("/__pycache__/")
            assert place[f"{folder}/{module.split('.')[0]}.py"] == title


def test_the_last_layer_is_small_and_nobody_s(tars):
    *_, (title, state) = tars.items()
    assert title == "Debian trixie: state"
    assert state.keys() >= {"var/lib/dpkg/status", "etc/ld.so.cache", "etc/passwd", "usr/bin/awk"}
    code = {name for name in state if name.endswith((".so", ".py", ".pyc"))}
    assert not {name for name in code if not name.startswith("etc/")}  # where scripts write
    assert sum(member.size for member, _ in state.values()) < 8 << 20


def test_folders_are_the_same_in_every_layer(tars):
    seen = {}
    for tar in tars.values():
        for name, (member, _) in tar.items():
            if member.isdir():
                facts = (member.mode, member.uid, member.gid)
                assert seen.setdefault(name, facts) == facts
    assert seen["tmp"] == (0o1777, 0, 0)


def test_every_compiled_module_is_valid_for_good(members):
    heads = {name: head for name, (_, head) in members.items() if name.endswith(".pyc")}
    assert len(heads) > 500
    assert {head[4:8] for head in heads.values()} == {UNCHECKED}


def test_python_runs_and_dpkg_knows_every_package(store, base, layers, tmp_path):
    for layer in layers:
        subprocess.run(["tar", "xzf", store.path(layer.digest), "-C", tmp_path], check=True)
    code = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)"
    done = subprocess.run(
        ["chroot", tmp_path, "python3", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    listed = subprocess.run(
        ["chroot", tmp_path, "dpkg-query", "-W", "-f", "${Package} ${Version}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(listed.stdout.splitlines()) == {f"{d.name} {d.version}" for d in base.packages}


def test_a_stop_ends_the_build_and_leaves_nothing(elsewhere, base, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(elsewhere.root.parent))
    told, stop = Told(), Event()

    def stop_amid():
        wait_for(lambda: told.done.get("system", [0])[0] > 5)
        stop.set()

    thread = Thread(target=stop_amid)
    thread.start()
    with pytest.raises(BuildError, match="stopped"):
        system_layers(context(elsewhere, told, stop=stop), base, architecture="amd64")
    thread.join()
    assert not scratch(elsewhere)
    assert str(elsewhere.root.parent) not in processes()
    assert stored_system_layers(elsewhere, base, architecture="amd64") is None


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_build_takes_everything_along_and_the_next_repairs(elsewhere, layers, sent):
    home = str(elsewhere.root.parent)
    with builder(elsewhere) as process:
        wait_for(
            lambda: f"{home}/" in processes() and list(elsewhere.root.parent.glob("env*/mm*/usr"))
        )
        process.send_signal(sent)
        process.communicate()
        assert process.returncode != 0
    wait_for(lambda: home not in processes())
    assert home not in Path("/proc/mounts").read_text()
    if sent == signal.SIGINT:
        assert not scratch(elsewhere)
    if sent == signal.SIGKILL:
        with builder(elsewhere) as process:
            out, err = process.communicate()
        assert process.returncode == 0, err
        assert json.loads(out)[0][0] == str(layers[0].digest)
        assert not scratch(elsewhere)


def test_a_damaged_file_is_refused_before_it_is_installed(elsewhere, base, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(elsewhere.root.parent))
    path = elsewhere.path(base.packages[3].sha256)
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BuildError, match="in the store is damaged"):
        system_layers(context(elsewhere), base, architecture="amd64")
    assert not scratch(elsewhere)


def test_a_file_that_the_store_lacks_is_named(store, base, layers):
    gone = replace(base.packages[0], sha256=layers[0].digest.of(b"nothing"))
    with pytest.raises(BuildError, match=f"{gone.name} .* is not in the store"):
        system_layers(context(store), replace(base, packages=(gone,)), architecture="amd64")


def test_no_mmdebstrap_is_one_clear_sentence(store, base, monkeypatch):
    monkeypatch.setattr(mmdebstrap, "_PATH", "/nonexistent")
    other = replace(base, packages=base.packages[:1])
    with pytest.raises(MissingToolError, match="mmdebstrap is not installed"):
        system_layers(context(store), other, architecture="amd64")
