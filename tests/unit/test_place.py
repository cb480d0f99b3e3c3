"""A base that has something at the environment's place: both engines say so, in the same words."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from envbuilder.engines.foundation import Foundation
from envbuilder.engines.place import on_free_place
from envbuilder.layers.below import Below
from envbuilder.model.errors import BuildError, NetworkError
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import ImageBase, Lock
from envbuilder.model.resources import TEMPLATES
from envbuilder.resolve.place import PLACE_HINT, place_problem
from envbuilder.storage.store import Store
from envbuilder.workflow.make import make_image
from tests.contexts import context
from tests.integration.tiny_image import image_of
from tests.unit import locks
from tests.unit.test_layers_below import Member, tar

TAKEN = "the base, or a step before Python, has an /opt/venv, which is the environment's place"
LINKED = "the base, or a step before Python, has a link at /opt, on the way to the"


def layer(store: Store, members: dict[str, Member], kind: LayerKind = LayerKind.BASE) -> Layer:
    (made,) = image_of(store, [tar(members)], config={}).layers
    return replace(made, kind=kind)


def on_image(store: Store, layers: Sequence[Layer], **spec: object) -> Lock:
    config = image_of(store, [], config={}).config_digest
    made = locks.lock({}, base={"image": "example.org/own:1", **spec.pop("base", {})}, **spec)
    base = ImageBase(
        reference="example.org/own:1", digest=config, config=config, layers=tuple(layers)
    )
    return replace(made, base=base)


@pytest.mark.parametrize(
    ("shown", "problem"),
    [
        (Below(), None),
        (Below(environment=True), TAKEN),
        (Below(links={"opt": "var/opt"}), LINKED),
        (Below(links={"opt": "var/opt"}, environment=True), LINKED),
        (Below(links={"srv": "opt/venv"}), None),
    ],
)
def test_both_engines_say_the_same(shown, problem):
    found = place_problem(shown)
    assert (found is None) if problem is None else found.startswith(problem)
    script = (TEMPLATES / "context" / "install.sh").read_text()
    assert found is None or f'echo "{found}" >&2\n  exit 1\n' in script


@pytest.mark.parametrize("members", [{"opt/venv": None}, {"opt": "var/opt"}])
def test_the_embedded_engine_refuses_it(tmp_path, members):
    store = Store(tmp_path)
    lock = on_image(store, [layer(store, members)])
    with pytest.raises(BuildError, match="the base, or a step before Python, has a") as caught:
        make_image(context(store), lock)
    assert caught.value.hint == PLACE_HINT


def test_what_a_step_makes_counts_and_what_it_takes_away(tmp_path):
    store = Store(tmp_path)
    free, taken = layer(store, {"srv": None}), layer(store, {"opt/venv/a": b""})
    makes = layer(store, {"opt/venv": None}, LayerKind.STEP)
    clears = layer(store, {"opt/.wh.venv": b""}, LayerKind.STEP)
    for base, steps, problem in [
        (free, [], False),
        (free, [makes], True),
        (free, [makes, clears], False),
        (taken, [clears], False),
        (taken, [clears, makes], True),
    ]:
        lock = on_image(store, [base])
        below = Foundation(layers=(base, *steps))
        if problem:
            with pytest.raises(BuildError, match=TAKEN):
                on_free_place(context(store), lock, below)
        else:
            assert on_free_place(context(store), lock, below) is below


def test_on_debian_only_steps_are_looked_at(tmp_path):
    store = Store(tmp_path)
    system = layer(store, {"opt": None}, LayerKind.SYSTEM)
    store.path(system.digest).unlink()
    makes = layer(store, {"opt/venv": None}, LayerKind.STEP)
    lock = locks.lock({})
    assert on_free_place(context(store), lock, below := Foundation(layers=(system,))) is below
    with pytest.raises(BuildError, match=TAKEN):
        on_free_place(context(store), lock, Foundation(layers=(system, makes)))


def test_a_base_that_lock_did_not_ask_is_fetched_for_it(tmp_path):
    store = Store(tmp_path)
    base = layer(store, {"srv": None})
    store.path(base.digest).unlink()
    below = Foundation(layers=(base,))
    asked = on_image(store, [base])
    assert on_free_place(context(store, offline=True), asked, below) is below
    says_all = {"base": {"glibc": "2.36", "python": "/usr/bin/python3"}, "python": "3.12.1"}
    unasked = on_image(store, [base], **says_all)
    with pytest.raises(NetworkError, match="the store lacks layers of example"):
        on_free_place(context(store, offline=True), unasked, below)
