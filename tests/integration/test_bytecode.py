"""Bytecode of wheels: compiled in a container by the image's own Python, and layers of its own."""

import marshal
import platform
import sys
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from envbuilder.engines.bytecode_layers import uncompiled
from envbuilder.engines.embedded import assemble
from envbuilder.engines.foundation import Foundation
from envbuilder.engines.remote_layers import held_remotely, offer_layers
from envbuilder.engines.reuse import ReusableLayers, compilable, reusable
from envbuilder.engines.standalone import standalone_layers
from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.remote_layers import SignedLayers
from envbuilder.layers.contents import scan
from envbuilder.layers.untar import untar
from envbuilder.model.errors import BuildError
from envbuilder.model.image import Image
from envbuilder.model.layer_kind import LayerKind
from envbuilder.model.lock import DebianBase, StandalonePython, Wheel
from envbuilder.model.plan import plan
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.model.seal import Seal
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.resolve.debian.packages import lock_base
from envbuilder.resolve.debian.system_layers import system_layers
from envbuilder.runtime import Command, choose
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.golden.bytecode_digests import MODULES, expected, facts
from tests.integration.python_image import standalone_archive
from tests.integration.tiny_image import tiny_image
from tests.servers.distribution import registry
from tests.unit import locks
from tests.wheels import Recipe, write_wheel

pytestmark = pytest.mark.integration

MINOR = f"3.{sys.version_info.minor}"
TAG = sys.implementation.cache_tag
SITE = f"opt/venv/lib/python{MINOR}/site-packages"
CODE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class {name}:
    "Text"
    size: int = 70_000
    def known(self, word): return word in {{"a", "bb", "ccc", None, 4, 5.5, b"six", ("t", None)}}
"""
LOADED = f"""
import importlib, sys
compiled = []
sys.addaudithook(lambda event, args: event == "compile" and compiled.append(args[1]))
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    path = "/{SITE}/" + name.replace(".", "/")
    assert module.__cached__.startswith("/{SITE}/"), module.__cached__
    print(name, module.__loader__.get_code(name).co_filename)
print("compiled", [each for each in compiled if str(each).startswith("/opt/venv")])
"""


@dataclass
class World:
    """A store with a base that has this interpreter, and wheels by file name."""

    store: Store
    base: DebianBase
    below: Foundation
    folder: object
    minor: str = MINOR

    def wheel(self, name, files, version="1.0"):
        path = write_wheel(self.folder, Recipe(name=name, version=version, files=files))
        data = path.read_bytes()
        return Wheel(name=name, version=version, filename=path.name, size=len(data),
                     sha256=Digest.of(data))  # fmt: skip

    def lock(self, *wheels, bytecode=True, asked=True, **spec):
        made = locks.lock(
            {},
            pins={each.name: "*" for each in wheels if asked},
            python=self.minor,
            bytecode=bytecode,
            **spec,
        )
        return replace(made, base=self.base, wheels=tuple(sorted(wheels)))

    def assemble(self, lock, store=None, held=None) -> Image:
        store = store or self.store

        def bring(wheel, _stop):
            store.adopt(self.folder / wheel.filename, wheel.sha256)

        return assemble(
            context(store),
            lock,
            foundation=lambda _: self.below,
            bring=bring,
            held=held or ReusableLayers(),
        )

    def other(self, folder):
        """Return a store that has the base alone."""
        store = Store(folder)
        for layer in self.below.layers:
            store.adopt(self.store.path(layer.digest), layer.digest)
        return store


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    content, libraries = standalone_archive()
    store = Store(tmp_path_factory.mktemp("store"))
    python = StandalonePython(
        version=platform.python_version(),
        path="20990101/python.tar.gz",
        size=len(content),
        sha256=store.add(content),
    )
    base = DebianBase(suite="trixie", packages=(), standalone=python)
    laid = standalone_layers(context(store), locks.lock({}, python=MINOR), base)
    below = Foundation(layers=(*tiny_image(store, layers=[libraries]).layers, *laid))
    return World(store, base, below, tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def world(made, tmp_path):
    return replace(made, store=made.other(tmp_path / "store"))


def modules(name, count=3):
    files = {f"{name}/m{each}.py": CODE.format(name=f"M{each}").encode() for each in range(count)}
    return {f"{name}/__init__.py": CODE.format(name=name.title()).encode(), **files}


def bytecode(image):
    return [layer for layer in image.layers if layer.kind is LayerKind.BYTECODE]


def files(store, layer):
    with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
        return {path for path, file in scan(tar).files.items() if file.kind == "file"}


def contents(store, layers):
    found = {}
    for layer in layers:
        with untar(store.path(layer.digest), layer.media_type, layer.diff_id) as tar:
            for entry in tar.entries():
                if entry.info.isreg():
                    found[entry.info.name] = b"".join(tar.content())
    return found


def test_a_container_loads_all_and_compiles_nothing(world):
    broken = {"alpha/template.py": b"class {{ name }}:\n", "alpha-1.0.data/scripts/tool.py": b"#"}
    alpha = world.wheel("alpha", modules("alpha") | broken)
    beta = world.wheel("beta", modules("beta"))
    image = world.assemble(world.lock(alpha, beta))
    names = ["alpha", "alpha.m0", "alpha.m1", "alpha.m2", "beta", "beta.m2"]
    command = Command(
        args=("/opt/venv/bin/python", "-c", LOADED, *names),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    with choose("oci", world.store).prepared(image, progress=Silent()) as ready:
        done = ready.run(command)
    said = done.stdout.decode().splitlines()
    assert done.exit_code == 0, done.stderr.decode()
    assert said[-1] == "compiled []"
    assert f"alpha.m0 /{SITE}/alpha/m0.py" in said
    held = {path for layer in bytecode(image) for path in files(world.store, layer)}
    assert f"{SITE}/alpha/__pycache__/m0.{TAG}.pyc" in held
    assert len(held) == 8, "neither the template nor the script"


def golden_image(world):
    wheel = world.wheel("golden", {f"golden/{name}": data for name, data in MODULES.items()})
    return world.assemble(world.lock(wheel))


@pytest.mark.skipif(not expected(MINOR).exists(), reason="the goldens are of other Pythons")
def test_a_container_gives_the_golden_layer(world, golden):
    (layer,) = bytecode(golden_image(world))
    golden(expected(MINOR), facts(layer))


def test_the_python_of_trixie_gives_the_golden_layer(trixie, golden, tmp_path):
    store = trixie(tmp_path / "store")
    base = lock_base(context(store), suite="trixie", packages=["python3"], architecture="amd64")
    below = Foundation(layers=system_layers(context(store), base, architecture="amd64"))
    world = World(store, base, below, tmp_path, minor="3.13")
    (layer,) = bytecode(golden_image(world))
    golden(expected("3.13"), facts(layer))


def test_the_header_is_an_unchecked_hash(world):
    alpha = world.wheel("alpha", modules("alpha"))
    image = world.assemble(world.lock(alpha))
    for data in contents(world.store, bytecode(image)).values():
        assert data[4:8] == b"\1\0\0\0"
        assert marshal.loads(data[16:]).co_filename.startswith(f"/{SITE}/alpha/")


def test_order_place_and_company_do_not_show(world, made, tmp_path):
    """All at once, or one after another in stores of their own: the same layers."""
    wheels = [world.wheel(name, modules(name, 9)) for name in ("alpha", "beta", "gamma", "delta")]
    whole = bytecode(world.assemble(world.lock(*wheels)))
    other = made.other(tmp_path / "other")
    for last in range(4, 0, -1):
        image = made.assemble(made.lock(*wheels[last - 1 :]), store=other)
    assert bytecode(image) == whole
    assert contents(world.store, whole) == contents(other, whole)


def test_a_second_build_compiles_nothing_and_a_bump_one_wheel(world, monkeypatch):
    names = ("alpha", "beta", "gamma", "delta", "epsilon")
    wheels = [world.wheel(name, modules(name)) for name in names]
    lock = world.lock(*wheels)
    assert uncompiled(world.store, lock, plan(lock).bytecode) == set(wheels)
    before = world.assemble(lock)
    newer = world.wheel("gamma", modules("gamma", 2), version="2.0")
    bumped = world.lock(*(newer if each.name == "gamma" else each for each in wheels))
    assert uncompiled(world.store, bumped, plan(bumped).bytecode) == {newer}
    after = world.assemble(bumped)
    monkeypatch.setenv("PATH", "/nonexistent")  # nothing could run a container
    assert world.assemble(lock) == before
    gone = [layer for layer in before.layers if layer not in after.layers]
    assert {layer.kind for layer in gone} == {"packages", "bytecode", "environment"}
    assert len(gone) == 3


def test_without_the_key_nothing_is_compiled(world, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    alpha = world.wheel("alpha", modules("alpha"))
    image = world.assemble(world.lock(alpha, bytecode=False))
    assert not bytecode(image)


def test_a_wheel_without_modules_has_no_layer(world):
    image = world.assemble(world.lock(world.wheel("data", {"data/x.bin": b"x"})))
    assert not bytecode(image)


def test_what_a_wheel_brings_compiled_stays(world):
    """As numpy's do: a RECORD lists it, so another in its place would be a changed file."""
    own = {f"alpha/__pycache__/m0.{TAG}.pyc": b"of another Python"}
    image = world.assemble(world.lock(world.wheel("alpha", modules("alpha") | own)))
    held = {path for layer in bytecode(image) for path in files(world.store, layer)}
    assert f"{SITE}/alpha/__pycache__/m1.{TAG}.pyc" in held
    assert f"{SITE}/alpha/__pycache__/m0.{TAG}.pyc" not in held


def test_of_two_modules_at_one_path_the_winner_is_what_runs(world):
    alpha = world.wheel("alpha", {"both/m.py": b"who = 'alpha'\n", "both/a.py": b""})
    beta = world.wheel("beta", {"both/m.py": b"who = 'beta'\n"})
    lock = world.lock(alpha, beta)
    image = world.assemble(lock)
    command = Command(args=("/opt/venv/bin/python", "-c", "import both.m; print(both.m.who)"))
    with choose("oci", world.store).prepared(image, progress=Silent()) as ready:
        done = ready.run(command)
    assert done.stdout.split() == [plan(lock).wheels[-1].name.encode()]


def test_a_module_that_does_not_compile_may_not_hide_one_that_does(world):
    alpha = world.wheel("alpha", {"both/m.py": b"who = 'alpha'\n"})
    beta = world.wheel("beta", {"both/m.py": b"print 'two'\n"})
    with pytest.raises(BuildError, match=f"Python {MINOR} cannot compile the {SITE}/both/m.py"):
        world.assemble(world.lock(alpha, beta))


def test_a_seal_spares_a_machine_without_wheels_and_base(world, made, tmp_path):
    names = ("alpha", "beta", "gamma")
    wheels = [world.wheel(name, modules(name)) for name in names]
    wheels.append(world.wheel("data", {"data/x.bin": b"x"}))
    lock = world.lock(*wheels, asked=False)
    image = world.assemble(lock)
    sealed = replace(
        lock,
        seal=Seal(engine="embedded", layout=2, layers=image.layers, config=image.config_digest,
                  manifest=image.digest),
    )  # fmt: skip
    empty = Store(tmp_path / "empty")
    held = reusable(sealed, lock)
    assert compilable(empty, lock, held) == held
    assert len(held.bytecode) == len(plan(lock).bytecode)
    assert held.base == made.below.layers
    assert world.assemble(lock, store=empty, held=held).digest == image.digest
    newer = world.wheel("gamma", modules("gamma", 2), version="2.0")
    bumped = world.lock(*(newer if each.name == "gamma" else each for each in wheels), asked=False)
    left = compilable(empty, bumped, reusable(sealed, bumped))
    assert left.base == (), "a container needs it"
    assert newer not in {wheel for group in left.wheels for wheel in group.wheels}
    other = made.other(tmp_path / "other")
    assert world.assemble(bumped, store=other, held=left) == world.assemble(bumped)


def test_a_team_shares_bytecode_and_that_there_is_none(world, made, tmp_path):
    wheels = [world.wheel("alpha", modules("alpha")), world.wheel("data", {"data/x.bin": b"x"})]
    lock = world.lock(*wheels, asked=False)
    image = world.assemble(lock)
    with (
        registry(tmp_path / "registry") as server,
        Client(Settings(), docker_config=tmp_path / "none.json") as client,
    ):
        place = ImageRef.parse(f"{server.host}/team/layers")
        key = ec.generate_private_key(ec.SECP256R1())
        team = SignedLayers(
            place=place, registries=client, trusted=Keyring.of(key.public_key()), key=key
        )
        offer_layers(context(world.store, registries=client, remote=team), lock, image)
        empty = context(Store(tmp_path / "empty"), registries=client, remote=team)
        held = held_remotely(empty, lock, bring=True)
    layers = {layer.inputs: layer for layer in bytecode(image)}
    assert held.bytecode == {each: layers.get(each.inputs) for each in plan(lock).bytecode}
    assert set(held.bytecode.values()) == {None, *layers.values()}
    assert compilable(empty.store, lock, held) == held
    assert made.assemble(lock, store=empty.store, held=held).digest == image.digest
    assert all(empty.store.has(layer.digest) for layer in image.layers[:-1])


def test_bytecode_that_is_not_there_takes_the_wheels(world):
    """A lock that was sealed without bytecode spares nothing that is to be compiled now."""
    alpha = world.wheel("alpha", modules("alpha"))
    lock = world.lock(alpha)
    some = ReusableLayers(wheels={plan(lock).layers[0]: world.below.layers[0]})
    assert compilable(world.store, lock, some) == ReusableLayers()


def test_an_image_that_has_no_such_python_is_a_build_error(world, tmp_path):
    store = Store(tmp_path / "bare")
    bare = replace(world, below=Foundation(layers=tiny_image(store).layers))
    alpha = world.wheel("alpha", modules("alpha"))
    with pytest.raises(BuildError, match="compiles the packages") as caught:
        bare.assemble(world.lock(alpha), store=store)
    assert "bytecode: false" in caught.value.hint
