"""Which Debian packages share a layer: every one in some, few layers, and one bump touches one."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.lock import DebianBase, DebPackage
from envbuilder.model.plan import plan
from envbuilder.model.reference import Digest
from envbuilder.model.system_plan import BUCKETS, ESSENTIAL, HEAVY, MOST_LAYERS, system_plan

from . import locks


def deb(name, size=1000, version="1"):
    return DebPackage(
        name=name,
        version=version,
        architecture="amd64",
        filename=f"pool/{name}_{version}.deb",
        size=size,
        sha256=Digest.of(f"{name}{version}".encode()),
    )


def base(*debs):
    return DebianBase(suite="trixie", packages=tuple(sorted(debs)))


def test_essential_lies_lowest_then_heavy_then_the_rest_and_the_state_on_top():
    planned = system_plan(base(deb("zlib1g"), deb("libc6", HEAVY), deb("bash"), deb("python3")))
    assert [layer.title for layer in planned] == [
        "Debian trixie: essential packages",
        "Debian trixie: libc6 1",
        "Debian trixie: packages 2/16",
        "Debian trixie: state",
    ]
    assert [deb.name for deb in planned[0].packages] == ["bash", "zlib1g"]
    assert [layer.bucket for layer in planned] == [None, None, 2, None]
    assert planned[-1].packages == ()


def test_what_every_layer_stands_on_stays():
    """Whoever changes one of these changes every image, and so LAYOUT_VERSION."""
    assert (HEAVY, BUCKETS, MOST_LAYERS, len(ESSENTIAL)) == (1_048_576, 16, 48, 78)
    names = ("python3", "libfreetype6", "passwd", "adduser")
    shared = {
        layer.bucket: [deb.name for deb in layer.packages]
        for layer in system_plan(base(*map(deb, names)))
        if layer.bucket
    }
    assert shared == {2: ["python3"], 14: ["passwd"], 16: ["adduser"], 3: ["libfreetype6"]}


@given(
    st.dictionaries(
        st.one_of(st.from_regex(r"[a-z]{2,8}", fullmatch=True), st.sampled_from(sorted(ESSENTIAL))),
        st.integers(0, 4 * HEAVY),
        max_size=300,
    )
)
def test_every_package_lies_in_one_layer_and_layers_are_few(sizes):
    debs = [deb(name, size) for name, size in sizes.items()]
    planned = system_plan(base(*debs))
    assert sorted(each for layer in planned for each in layer.packages) == sorted(debs)
    assert len(planned) <= MOST_LAYERS
    assert planned == system_plan(base(*reversed(debs)))


def test_one_bump_touches_one_layer_beside_the_state():
    debs = [deb(f"package-{number}", (number % 7) * HEAVY // 6) for number in range(200)]
    before = system_plan(base(*debs))
    newer = replace(debs[7], version="2", sha256=Digest.of(b"newer"))
    after = system_plan(base(*debs[:7], newer, *debs[8:]))
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1


def test_wheels_leave_room_for_the_base():
    """Overlay mounts take at most about 125 layers."""
    sizes = {f"wheel-{number}": "1.0" for number in range(150)}
    locked = locks.lock(sizes)
    debs = [deb(f"package-{number}", 2 * HEAVY) for number in range(200)]
    wheels = tuple(replace(wheel, size=64 << 20) for wheel in locked.wheels)
    full = replace(locked, base=base(*debs), wheels=wheels)
    assert len(system_plan(full.base)) + len(plan(full).layers) + 1 <= 112
