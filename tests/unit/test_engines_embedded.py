"""How the embedded engine fails: at once, with the first reason, and with nothing left running."""

from threading import Event

import pytest

from envbuilder.engines.embedded import assemble
from envbuilder.engines.foundation import Foundation
from envbuilder.model.errors import MissingToolError, NetworkError
from envbuilder.model.lock import Wheel
from envbuilder.model.progress import Silent
from envbuilder.storage.store import Store
from tests.unit.locks import lock


def test_a_base_that_cannot_be_made_does_not_wait_for_the_downloads(tmp_path):
    stopped = []

    def foundation(_: Event) -> Foundation:
        raise MissingToolError("mmdebstrap is not installed")

    def bring(_: Wheel, stop: Event) -> None:
        stopped.append(stop.wait(60))
        raise NetworkError("gave up")

    with pytest.raises(MissingToolError, match="mmdebstrap"):
        assemble(
            lock({"torch": "2.6.0"}),
            store=Store(tmp_path),
            foundation=foundation,
            bring=bring,
            progress=Silent(),
        )
    assert stopped == [True]


def test_a_download_that_fails_ends_the_others_and_the_base(tmp_path):
    stopped = []

    def foundation(stop: Event) -> Foundation:
        stopped.append(stop.wait(60))
        return Foundation(layers=())

    def bring(each: Wheel, stop: Event) -> None:
        if each.name == "torch":
            raise NetworkError("no torch")
        stopped.append(stop.wait(60))

    with pytest.raises(NetworkError, match="no torch"):
        assemble(
            lock({"torch": "2.6.0", "vllm": "0.8.5"}),
            store=Store(tmp_path),
            foundation=foundation,
            bring=bring,
            progress=Silent(),
        )
    assert all(stopped)
