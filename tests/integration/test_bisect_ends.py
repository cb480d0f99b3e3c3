"""Which lock a user means by an end: a number, a path, or whatever git takes for a commit."""

from dataclasses import dataclass, field
from pathlib import Path

import git
import pytest
from msgspec import structs

from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.lock import Lock, spec_checksum
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import dump_lock, lock_checksum, lock_path, write_lock
from envbuilder.storage import ledger
from envbuilder.storage.build_records import BuildTexts, keep
from envbuilder.storage.ledger import LedgerEntry
from envbuilder.storage.store import Store
from envbuilder.workflow.bisect.endpoints import find_end, good_end
from tests.contexts import context
from tests.unit.locks import lock

pytestmark = pytest.mark.integration

FIRST, SECOND, THIRD = (lock({"app": version}) for version in ("1", "2", "3"))


@dataclass
class Notes(Silent):
    """What was told."""

    said: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.said.append(text)


class Place:
    """A repository with one commit per lock, and their good builds in ledger and store."""

    def __init__(self, folder: Path) -> None:
        self.spec = folder / "repository" / "x.yaml"
        self.store = Store(folder / "store")
        self.repository = git.Repo.init(self.spec.parent)
        with self.repository.config_writer() as config:
            config.set_value("user", "name", "Test").set_value("user", "email", "t@example.org")
        self.repository.git.commit("-q", "--allow-empty", "-m", "nothing yet")
        self.entries = [self.build(each) for each in (FIRST, SECOND)]
        self.repository.git.tag("tagged", "HEAD^", "-m", "an object of its own")

    def build(self, made: Lock) -> LedgerEntry:
        write_lock(lock_path(self.spec), made)
        self.repository.git.add(".")
        self.repository.git.commit("-q", "-m", "build")
        checksum = lock_checksum(made)
        keep(self.store, checksum, BuildTexts(spec=b"", lock=dump_lock(made).encode()))
        entry = LedgerEntry(
            time=ledger.now(), spec=spec_checksum(made.spec), lock=checksum, image=checksum,
            engine="embedded", good=True,
        )  # fmt: skip
        ledger.append(ledger.ledger_path(self.spec), entry)
        return entry


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1", FIRST),
        ("2", SECOND),
        ("HEAD", SECOND),
        ("HEAD^", FIRST),
        ("HEAD@{1}", FIRST),
        ("HEAD@{now}", SECOND),
        (":/build", SECOND),
        ("tagged", FIRST),
    ],
)
def test_an_end(place: Place, text: str, found: Lock) -> None:
    assert find_end(place.spec, text, store=place.store) == found


@pytest.mark.parametrize(
    "text", ["HEAD@{99}", "@{-1}", "main@{u}", "HEAD~9", "HEAD^{tree}", "--all", "", "a..b", "nope"]
)
def test_no_end(place: Place, text: str) -> None:
    with pytest.raises(UsageError, match="is no end") as caught:
        find_end(place.spec, text, store=place.store)
    assert "a git revision" in caught.value.hint


def test_no_end_nowhere(place: Place, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="is no end"):
            find_end(folder / "x.yaml", "HEAD", store=place.store)


def test_a_commit_without_the_lock(place: Place) -> None:
    with pytest.raises(LockError, match=r"HEAD~2 has no pylock\.x\.toml"):
        find_end(place.spec, "HEAD~2", store=place.store)


def test_the_good_end_is_the_last_that_stood_and_is_told(place: Place) -> None:
    notes = Notes()

    def end(bad: Lock) -> Lock:
        return good_end(context(place.store, notes), place.spec, bad)

    assert end(THIRD) == SECOND
    assert end(SECOND) == FIRST
    first, second = place.entries
    path = ledger.ledger_path(place.spec)
    ledger.append(path, structs.replace(first, event="rollback"))
    ledger.append(path, structs.replace(second, event="promote"))
    assert end(THIRD) == FIRST
    told = [note.partition(", of ")[0] for note in notes.said]
    assert told == [f"good end: entry {n} of the history" for n in (2, 1, 3)]
    path.unlink()
    with pytest.raises(UsageError, match="name one with --good"):
        end(THIRD)
