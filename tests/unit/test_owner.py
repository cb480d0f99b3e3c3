"""What root makes among a user's files stays that user's: two users, for real."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from envbuilder.model.atomic import write_text
from envbuilder.model.owner import give, give_all, make_folder
from envbuilder.model.reference import Digest
from envbuilder.resolve.python.uv import run_uv
from envbuilder.storage.ledger import LedgerEntry, append
from envbuilder.storage.store import Store

ROOT = Path(__file__).parents[2]
USER = 12345
AS_USER = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups")

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of another user, in a place that this one may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, USER, USER)
        yield Path(folder)


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_folders_and_files_get_the_owner_of_where_they_lie(home: Path) -> None:
    made = make_folder(home / "a" / "b", mode=0o700)
    (made / "file").touch()
    assert (made / "file").stat().st_uid == 0
    give(made / "file")
    assert owners(home) == {USER}
    assert made.stat().st_mode & 0o777 == 0o700


def test_a_link_is_given_and_not_what_it_leads_to(home: Path, tmp_path: Path) -> None:
    (tmp_path / "roots").touch()
    folder = make_folder(home / "folder")
    (folder / "link").symlink_to(tmp_path / "roots")
    give_all(folder)
    assert (folder / "link").lstat().st_uid == USER
    assert (tmp_path / "roots").stat().st_uid == 0


def test_texts_stay_their_owners(home: Path) -> None:
    write_text(home / "new" / "lock", "1")
    (home / "old").write_text("1")
    os.chown(home / "old", 54321, 54321)
    write_text(home / "old", "2")
    entry = LedgerEntry(
        time="",
        spec=Digest.of(b""),
        lock=Digest.of(b""),
        image=Digest.of(b""),
        engine="",
        good=True,
    )
    append(home / "ledger", entry)
    assert (home / "old").stat().st_uid == 54321
    (home / "old").unlink()
    assert owners(home) == {USER}


@pytest.mark.parametrize("there", [True, False])
def test_a_store_that_root_used_still_is_the_users(home: Path, there: bool) -> None:
    store = Store(home / "cache" / "store")
    if there:
        store.root.mkdir(parents=True)
        os.chown(store.root.parent, USER, USER)
        os.chown(store.root, USER, USER)
    blob = store.add(b"by root")
    store.put_record("kind", "key", 1, blobs=[blob])
    with store.lock("build"), store.scratch():
        pass
    assert owners(home) == {USER}
    code = (
        "import sys; from pathlib import Path; from envbuilder.storage.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "assert store.record('kind', 'key') == 1\n"
        "with store.lock('build'), store.scratch():\n"
        "    store.put_record('kind', 'key', 2, blobs=[store.add(b'by the user')])\n"
        "store.prune(keep=[], unused_for=0); assert not store.ls()\n"
    )
    command = [*AS_USER, sys.executable, "-B", "-c", code, str(store.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_user_is_not_held_up_by_what_root_left(home: Path) -> None:
    store = Store(home / "store")
    store.add(b"x")
    dead = store.root / "tmp" / f"scratch-{'0' * 16}"
    (dead / "inner").mkdir(parents=True)
    (dead / "inner" / "file").touch()
    os.chown(dead, USER, USER)
    (store.root / "tmp" / f"scratch-{'1' * 16}").mkdir(mode=0o700)
    code = (
        "import sys; from pathlib import Path; from envbuilder.storage.store import Store\n"
        "Store(Path(sys.argv[1])).add(b'y')\n"
    )
    command = [*AS_USER, sys.executable, "-B", "-c", code, str(store.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    store.add(b"z")  # root clears both away
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["UV_CACHE_DIR", "XDG_CACHE_HOME", "HOME"])
def test_uv_as_root_leaves_another_users_cache_alone(home: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "wanted.in").touch()
    others = ("UV_CACHE_DIR", "XDG_CACHE_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in others}
    environment[name] = str(home)
    run_uv(["pip", "compile", "wanted.in", "--no-index"], environment=environment, cwd=tmp_path)
    assert owners(home) == {USER}
    assert list(home.iterdir()) == []
