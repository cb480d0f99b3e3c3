"""Nothing in the store is taken on trust: records, blobs that leave it, work that was killed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.layers.install import Target
from envbuilder.layers.wheel import WheelInput, wheel_layer
from envbuilder.layers.wheel_reconstruction import wheel_file
from envbuilder.model.errors import BuildError, DiskFullError
from envbuilder.model.image import Layer
from envbuilder.model.reference import Digest
from envbuilder.storage.records import Record, dump_record, parse_record
from envbuilder.storage.store import Store
from envbuilder.storage.temporary import translated, work_folder
from tests.wheels import Recipe, write_wheel

ROOT = Path(__file__).parents[2]
LAYER = Layer(digest=Digest.of(b"a"), size=7, diff_id=Digest.of(b"b"), title="numpy 2.0")
TEXT = dump_record(Record(kind="layer", key="k", value=LAYER, blobs=(LAYER.digest,)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_record_reads_back_as_its_type() -> None:
    found = parse_record(TEXT, Layer)
    assert found is not None
    assert (found.kind, found.key, found.value, found.blobs) == (
        "layer",
        "k",
        LAYER,
        (LAYER.digest,),
    )


@given(place=st.integers(0, len(TEXT) - 2), bit=st.integers(0, 7))
def test_no_flipped_bit_leaves_a_record(place: int, bit: int) -> None:
    changed = bytearray(TEXT)
    changed[place] ^= 1 << bit
    found = parse_record(bytes(changed), Layer)
    assert found is None or found == parse_record(TEXT, Layer), "white space at most"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"blobs":[],"key":"k","value":{"digest":"aa"}}',  # the first form, without a checksum
        TEXT.replace(b'"schema":2', b'"schema":3'),
        dump_record(Record(kind="layer", key="k", value=[1])),
        dump_record(
            Record(kind="layer", key="k", value={"digest": "x", "size": 1, "diff_id": "y"})
        ),
    ],
)
def test_what_does_not_fit_is_no_record(text: bytes) -> None:
    assert parse_record(text, Layer) is None


def test_a_record_counts_under_its_own_name_only(store: Store) -> None:
    store.put_record("kind", "one", 1)
    store.put_record("kind", "two", 2)
    one, two = store.record_files()
    both = {path: path.read_bytes() for path in (one, two)}
    overwrite(one, both[two])
    overwrite(two, both[one])
    assert store.record("kind", "one") is store.record("kind", "two") is None
    assert list(store.records("kind", int)) == []
    assert all(store.damaged_record(path) for path in (one, two))
    store.prune(keep=[], unused_for=0)
    assert store.record_files() == []


def test_a_changed_record_changes_no_layer(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(name="one", files={"one.py": b"x = 1\n"}))
    wheel = WheelInput(filename=path.name, sha256=Digest.of(path.read_bytes()), path=path)

    def layer() -> Layer:
        return wheel_layer(store, [wheel], target=Target(python="3.13"), title="one")

    made, other = layer(), store.add(b"another layer")
    for file in store.record_files():
        text = file.read_text()
        for old, new in (
            (made.digest.hex, other.hex),
            (made.diff_id.hex, "0" * 64),
            (f'"size":{made.size}', '"size":1'),
            ("one.py", "two.py"),
            ('"value":', '"volume":'),
        ):
            overwrite(file, text.replace(old, new).encode())
            assert layer() == made
            overwrite(file, b"")
            assert layer() == made


def test_a_blob_is_hashed_once_and_again_after_a_change(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    whole = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda file, name: hashed.append(1) or whole(file, name)
    )
    blob = store.add(b"blob")
    store.put_record("kind", "key", 1, blobs=[blob])
    assert store.checked(blob).read_bytes() == b"blob"
    assert store.record("kind", "key") == 1  # which marks the blob as used
    store.checked(blob)
    assert hashed == [], "who wrote it has hashed it"
    other = Store(store.root)
    for _ in range(3):
        other.record("kind", "key")
        other.checked(blob)
    assert len(hashed) == 1
    overwrite(store.path(blob), b"glob")
    for each in (store, other):
        with pytest.raises(BuildError, match="damaged") as caught:
            each.checked(blob)
        assert "cache repair" in caught.value.hint
    assert store.damaged(blob)


def test_marking_a_blob_as_used_makes_nothing_sound(store: Store) -> None:
    blob = store.add(b"blob")
    store.put_record("kind", "key", 1, blobs=[blob])
    overwrite(store.path(blob), b"glob")
    assert store.record("kind", "key") == 1
    with pytest.raises(BuildError, match="damaged"):
        store.checked(blob)


def test_a_copy_shares_nothing_that_can_be_written(store: Store, tmp_path: Path) -> None:
    blob = store.add(b"blob" * 1000)
    store.copy(blob, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_nlink == 1
    (tmp_path / "copy").write_bytes(b"mine")
    assert store.read(blob) == b"blob" * 1000
    with pytest.raises(FileExistsError):
        store.copy(blob, tmp_path / "copy")
    with pytest.raises(BuildError, match="is not in the store"):
        store.copy(Digest.of(b"none"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_new_store_is_its_owners_alone(store: Store) -> None:
    before = os.umask(0)
    try:
        store.put_record("kind", "key", 1, blobs=[store.add(b"x")])
        with store.lock("one"), store.scratch():
            paths = (store.root, *store.root.rglob("*"))
            modes = {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()}
    finally:
        os.umask(before)
    assert modes == {0o700}


@pytest.mark.parametrize("number", [28, 122])  # ENOSPC, EDQUOT
def test_no_room_is_no_room(number: int, tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=str(tmp_path)) as caught, translated(tmp_path):
        raise OSError(number, os.strerror(number))
    assert "cache prune" in caught.value.hint


@pytest.mark.parametrize("number", [28, 122])  # ENOSPC, EDQUOT
def test_no_room_for_work_in_the_store(number: int, store: Store, tmp_path: Path) -> None:
    def fail(*names: str) -> None:
        with store.scratch() as scratch:
            paths = [str(scratch / name) for name in names]
            raise OSError(number, os.strerror(number), *paths[:1], *([None] if paths[1:] else []),
                          *paths[1:])  # fmt: skip

    for names in ((), ("wheel",), ("wheel", "copy"), (str(tmp_path / "outside"), "copy")):
        with pytest.raises(
            DiskFullError, match=f"the disk that holds {store.root} is full"
        ) as told:
            fail(*names)
        assert "cache prune" in told.value.hint
    for names in ((str(tmp_path / "outside"),), ("wheel", str(tmp_path / "outside"))):
        with pytest.raises(OSError, match="outside"):
            fail(*names)


def test_a_full_disk_while_a_wheel_is_made_again(store: Store, tmp_path: Path) -> None:
    path = write_wheel(tmp_path, Recipe(name="one", files={"one.py": b"x = 1\n"}))
    digest = store.add(path.read_bytes())
    wheel = WheelInput(filename=path.name, sha256=digest)
    wheel_layer(store, [wheel], target=Target(python="3.13"), title="one")
    assert not store.has(digest), "its layer holds it"
    with pytest.raises(DiskFullError, match=str(store.root)), wheel_file(store, digest) as made:
        shutil.copyfile(made, "/dev/full")


def test_other_refusals_in_work_are_not_about_room(store: Store) -> None:
    with pytest.raises(PermissionError), store.scratch():
        raise PermissionError(13, "Permission denied")


def test_other_refusals_name_the_path(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=f"{tmp_path}: Read-only") as caught, translated(tmp_path):
        raise OSError(30, os.strerror(30))
    assert "ENVBUILDER_CACHE" in caught.value.hint


def test_work_folders_of_the_dead_go_and_others_stay(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from envbuilder.storage.temporary import work_folder\n"
        "with work_folder('work', Path(sys.argv[1])) as folder:\n"
        "    (folder / 'deep').mkdir(); print(folder, flush=True); time.sleep(60)"
    )

    def start() -> tuple[subprocess.Popen[str], Path]:
        command = [sys.executable, "-c", code, str(tmp_path)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (dead, left), (alive, used) = start(), start()
    (tmp_path / "work-in-progress").mkdir()
    (tmp_path / f"other-{'0' * 16}").mkdir()
    with dead, alive:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        with work_folder("work", tmp_path) as mine:
            names = {path.name for path in tmp_path.iterdir()}
        alive.kill()
    assert left.name not in names
    assert names == {used.name, mine.name, "work-in-progress", f"other-{'0' * 16}"}


def test_a_link_is_never_taken_for_a_work_folder(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / f"work-{'0' * 16}").symlink_to(tmp_path / "precious")
    (tmp_path / f"work-{'1' * 16}").symlink_to("/nowhere")
    with work_folder("work", tmp_path):
        pass
    assert (tmp_path / "precious").is_dir()


def test_records_are_json(store: Store) -> None:
    store.put_record("kind", "key", {"ä": [1, "x"]}, blobs=[store.add(b"b")])
    (file,) = store.record_files()
    assert json.loads(file.read_bytes())["record"]["value"] == {"ä": [1, "x"]}
    with file.open("rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
