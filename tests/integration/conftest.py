"""What several integration tests share."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

import envbuilder
from envbuilder.model.progress import Silent
from envbuilder.runtime import Prepared, choose
from envbuilder.smoke import SmokePlan
from envbuilder.storage.store import Store
from envbuilder.workflow.lock import current_lock
from envbuilder.workflow.make import make_image
from envbuilder.workflow.smoke import smoke_plan
from tests import tiny_models
from tests.contexts import context
from tests.servers.attacked import Attacked, attacked

ROOT = Path(envbuilder.__file__).parents[1]


@pytest.fixture(scope="session")
def container(
    alone: Callable[[str], AbstractContextManager[None]],
) -> Iterator[tuple[Prepared, SmokePlan]]:
    """Give the demo's image, ready to run commands, and the plan of its smoke test.

    It is without bytecode: modules are spoilt in it, and Python would run them as they were.
    """
    store, silent = Store.default(), Silent()
    spec = ROOT / "lockfiles" / "omni-cpu.yaml"
    with alone("demo"):  # the worker that comes later finds it in the store
        lock = current_lock(context(store), spec, locked=True)
        lock = replace(lock, spec=structs.replace(lock.spec, bytecode=False), seal=None)
        image = make_image(context(store), lock)
    with choose("auto", store).prepared(image, progress=silent) as ready:
        yield ready, smoke_plan(lock, folder=spec.parent)


@pytest.fixture(scope="session")
def tiny(
    container: tuple[Prepared, SmokePlan],
    shared: Path,
    alone: Callable[[str], AbstractContextManager[None]],
) -> Path:
    """Give a folder with the models of :mod:`tests.tiny_models`, to be read or copied."""
    made, ready = shared / "tiny-models", shared / "tiny-models.ready"
    image, plan = container
    with alone("tiny-models"):
        if not ready.exists():
            shutil.rmtree(made, ignore_errors=True)  # of a worker that failed
            made.mkdir()
            tiny_models.save(image, plan.python, made)
            ready.touch()
    return made


@pytest.fixture(scope="module")
def attacked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """Serve a sealed image to the tests of one file, whatever each of them left there."""
    with attacked(tmp_path_factory.mktemp("attacked")) as world:
        yield world


@pytest.fixture
def attacked_world(attacked_registry: Attacked) -> Attacked:
    """Give a registry with a sealed image and nothing else, to be tampered with, and verified."""
    attacked_registry.reset()
    return attacked_registry
