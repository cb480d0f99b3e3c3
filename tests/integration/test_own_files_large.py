"""A file of two gigabytes passes through in pieces: it is hashed, stored and laid, never held."""

import resource
from pathlib import Path

import pytest

from envbuilder.engines.foundation import Foundation
from envbuilder.engines.own_files import own_files_layers
from envbuilder.layers.untar import untar
from envbuilder.resolve.own_files import lock_files
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.unit import locks

pytestmark = [pytest.mark.integration, pytest.mark.deep]
SIZE = 2 << 30


def test_two_gigabytes_are_streamed(tmp_path: Path):
    with (tmp_path / "weights.bin").open("wb") as big:
        big.seek(SIZE - 1)
        big.write(b"\1")
    store = Store(tmp_path / "store")
    lock = locks.lock({}, files=[{"from": "weights.bin", "to": "/srv/"}])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trees = lock_files(context(store), lock.spec, folder=tmp_path)
    lock = locks.replace_files(lock, trees)
    (layer,) = own_files_layers(context(store), lock, Foundation(layers=()))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 << 10, f"{grown} KiB"
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
        sizes = {entry.info.name.rstrip("/"): entry.info.size for entry in tar.entries()}
    assert sizes == {"srv": 0, "srv/weights.bin": SIZE}
