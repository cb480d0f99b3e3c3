"""How the embedded engine fails: at once, with the first reason, and with nothing left running."""

from threading import Event

import pytest

from envbuilder.engines.embedded import assemble
from envbuilder.engines.foundation import Foundation
from envbuilder.model.errors import MissingToolError, NetworkError
from envbuilder.model.lock import Wheel
from envbuilder.resolve.context import Context
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.unit.locks import lock


def test_a_base_that_cannot_be_made_does_not_wait_for_the_downloads(tmp_path):
    stopped = []

    def foundation(_: Context) -> Foundation:
        raise MissingToolError("mmdebstrap is not installed")

    def bring(_: Wheel, stop: Event) -> None:
        stopped.append(stop.wait(60))
        raise NetworkError("gave up")

    with pytest.raises(MissingToolError, match="mmdebstrap"):
        assemble(
            context(Store(tmp_path)), lock({"torch": "2.6.0"}), foundation=foundation, bring=bring
        )
    assert stopped == [True]


def test_a_download_that_fails_ends_the_others_and_the_base(tmp_path):
    stopped = []

    def foundation(within: Context) -> Foundation:
        stopped.append(within.stop.wait(60))
        return Foundation(layers=())

    def bring(each: Wheel, stop: Event) -> None:
        if each.name == "torch":
            raise NetworkError("no torch")
        stopped.append(stop.wait(60))

    with pytest.raises(NetworkError, match="no torch"):
        assemble(
            context(Store(tmp_path)),
            lock({"torch": "2.6.0", "vllm": "0.8.5"}),
            foundation=foundation,
            bring=bring,
        )
    assert all(stopped)
