"""One spec for two platforms: locked, built, pushed as an index, proven, bumped and gone back.

The bases are small images in a registry on loopback, whose Python nobody has to start: such bases
and wheels take no emulator. Debian's bases and real smoke tests of both are in real_platforms.py.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from msgspec import structs

from envbuilder.evidence.keys import new_key
from envbuilder.model.errors import ResolutionError, UsageError
from envbuilder.model.image import OCI_INDEX
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import lock_path, read_lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.registry.manifests import Descriptor, Manifest, Platform, index_of
from envbuilder.registry.transfer import push
from envbuilder.runtime import choose
from envbuilder.storage import ledger
from envbuilder.storage.store import Store
from envbuilder.workflow import foreign
from envbuilder.workflow.build import Decisions
from envbuilder.workflow.bump.bump import bump
from envbuilder.workflow.bump.pins import parse_pin
from envbuilder.workflow.bump.promote import promote
from envbuilder.workflow.bump.rollback import rollback
from envbuilder.workflow.bump.stages import real_stages
from envbuilder.workflow.lock import current_locks, lock_environment, lock_platforms
from envbuilder.workflow.platforms import build_platforms, lock_paths
from envbuilder.workflow.publish_platforms import (
    keep_published,
    publish_platforms,
    sealed_index,
)
from envbuilder.workflow.status import status
from tests.command import envbuilder
from tests.contexts import context
from tests.integration.python_image import PYTHON
from tests.servers.counting import counted
from tests.servers.distribution import registry
from tests.servers.samples import image_of, layer_of
from tests.wheels import Recipe, write_wheel

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("told_nothing")]

MINOR = f"3.{sys.version_info.minor}"
CP = f"cp3{sys.version_info.minor}"
AMD64, ARM64 = "linux/amd64", "linux/arm64"
SPEC = """\
version: 1
name: both
platform: [linux/arm64, linux/amd64]
python: "MINOR"
base: {image: "BASE", python: PYTHON, glibc: "2.36"}
packages: {mine: "==1.0", fast: "==1.0"}
index: {url: "INDEX"}
"""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A folder with a spec for two platforms, an index of wheels, and a registry with the base."""

    folder: Path
    host: str

    @property
    def spec(self) -> Path:
        return self.folder / "lockfiles" / "both.yaml"

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command and expect its exit status; give what it wrote."""
        done = envbuilder(
            *arguments,
            cwd=self.folder,
            code=status,
            ENVBUILDER_CACHE=str(self.folder / "store"),
            ENVBUILDER_KEY_PASSWORD="hunter2",
            COLUMNS="300",
        )
        return done.stdout + (done.stderr if status else "")

    def wheel(self, name: str, version: str, tag: str = "py3-none-any") -> None:
        """Offer a wheel in the index."""
        folder = self.folder / "index" / name
        folder.mkdir(parents=True, exist_ok=True)
        content = f"version = {version!r}\nmade_for = {tag!r}\n".encode()
        recipe = Recipe(name=name, version=version, tag=tag, files={f"{name}.py": content})
        write_wheel(folder, recipe)
        links = (f'<a href="{path.name}">{path.name}</a>' for path in sorted(folder.glob("*.whl")))
        (folder / "index.html").write_text("\n".join(links))

    def bytes(self) -> dict[str, bytes]:
        """Read all that belongs into version control."""
        return {path.name: path.read_bytes() for path in sorted(self.spec.parent.iterdir())}

    def lock(self) -> None:
        """Lock both."""
        lock_platforms(context(self.store), self.spec)

    def build(self) -> None:
        """Build both, and smoke neither."""
        build_platforms(context(self.store), self.spec, Decisions(), runtime=None)

    def locks(self) -> dict[str, Lock]:
        """Read both locks."""
        return {each: read_lock(lock_path(self.spec, each)) for each in (AMD64, ARM64)}

    def skopeo(self, *arguments: str) -> str:
        done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def put_base(store: Store, ref: ImageRef) -> None:
    """Push an index of images for two platforms, as any registry has bases."""
    registries = context(store).registries
    entries = []
    for name in (AMD64, ARM64):
        architecture = name.partition("/")[2]
        layer = layer_of(store, {PYTHON.lstrip("/"): architecture.encode()})
        image = image_of([layer], architecture=architecture)
        push(registries, image, store, ref.at(image.digest), Silent())
        entry = Descriptor(
            media_type=image.media_type, digest=image.digest, size=len(image.manifest)
        )
        entries.append(replace(entry, platform=Platform.parse(name)))
    registries.repository(ref).for_writing().put_manifest(index_of(entries), ref.tag)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running.host


@pytest.fixture
def desk(server, tmp_path):
    """Make the base, the index and the spec."""
    made = Desk(folder=tmp_path, host=server)
    base = ImageRef.parse(f"{server}/base:1")
    put_base(Store(tmp_path / "elsewhere"), base)
    made.wheel("mine", "1.0")
    for tag in ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64"):
        made.wheel("fast", "1.0", f"{CP}-{CP}-{tag}")
    text = SPEC.replace("MINOR", MINOR).replace("BASE", str(base)).replace("PYTHON", PYTHON)
    made.spec.parent.mkdir()
    made.spec.write_text(text.replace("INDEX", (tmp_path / "index").as_uri()))
    return made


def test_the_whole_way(desk):
    said = desk.run("lock", "both")
    assert "pylock.both.toml: 2 wheels" in said
    assert "pylock.both_arm64.toml: 2 wheels" in said
    wheels = {of: [each.filename for each in lock.wheels] for of, lock in desk.locks().items()}
    assert wheels[AMD64][0].endswith("x86_64.whl")
    assert wheels[ARM64][0].endswith("aarch64.whl")
    assert wheels[AMD64][1] == wheels[ARM64][1] == "mine-1.0-py3-none-any.whl"
    assert desk.run("lock", "both", "--check").count("is fresh") == 2

    built = json.loads(desk.run("build", "both", "--no-smoke", "-o", "json"))
    assert list(built["platforms"]) == [AMD64, ARM64]
    before = desk.bytes()
    again = json.loads(desk.run("build", "both", "--no-smoke", "--locked", "-o", "json"))
    assert again == built
    assert desk.bytes() == before, "the same bytes"

    ref = f"{desk.host}/both:1"
    assert built["index"] in desk.run("push", "both", ref)
    raw = desk.skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{ref}")
    assert str(Digest.of(raw.encode())) == built["index"]
    index = Manifest(body=raw.encode(), media_type=OCI_INDEX)
    assert [str(each.platform) for each in index.children] == [AMD64, ARM64]
    for name, architecture in ((AMD64, "amd64"), (ARM64, "arm64")):
        told = desk.skopeo(
            "--override-arch", architecture, "inspect", "--config", "--tls-verify=false",
            f"docker://{ref}",
        )  # fmt: skip
        assert json.loads(told)["architecture"] == architecture
        copied = desk.folder / architecture
        desk.skopeo(
            "--override-arch", architecture, "copy", "--src-tls-verify=false",
            f"docker://{ref}", f"dir:{copied}",
        )  # fmt: skip
        manifest = (copied / "manifest.json").read_bytes()
        assert str(Digest.of(manifest)) == built["platforms"][name]["image"]

    assert "is what the lock it names says" in desk.run("verify", ref)
    assert "is what the lock says" in desk.run("verify", ref, "--lock", "both", "--level", "0")
    place = ref.removesuffix(":1")
    assert built["index"] in desk.run("export", "both", "--kubernetes", "--image", place)
    arm = desk.run("inspect", ref, "--platform", ARM64, "-o", "json")
    assert built["platforms"][ARM64]["image"] in arm


def test_the_lock_of_the_first_platform_is_that_of_a_spec_for_it_alone(desk):
    desk.lock()
    joint = lock_path(desk.spec).read_bytes()
    lock_path(desk.spec).unlink()
    text = desk.spec.read_text()
    desk.spec.write_text(text.replace("platform: [linux/arm64, linux/amd64]\n", ""))
    desk.lock()
    assert lock_path(desk.spec).read_bytes() == joint


def test_a_new_platform_begins_with_the_pins_of_the_other_where_it_can(desk):
    text = desk.spec.read_text().replace('"==1.0"', '"*"')
    desk.spec.write_text(text.replace("[linux/arm64, linux/amd64]", AMD64))
    desk.wheel("fast", "0.9", f"{CP}-{CP}-manylinux_2_17_aarch64")
    first = lock_environment(context(desk.store), desk.spec)
    desk.wheel("mine", "1.1")
    desk.wheel("fast", "1.0.1", f"{CP}-{CP}-manylinux_2_17_x86_64")
    desk.spec.write_text(text)
    locks = lock_platforms(context(desk.store), desk.spec)
    assert locks[AMD64] == first, "it stays"
    assert versions(locks[ARM64]) == versions(first) == {"fast": "1.0", "mine": "1.0"}

    renewed = lock_platforms(context(desk.store), desk.spec, release=("*",))
    assert versions(renewed[AMD64]) == {"fast": "1.0.1", "mine": "1.1"}
    assert versions(renewed[ARM64]) == {"fast": "1.0", "mine": "1.1"}, "the newest that it has"
    desk.wheel("mine", "1.2")
    lock_path(desk.spec, ARM64).unlink()
    assert current_locks(context(desk.store), desk.spec) == renewed, "as a build makes it, too"
    with pytest.raises(UsageError, match="no package nothing"):
        lock_platforms(context(desk.store), desk.spec, release=("nothing",))


def versions(lock: Lock) -> dict[str, str]:
    return {each.name: each.version for each in lock.wheels}


def test_evidence_lies_beside_each_image_and_the_index_is_signed(desk):
    new_key(desk.folder / "ci", password="hunter2")
    desk.build()
    ref = f"{desk.host}/signed:1"
    said = desk.run("push", "both", ref, "--key", "ci.key", "-o", "json")
    assert json.loads(said)["evidence"] == ["signature"]
    policy = desk.folder / "policy.yaml"
    policy.write_text("required: [provenance, sbom, signature]\n")
    shown = desk.run("verify", ref, "--key", "ci.pub", "--policy", str(policy), "-o", "json")
    found = json.loads(shown)
    assert found["ok"]
    subjects = [each["subject"] for each in found["findings"]]
    assert f"{ARM64} provenance" in subjects
    assert f"{AMD64} signature" in subjects


def test_a_second_signed_push_asks_two_things_of_each(desk):
    """Of either image and of the index, and once more whether that is under the tag at all."""
    new_key(desk.folder / "ci", password="hunter2")
    desk.build()
    with counted(desk.host) as relay:
        ref = f"{relay.host}/again:1"
        desk.run("push", "both", ref, "--key", "ci.key")
        first = len(relay.requests)
        desk.run("push", "both", ref, "--key", "ci.key")
        requests = relay.requests[first:]
    assert {each.split()[0] for each in requests} == {"HEAD"}
    assert len(requests) == 7, requests


@pytest.fixture
def built(desk, monkeypatch):
    """Build both as on a machine that runs neither; give its context and what came of it."""
    monkeypatch.setattr(foreign, "can_run", lambda _: False)
    here = context(desk.store)
    return here, build_platforms(here, desk.spec, Decisions(), runtime=choose("oci", desk.store))


def test_a_smoke_that_cannot_run_is_unproven_and_one_line_of_the_ledger(desk, built):
    _, both = built
    assert not both.passes(allow_unproven=False)
    assert both.passes(allow_unproven=True)
    (entry,) = entries(desk)
    assert entry.image == both.index.digest
    assert not entry.good
    assert entry.smoke.startswith("unproven: linux/amd64: unproven: not smoked")
    assert "runs no programs for linux/arm64" in entry.smoke
    found = status(desk.spec)
    assert (found.lock, found.verdict, found.image) == ("fresh", "unproven", entry.image)
    assert found.platforms == (AMD64, ARM64)


def test_a_bump_moves_all_platforms_or_none_and_a_rollback_brings_all_back(desk, built):
    here, _ = built
    first = desk.bytes()
    stages = real_stages(here, folder=desk.spec.parent, runtime=choose("oci", desk.store))

    def move(pin):
        return bump(here, desk.spec, [parse_pin(pin)], stages=stages, allow_unproven=True)

    desk.wheel("fast", "1.1", f"{CP}-{CP}-manylinux_2_17_x86_64")
    with pytest.raises(ResolutionError, match="fast"):
        move("fast==1.1")
    assert desk.bytes() == first, "arm64 has no such wheel: nothing moves"

    desk.wheel("mine", "1.1")
    done = move("mine")
    versions = {of: lock.wheels[1].version for of, lock in desk.locks().items()}
    assert versions == {AMD64: "1.1", ARM64: "1.1"}
    assert entries(desk)[1].image == done.built.index.digest
    assert {lock.seal.index for lock in desk.locks().values()} == {done.built.index.digest}
    now = desk.bytes()

    rollback(desk.spec, entries(desk)[0], store=desk.store, red=True)
    assert without_ledger(desk.bytes()) == without_ledger(first)
    rollback(desk.spec, entries(desk)[1], store=desk.store, red=True)
    assert without_ledger(desk.bytes()) == without_ledger(now)


def test_a_good_build_is_promoted_as_its_index(desk, built):
    here, both = built
    (entry,) = entries(desk)
    ledger.append(ledger.ledger_path(desk.spec), structs.replace(entry, good=True))
    target = ImageRef.parse(f"{desk.host}/promoted:stable")
    assert promote(here, desk.spec, None, target).image == both.index.digest
    assert here.registries.repository(target).find("stable") == both.index.digest
    lock_path(desk.spec, ARM64).unlink()  # the store has the texts of all
    earlier = ImageRef.parse(f"{desk.host}/promoted:earlier")
    assert promote(here, desk.spec, entries(desk)[1], earlier).image == both.index.digest


def test_another_form_has_an_index_of_its_own(desk, built):
    here, both = built
    target = ImageRef.parse(f"{desk.host}/forms:1")
    pushed, known = publish_platforms(here, both.locks, target, compression="zstd")
    keep_published(here, lock_paths(desk.spec), both.locks, known)
    seals = [lock.seal for lock in desk.locks().values()]
    assert {seal.index_in("zstd") for seal in seals} == {pushed.digest}
    assert {seal.index for seal in seals} == {both.index.digest} != {pushed.digest}
    assert sealed_index([*desk.locks().values()], "zstd") == pushed.digest
    assert "is what the lock it names says" in desk.run("verify", str(target))
    assert "the sealed image as zstd" in desk.run("verify", str(target), "--level", "0")


def entries(desk) -> tuple[ledger.LedgerEntry, ...]:
    return ledger.read(ledger.ledger_path(desk.spec))[0]


def without_ledger(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if not name.endswith(".jsonl")}


def test_what_takes_one_platform_says_so(desk):
    desk.lock()
    assert "is for several platforms" in desk.run("bisect", "both", status=2)
    assert "is for several platforms" in desk.run("render", "both", status=2)
    said = desk.run("build", "both", "--no-smoke", "--output-image", "oci:out", status=2)
    assert "--output-image writes one image" in said


def test_nothing_is_pushed_before_all_are_built(desk):
    desk.build()
    first = lock_path(desk.spec).read_bytes()
    lock_path(desk.spec, ARM64).unlink()
    said = desk.run("push", "both", f"{desk.host}/half:1", status=5)
    assert "pylock.both_arm64.toml" in said
    assert "envbuilder lock both" in said
    desk.lock()
    assert lock_path(desk.spec).read_bytes() == first
    said = desk.run("push", "both", f"{desk.host}/half:1", status=5)
    assert "for linux/arm64 has no seal" in said
    said = desk.run("export", "both", "--compose", "--image", f"{desk.host}/half", status=5)
    assert "never built" in said
