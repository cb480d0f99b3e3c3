from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model import bytecode_plan
from envbuilder.model import plan as plans
from envbuilder.model.bytecode_plan import MOST_OWN, most_groups, own_groups
from envbuilder.model.image import Layer
from envbuilder.model.layer_kind import LayerKind, kind_of
from envbuilder.model.lock import DebianBase, GitSource, ImageBase, Lock, Wheel
from envbuilder.model.plan import BUCKETS, HEAVY, MOST_LAYERS, is_cuda, plan
from envbuilder.model.reference import Digest
from envbuilder.model.spec import from_builtins


def wheel(name, size=1000, version="1.0"):
    return Wheel(
        name=name,
        version=version,
        filename=f"{name}-{version}-py3-none-any.whl",
        size=size,
        sha256=Digest.of(f"{name}{version}".encode()),
    )


def lock(wheels, requested=("app",)):
    spec = from_builtins(
        {
            "version": 1,
            "name": "x",
            "python": "3.12",
            "base": {"debian": "trixie"},
            "packages": dict.fromkeys(requested, "*"),
        }
    )
    base = DebianBase(suite="trixie", packages=())
    return Lock(spec=spec, base=base, wheels=tuple(sorted(wheels)))


def test_heavy_lie_low_and_what_the_spec_names_lies_on_top():
    wheels = [wheel("app"), wheel("torch", HEAVY), wheel("six"), wheel("nvidia-cudnn-cu12", HEAVY)]
    titles = [layer.title for layer in plan(lock(wheels)).layers]
    assert titles[:2] == ["nvidia-cudnn-cu12 1.0", "torch 1.0"]
    assert titles[2].startswith("packages ")
    assert titles[3:] == ["app 1.0"]


def test_what_every_layer_stands_on_stays():
    """Whoever changes one of these changes every image, and so LAYOUT_VERSION."""
    assert plans.LAYOUT_VERSION == 2
    assert (HEAVY, BUCKETS, MOST_LAYERS, plans.PREFIX) == (8_388_608, 8, 110, "/opt/venv")
    small = [wheel(name) for name in ("numpy", "six", "torch", "tqdm")]
    shared = {layer.title: layer.wheels for layer in plan(lock(small)).layers}
    assert shared == {
        "packages 4/8": (small[0],),
        "packages 5/8": (small[1],),
        "packages 7/8": (small[3],),
        "packages 8/8": (small[2],),
    }


def test_one_bump_touches_one_layer():
    wheels = [wheel(f"package-{number}") for number in range(200)]
    before = plan(lock(wheels)).layers
    after = plan(lock([wheel("package-7", version="2.0"), *wheels[:7], *wheels[8:]])).layers
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.integers(0, 4 * HEAVY), max_size=300
    ),
    st.integers(0, 60),
    st.integers(0, 90),
)
def test_every_wheel_lies_in_one_layer_and_layers_are_few(sizes, named, base_layers):
    wheels = [wheel(name, size) for name, size in sizes.items()]
    locked = lock(wheels, requested=sorted(sizes)[:named] or ["app"])
    layer = Layer(digest=Digest.of(b""), size=1, diff_id=Digest.of(b""))
    base = ImageBase(
        reference="x", digest=Digest.of(b""), config=Digest.of(b""), layers=(layer,) * base_layers
    )
    layers = plan(replace(locked, base=base)).layers
    assert sorted(w for layer in layers for w in layer.wheels) == sorted(wheels)
    assert len(layers) + base_layers + 1 <= max(MOST_LAYERS, base_layers + BUCKETS + 1)
    assert plan(replace(locked, base=base)).layers == layers


LAYER = Layer(digest=Digest.of(b""), size=1, diff_id=Digest.of(b""))


def on_image(locked, layers):
    base = ImageBase(
        reference="x", digest=Digest.of(b""), config=Digest.of(b""), layers=(LAYER,) * layers
    )
    return replace(locked, base=base)


def stepped(locked, before):
    """Add ``before`` steps that run before Python's layers."""
    steps = msgspec.structs.replace(locked.spec.steps, before_python=("true",) * before)
    return replace(locked, spec=msgspec.structs.replace(locked.spec, steps=steps))


def built(locked, names):
    """Add a git source with its wheel for each name."""
    sources = (
        GitSource(
            name=name,
            version="1.0",
            repository=f"https://example.org/{name}",
            requested="main",
            commit="c" * 40,
            tree="d" * 40,
            requires=(),
            wheel=wheel(name),
        )
        for name in names
    )
    return replace(locked, sources=tuple(sources))


FULL = lock([*(wheel(f"heavy-{n}", HEAVY + n) for n in range(120)), wheel("a"), wheel("app")])


@pytest.mark.parametrize(
    ("locked", "below"),
    [
        (FULL, 1),  # the system
        (on_image(FULL, 5), 5 + 1),  # the base's own, and what is put on them
        (stepped(FULL, 3), 1 + 3),
        (stepped(on_image(FULL, 5), 3), 5 + 1 + 3),
    ],
)
def test_a_full_image_leaves_room_for_its_buckets_and_two_layers(locked, below):
    """The two are the environment's own files and one to spare for what runs after Python."""
    layers = plan(locked).layers
    alone = [layer for layer in layers if not layer.title.startswith("packages ")]
    assert len(alone) == MOST_LAYERS - below - BUCKETS - 2


def titles(locked, count):
    """Name who gets one of ``count`` layers: an image base takes all others."""
    layers = plan(on_image(locked, MOST_LAYERS - BUCKETS - 2 - 1 - count)).layers
    return [layer.title for layer in layers if not layer.title.startswith("packages ")]


def test_where_room_is_short_built_ones_come_first_then_named_ones_then_the_heaviest():
    wheels = [wheel("app"), wheel("torch", HEAVY), wheel("triton", 2 * HEAVY)]
    locked = built(lock(wheels), ["mine", "other"])
    assert titles(locked, 5) == ["torch 1.0", "triton 1.0", "app 1.0", "mine 1.0", "other 1.0"]
    assert titles(locked, 4) == ["triton 1.0", "app 1.0", "mine 1.0", "other 1.0"]
    assert titles(locked, 3) == ["app 1.0", "mine 1.0", "other 1.0"]
    assert titles(locked, 2) == ["mine 1.0", "other 1.0"]
    assert titles(locked, 1) == ["mine 1.0"]
    assert titles(locked, 0) == []


def test_the_interpreter_is_the_bases_own():
    assert plan(lock([])).interpreter == "/usr/bin/python3.12"


def test_cuda_wheels_make_a_cuda_environment():
    assert not is_cuda(lock([wheel("torch")]))
    assert is_cuda(lock([wheel("nvidia-cublas-cu12")]))


def compiled(wheels, requested=("app",), **more):
    made = lock(wheels, requested)
    return plan(replace(made, spec=msgspec.structs.replace(made.spec, bytecode=True), **more))


def test_a_spec_that_asks_for_no_bytecode_has_none():
    assert plan(lock([wheel("app"), wheel("torch", HEAVY)])).bytecode == ()


def test_what_people_bump_has_bytecode_of_its_own():
    large = [wheel("app", 1 << 20), wheel("kubernetes", 2 << 20)]
    rest = [wheel("librosa", 1), wheel("six"), wheel("ninja", HEAVY), wheel("nvidia-nccl", HEAVY),
            wheel("scipy", HEAVY), wheel("0box", HEAVY), wheel("llvmlite", HEAVY)]  # fmt: skip
    found = compiled([*large, *rest], requested=("app", "kubernetes", "librosa"))
    assert [group.title for group in found.bytecode] == [
        "bytecode of 0box to llvmlite",
        "bytecode of ninja to nvidia-nccl",
        "bytecode of scipy 1.0",
        "bytecode of packages 5",
        "bytecode of app 1.0",
        "bytecode of kubernetes 1.0",
        "bytecode of librosa 1.0",
    ]
    assert {kind_of(group.title) for group in found.bytecode} == {LayerKind.BYTECODE}
    assert found.bytecode[2].inputs == (str(wheel("scipy").sha256),)


def test_only_the_largest_have_bytecode_of_their_own():
    names = [f"p{each:02}" for each in range(20)]
    wheels = [wheel(name, (1 << 20) + number) for number, name in enumerate(names)]
    found = compiled(wheels, requested=names)
    titles = [group.title for group in found.bytecode]
    own = [f"bytecode of {name} 1.0" for name in names[-MOST_OWN:]]
    assert titles == [f"bytecode of {names[0]} to {names[-MOST_OWN - 1]}", *own]


@given(
    st.dictionaries(
        st.text("abckmnqrz0", min_size=1, max_size=3), st.integers(1, HEAVY * 2), max_size=150
    ),
    st.integers(0, 40),
)
def test_bytecode_follows_the_order_of_the_wheels_and_leaves_room(sizes, named):
    wheels = [wheel(name, size) for name, size in sizes.items()]
    found = compiled(wheels, requested=sorted(sizes)[:named] or ["app"])
    assert tuple(each for group in found.bytecode for each in group.wheels) == found.wheels
    assert all(group.wheels for group in found.bytecode)
    assert len(found.layers) + len(found.bytecode) + 2 <= MOST_LAYERS


def test_the_number_of_groups_has_a_bound():
    least = wheel("a", bytecode_plan.HEAVY)
    assert own_groups([least, wheel("b", bytecode_plan.HEAVY - 1)]) == {least}
    assert most_groups(frozenset({least}), BUCKETS) == 14
    assert most_groups(frozenset(), BUCKETS) == 12
    assert MOST_OWN == 6
