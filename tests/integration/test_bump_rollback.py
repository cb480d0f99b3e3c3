"""Rollback with real git: from the store, from the history, and never at unrelated work's cost."""

from pathlib import Path

import git
import pytest
from msgspec.structs import replace

from envbuilder.model.errors import BuildError, LockError, UsageError
from envbuilder.model.pylock import lock_path, write_lock
from envbuilder.model.reference import Digest
from envbuilder.model.spec_file import load
from envbuilder.storage import ledger
from envbuilder.storage.build_records import BuildTexts, keep
from envbuilder.storage.store import Store
from envbuilder.workflow.bump.rollback import rollback
from envbuilder.workflow.bump.texts import texts_of
from envbuilder.workflow.bump.transaction import transaction
from tests.unit.locks import lock
from tests.unit.oracle import World

pytestmark = pytest.mark.integration

SPEC = """\
version: 1
name: omni
python: "3.12"
base: {debian: trixie}
packages: {app: "==1.0"}   # naïve
"""


class Place:
    """A git repository with an environment that was built twice: app 1.0, then app 2.0."""

    def __init__(self, folder: Path) -> None:
        self.repository = git.Repo.init(folder / "repository")
        with self.repository.config_writer() as config:
            config.set_value("user", "name", "Test").set_value("user", "email", "t@example.org")
        self.root = folder / "repository"
        self.spec = self.root / "lockfiles" / "omni.yaml"
        self.spec.parent.mkdir()
        self.store = Store(folder / "store")
        self.first = self.build("1.0")
        self.commit()
        self.second = self.build("2.0")

    def build(self, version: str, text: str = SPEC) -> BuildTexts:
        world = World({"app": {version: ""}})
        self.spec.write_text(text.replace("1.0", version))
        outcome = world.build(world.resolve(load(self.spec), lock({}), frozenset()))
        write_lock(lock_path(self.spec), outcome.lock)
        entry = world.entry(outcome)
        ledger.append(ledger.ledger_path(self.spec), entry)
        self.texts = BuildTexts(spec=self.spec.read_bytes(), lock=lock_path(self.spec).read_bytes())
        self.entry = entry
        return self.texts

    def commit(self) -> None:
        self.repository.git.add("lockfiles")
        self.repository.git.commit("-q", "-m", "build")

    def now(self) -> BuildTexts:
        return BuildTexts(spec=self.spec.read_bytes(), lock=lock_path(self.spec).read_bytes())

    def rollback(self, *, force: bool = False) -> ledger.LedgerEntry:
        return rollback(self.spec, None, store=self.store, force=force)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_restores_from_git_and_touches_nothing_else(place: Place) -> None:
    place.commit()
    other = place.root / "work.txt"
    other.write_text("staged\n")
    place.repository.git.add("work.txt")
    other.write_text("not staged\n")
    head = place.repository.head.commit
    index = (place.root / ".git" / "index").read_bytes()

    place.rollback()

    assert place.now() == place.first
    assert other.read_text() == "not staged\n"
    assert place.repository.head.commit == head
    assert (place.root / ".git" / "index").read_bytes() == index
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    assert [each.event for each in entries] == ["build", "build", "rollback"]
    assert entries[2].lock == entries[0].lock


def test_restores_from_the_store_without_git(place: Place, tmp_path: Path) -> None:
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    for entry, texts in zip(entries, (place.first, place.second), strict=True):
        keep(place.store, entry.lock, texts)
    (place.root / ".git").rename(tmp_path / "no-git")
    place.rollback()
    assert place.now() == place.first
    rollback(place.spec, entries[1], store=place.store)
    assert place.now() == place.second


def test_a_sample_that_was_deleted_since_does_not_hinder(place: Place) -> None:
    """Only a smoke opens the files that a spec names, not whoever reads it (case H11)."""
    sample = place.spec.with_name("photo.png")
    sample.write_bytes(b"x")
    text = SPEC.replace("base:", "smoke: {model: {family: qwen2_vl}, samples: [photo.png]}\nbase:")
    with_sample = place.build("1.0", text)
    place.commit()
    sample.unlink()
    place.build("2.0", text)
    place.commit()
    place.rollback()
    assert place.now() == with_sample


def test_goes_back_step_by_step(place: Place) -> None:
    place.commit()
    third = place.build("3.0")
    place.commit()
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    path = ledger.ledger_path(place.spec)
    ledger.append(path, replace(entries[0], event="promote", note="as x:stable"))
    for texts in (place.second, place.first):
        place.rollback()
        assert place.now() == texts
    with pytest.raises(UsageError, match="no good build before this one"):
        place.rollback()
    rollback(place.spec, entries[2], store=place.store)
    assert place.now() == third


def test_refuses_to_lose_what_nobody_else_holds(place: Place) -> None:
    with pytest.raises(UsageError, match="neither git nor the store") as caught:
        place.rollback()
    assert "--force" in caught.value.hint
    assert place.now() == place.second
    place.rollback(force=True)
    assert place.now() == place.first


def test_an_edited_comment_is_not_lost_either(place: Place) -> None:
    place.commit()
    place.spec.write_text(place.spec.read_text() + "# a thought\n")
    with pytest.raises(UsageError):
        place.rollback()


@pytest.mark.parametrize("missing", ["omni.yaml", "pylock.omni.toml"])
def test_a_deleted_file_is_no_loss(place: Place, missing: str) -> None:
    place.commit()
    (place.spec.parent / missing).unlink()
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    rollback(place.spec, entries[0], store=place.store)
    assert place.now() == place.first


def test_a_damaged_text_in_the_store_is_asked_of_git(place: Place) -> None:
    place.commit()
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    keep(place.store, entries[0].lock, place.first)
    blob = place.store.path(Digest.of(place.first.lock))
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")
    place.rollback()
    assert place.now() == place.first


def test_an_edit_while_it_looks_is_not_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.commit()

    def look(spec_path: Path, entry: ledger.LedgerEntry, *, store: Store) -> BuildTexts:
        place.spec.write_text("edited meanwhile\n")
        return texts_of(spec_path, entry, store=store)

    monkeypatch.setattr("envbuilder.workflow.bump.rollback.texts_of", look)
    with pytest.raises(LockError, match="changed meanwhile"):
        place.rollback(force=True)
    assert place.spec.read_text() == "edited meanwhile\n"


def test_there_is_nothing_to_go_back_to_nowhere(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot write the files of x: No such file"):
        rollback(tmp_path / "nowhere" / "x.yaml", None, store=Store(tmp_path / "store"))


def test_says_that_nobody_has_the_texts(place: Place, tmp_path: Path) -> None:
    (place.root / ".git").rename(tmp_path / "no-git")
    with pytest.raises(LockError, match="neither the store nor git"):
        place.rollback(force=True)
    assert place.now() == place.second


def test_only_goes_back_to_what_is_good(place: Place) -> None:
    red = replace(place.entry, good=False, smoke="tokens.video failed")
    with pytest.raises(UsageError, match=r"tokens\.video failed"):
        rollback(place.spec, red, store=place.store)
    place.commit()
    rollback(place.spec, red, store=place.store, red=True)
    assert place.now() == place.second


def test_does_not_go_back_to_what_became_red(place: Place) -> None:
    place.commit()
    path = ledger.ledger_path(place.spec)
    (first, _), _ = ledger.read(path)
    ledger.append(path, replace(first, good=False, smoke="tokens.video failed"))
    with pytest.raises(UsageError, match="no good build before this one"):
        place.rollback()
    with pytest.raises(UsageError, match=r"newest smoke.*tokens\.video failed"):
        rollback(place.spec, first, store=place.store)
    rollback(place.spec, first, store=place.store, red=True)
    assert place.now() == place.first


def test_with_one_build_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    place = Place(tmp_path)
    path = ledger.ledger_path(place.spec)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[1])
    with pytest.raises(UsageError, match="no good build before this one"):
        place.rollback()


def test_waits_for_no_bump(place: Place) -> None:
    with transaction(place.spec), pytest.raises(UsageError, match="under way"):
        place.rollback()


def test_a_damaged_lock_can_be_left_behind(place: Place) -> None:
    place.commit()
    lock_path(place.spec).write_text("<<<<<<< merge")
    place.rollback(force=True)
    entries, _ = ledger.read(ledger.ledger_path(place.spec))
    assert entries[-1].lock == entries[1].lock
    assert place.now() == place.second
