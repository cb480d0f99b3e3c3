"""What a report says of each layer: its size and the packages in it, heaviest first."""

from dataclasses import replace

from envbuilder.engines.docker import named_layers
from envbuilder.model.image import Layer, compose
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase
from envbuilder.model.plan import LAYOUT_VERSION
from envbuilder.model.reference import Digest
from envbuilder.model.seal import Seal
from envbuilder.model.system_plan import system_plan
from envbuilder.smoke.layer_sizes import layer_sizes

from . import locks
from .test_system_plan import deb

DEBS = (deb("bash", 700), deb("libtorch2.6", 60 << 20), deb("python3", 20), deb("zlib1g", 900))
LOCK = replace(
    locks.lock({"six": "1.17.0"}), base=DebianBase(suite="trixie", packages=tuple(sorted(DEBS)))
)
GROUPS = system_plan(LOCK.base)


def image():
    """Return an image of the lock as BuildKit would give it, with the layers' names."""
    digests = [Digest.of(bytes([number])) for number in range(len(GROUPS) + 3)]
    layers = tuple(Layer(digest=each, size=1, diff_id=each) for each in digests)
    return named_layers(LOCK, compose(layers, platform="linux/amd64"))


def test_each_package_is_told_in_its_layer():
    told = {each.title: each.packages for each in layer_sizes(image(), LOCK)}
    assert told["Debian trixie: essential packages"] == (("zlib1g 1", 900), ("bash 1", 700))
    assert told["Debian trixie: libtorch2.6 1"] == (("libtorch2.6 1", 60 << 20),)
    assert told["Debian trixie: state"] == ()
    assert [name for name, _ in told["six 1.17.0"]] == ["six 1.17.0"]


def test_a_foreign_image_of_the_same_content_is_told_by_the_seal():
    named = image()
    seal = Seal(
        engine="docker",
        layout=LAYOUT_VERSION,
        layers=named,
        config=named[0].digest,
        manifest=named[0].digest,
    )
    foreign = tuple(replace(layer, inputs=(), title="") for layer in named)
    told = layer_sizes(foreign, replace(LOCK, seal=seal))
    assert [each.packages for each in told] == [each.packages for each in layer_sizes(named, LOCK)]


def test_both_engines_call_the_base_s_layers_alike():
    base = image()[: len(GROUPS)]
    assert [layer.title for layer in base] == [group.title for group in GROUPS]
    assert {layer.kind for layer in base} == {LayerKind.SYSTEM}
