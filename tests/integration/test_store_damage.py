"""Bit rot in every kind of file of the store: found, removed, made again, and never built from."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from envbuilder.model.git_url import Address
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.registry.layout import load
from envbuilder.resolve.git.mirror import Mirror
from envbuilder.runtime.oci import OciRuntime, find_program
from envbuilder.storage.build_records import BuildTexts, keep, recall
from envbuilder.storage.store import Store
from envbuilder.workflow.store_health import examine
from tests.command import envbuilder
from tests.contexts import context
from tests.integration.tiny_image import tiny_image
from tests.servers.git_repositories import Origin
from tests.servers.scripted import scripted
from tests.unit.test_workflow_build import Desk
from tests.unit.test_workflow_export import build

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


def flip(path: Path) -> None:
    """Turn one bit over, and put the times back: only a disk could do it more quietly."""
    facts = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(facts.st_mode & 0o7777)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def cache(store: Store, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return envbuilder("cache", *arguments, code=code, ENVBUILDER_CACHE=str(store.root))


@pytest.fixture
def full(tmp_path: Path) -> Store:
    """A store with a blob, a record, an unpacked layer, a copy of a repository, a kept build."""
    store = Store(tmp_path / "store")
    runtime = OciRuntime(program=find_program("crun") or Path("crun"), store=store)
    with runtime.prepared(tiny_image(store), progress=Silent()):
        pass
    origin = Origin.create(tmp_path / "served" / "proj")
    commit = origin.commit({"file.py": "x = 1\n" * 100})
    mirror = Mirror(Address.parse(str(origin.path / ".git")), store=store, progress=Silent())
    assert mirror.history
    mirror.content(commit)
    keep(store, Digest.of(b"lock"), BuildTexts(spec=b"spec", lock=b"lock"))
    store.put_record("kind", "key", [1])
    return store


def a_blob(store: Store) -> Path:
    return store.path(max(store.ls(), key=lambda blob: blob.size).digest)


def a_record(store: Store) -> Path:
    return next(store.root.glob("records/kind/*.json"))


def a_program(store: Store) -> Path:
    (program,) = store.root.glob("trees*/*/bin/cat")
    return program


def a_pack(store: Store) -> Path:
    return next(store.root.glob("git/*/content.git/objects/pack/*.pack"))


def a_history(store: Store) -> Path:
    return next(store.root.glob("git/*/history.git/objects/pack/*.pack"))


def a_text(store: Store) -> Path:
    return store.path(Digest.of(b"lock"))


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (a_blob, "blobs"),
        (a_record, "records"),
        (a_program, "unpacked layers"),
        (a_pack, "git repositories"),
        (a_history, "git repositories"),
        (a_text, "kept builds"),
    ],
)
def test_each_kind_is_found_and_repaired(
    full: Store, place: Callable[[Store], Path], kind: str
) -> None:
    assert not any(each.damaged for each in examine(context(full)))
    flip(place(full))
    before = sorted(full.root.rglob("*"))
    found = {each.kind: each for each in examine(context(full))}
    assert len(found[kind].damaged) == 1
    assert all(each.count for each in found.values())
    assert sorted(full.root.rglob("*")) == before, "to look changes nothing"
    removed = {each.kind: each.damaged for each in examine(context(full), repair=True)}
    assert removed == {each.kind: each.damaged for each in found.values()}
    assert not any(each.damaged for each in examine(context(full)))


def test_the_commands_say_what_they_did(full: Store) -> None:
    assert cache(full, "verify").stdout.count(" sound\n") == 5
    flip(a_record(full))
    said = cache(full, "verify", code=7)
    assert f"damaged  {a_record(full)}" in said.stdout
    assert "1 damaged" in said.stderr
    assert "cache repair" in said.stderr
    found = {each["kind"]: each for each in json.loads(cache(full, "repair", "-o", "json").stdout)}
    assert len(found["records"]["damaged"]) == 1
    assert "0 removed" in cache(full, "repair").stdout


def test_what_nobody_damaged_stays(full: Store) -> None:
    before = sorted(full.root.rglob("*"))
    assert not any(each.damaged for each in examine(context(full), repair=True))
    assert sorted(full.root.rglob("*")) == before
    assert recall(full, Digest.of(b"lock")) == BuildTexts(spec=b"spec", lock=b"lock")


def test_a_damaged_program_does_not_run(full: Store) -> None:
    """Whoever writes into an unpacked layer moves its time of change, if no other."""
    sound = a_program(full).read_bytes()
    flip(a_program(full))
    assert a_program(full).read_bytes() != sound
    runtime = OciRuntime(program=find_program("crun") or Path("crun"), store=Store(full.root))
    with runtime.prepared(tiny_image(full), progress=Silent()):
        assert a_program(full).read_bytes() == sound


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    with scripted(made.answer) as server:
        made.write(server.host)
        yield made


def test_no_rot_changes_an_image(desk: Desk) -> None:
    """Each kind of record, and a blob, without repairing and with it."""
    build(desk, "--output-image", "oci:first")
    true, _ = load(desk.spec.parents[1] / "first", "linux/amd64")
    store, wheel = desk.store, desk.spec.parents[1] / desk.wheel.filename
    kinds = {path.parent: path for path in store.record_files()}
    assert len(kinds) >= 3
    for path in kinds.values():
        flip(path)
        store.adopt(wheel, desk.wheel.sha256)  # as fetching would
        build(desk, "--output-image", "oci:again")
        assert load(desk.spec.parents[1] / "again", "linux/amd64")[0] == true
    flip(store.path(true.layers[-2].digest))
    said = build(desk, "--output-image", "oci:damaged", code=7)
    assert "is damaged" in said
    assert "cache repair" in said
    assert not (desk.spec.parents[1] / "damaged").exists()
    removed = {name for kind in examine(context(store), repair=True) for name in kind.damaged}
    assert str(true.layers[-2].digest) in removed
    store.adopt(wheel, desk.wheel.sha256)
    build(desk, "--output-image", "oci:again")
    assert load(desk.spec.parents[1] / "again", "linux/amd64")[0] == true
