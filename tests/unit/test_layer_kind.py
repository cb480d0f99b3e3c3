"""What a layer is: told by its maker, and read back from what a lock or an image calls it."""

from dataclasses import replace

import pytest

from envbuilder.engines.docker import named_layers
from envbuilder.model.image import Layer, compose, parse_image
from envbuilder.model.layer_kind import OWN, LayerKind, kind_of
from envbuilder.model.plan import LAYOUT_VERSION, plan
from envbuilder.model.pylock import dump_lock, parse_lock
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Seal

from . import locks


def layers(count: int) -> tuple[Layer, ...]:
    digests = [Digest.of(bytes([number])) for number in range(count)]
    return tuple(Layer(digest=each, size=1, diff_id=each) for each in digests)


def test_titles_tell_the_kinds_that_were_made():
    steps = {"before_python": ["true"], "after_python": ["true", "false"]}
    made = locks.lock({"torch": "2.6.0", "six": "1.17.0"}, steps=steps)
    named = named_layers(made, compose(layers(9), platform="linux/amd64"))
    assert [kind_of(layer.title) for layer in named] == [layer.kind for layer in named]
    assert {layer.kind for layer in named} >= {LayerKind.SYSTEM, LayerKind.STEP, *OWN}


@pytest.mark.parametrize(("steps", "place"), [([], 2), (["true"], 5)])
def test_bytecode_lies_where_the_dockerfile_compiles(steps, place):
    made = locks.lock({"six": "1.17.0"}, bytecode=True, steps={"after_python": steps})
    named = named_layers(made, compose(layers(7), platform="linux/amd64"))
    assert [layer.kind for layer in named].index(LayerKind.BYTECODE) == place
    assert kind_of(named[place].title) is LayerKind.BYTECODE


def test_a_title_says_what_its_plan_meant():
    for group in plan(locks.lock({f"small-{number}": "1.0" for number in range(20)})).layers:
        assert kind_of(group.title) is LayerKind.PACKAGES


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Debian trixie: 294 packages", LayerKind.SYSTEM),  # layout 1
        ("Debian trixie: libc6 2.41-12+deb13u4", LayerKind.SYSTEM),
        ("environment omni-cpu", LayerKind.ENVIRONMENT),
        ("environment 1.0", LayerKind.PACKAGES),
        ("RUN /bin/sh -c environment", LayerKind.OTHER),
        ("", LayerKind.OTHER),
    ],
)
def test_what_lies_in_images(title, kind):
    assert kind_of(title) is kind


def test_a_seal_says_what_each_layer_is_and_an_image_s_titles_tell_it():
    made = locks.lock({"six": "1.17.0"})
    top = replace(layers(1)[0], title="environment demo", kind=LayerKind.ENVIRONMENT)
    image = compose((top,), platform="linux/amd64", created="2000-01-01T00:00:00Z")
    seal = Seal(
        engine="embedded",
        layout=LAYOUT_VERSION,
        layers=image.layers,
        config=image.config_digest,
        manifest=image.digest,
    )
    text = dump_lock(replace(made, seal=seal))
    assert 'kind = "environment"' in text
    read = parse_lock(text, name="it")
    assert dump_lock(read) == text
    for layer in (*read.seal.layers, *parse_image(image.manifest, image.config).layers):
        assert layer.kind is LayerKind.ENVIRONMENT


def test_a_bucket_comes_back_from_a_seal_and_a_seal_without_kinds_is_read():
    made = locks.lock({"six": "1.17.0"})
    layer = replace(layers(1)[0], title="packages 5/8", kind=LayerKind.PACKAGES, bucket=5)
    seal = Seal(
        engine="embedded",
        layout=LAYOUT_VERSION,
        layers=(layer,),
        config=layer.digest,
        manifest=layer.digest,
    )
    text = dump_lock(replace(made, seal=seal))
    assert parse_lock(text, name="it").seal.layers[0].bucket == 5
    older = text.replace('kind = "packages"\n', "").replace("bucket = 5\n", "")
    (read,) = parse_lock(older, name="it").seal.layers
    assert (read.kind, read.bucket) == (LayerKind.PACKAGES, None)
