"""What all tests share."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from envbuilder.storage.store import Store

from .contexts import OPENED, context

# A busy machine is no failure, and what fails fails again.
settings.register_profile(
    "house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("quick", settings.get_profile("house"), max_examples=15)  # make check
settings.load_profile("house")

# A shell that starts CI in the background ignores Ctrl-C for it, and all its children would too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--regenerate", action="store_true", help="write the golden files anew")


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """Give a folder that all workers of this run share (pytest-xdist starts them)."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def alone(shared) -> Callable[[str], AbstractContextManager[None]]:
    """Give a lock for each name, which one worker has at a time."""

    @contextmanager
    def hold(name: str) -> Iterator[None]:
        with (shared / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    return hold


@pytest.fixture(scope="session")
def trixie(shared, alone) -> Callable[[Path], Store]:
    """Give a function that makes a store in a folder: with Debian trixie and its python3.

    Most specs of tests name this base. It is made once for all workers; each store is a copy that
    its test may change, the files linked. A test of the base itself, or of its bytes on another
    machine, makes its own.
    """
    made, ready = shared / "trixie", shared / "trixie.ready"
    with alone("trixie"):
        if not ready.exists():
            shutil.rmtree(made, ignore_errors=True)  # of a worker that failed
            _make_trixie(Store(made))
            ready.touch()

    def copy(folder: Path) -> Store:
        subprocess.run(["cp", "-a", "--link", made, folder], check=True)
        return Store(folder)

    return copy


def _make_trixie(store: Store) -> None:
    from envbuilder.resolve.debian.packages import lock_base
    from envbuilder.resolve.debian.system_layers import system_layers

    here = context(store)
    base = lock_base(here, suite="trixie", packages=["python3"], architecture="amd64")
    system_layers(here, base, architecture="amd64")


@pytest.fixture
def golden(request):
    """Give a function that compares text with a golden file (and writes it on --regenerate)."""

    def compare(path: Path, actual: str) -> None:
        if request.config.getoption("--regenerate"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == actual, f"{path} differs: make golden, and look"

    return compare


@pytest.fixture(autouse=True)
def _registries_closed():
    """Close what the contexts of a test opened."""
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def told_nothing(monkeypatch, tmp_path):
    """Forget all that this machine was told about package indexes."""
    for name in os.environ:
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    for name in ("PIP_CONFIG_FILE", "UV_CONFIG_FILE", "NETRC"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))


@pytest.fixture
def closed(monkeypatch):
    """Give an address at which nobody listens, and which no proxy answers for."""
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
    return f"http://{host}:{port}"
