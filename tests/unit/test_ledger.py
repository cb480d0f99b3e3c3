"""The ledger: append-only, whole lines, and what a killed writer leaves."""

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.errors import LockError, UsageError
from envbuilder.model.reference import Digest
from envbuilder.storage.ledger import (
    BuildHost,
    LedgerEntry,
    append,
    choose,
    dump_entry,
    good_now,
    last_good,
    ledger_path,
    now,
    parse_entry,
    promoted_tags,
    read,
    why_red,
)


def entry(number: int = 0, **changes: object) -> LedgerEntry:
    values = {
        "time": "2025-06-29T12:00:00Z",
        "spec": Digest.of(b"spec"),
        "lock": Digest.of(b"lock %d" % number),
        "image": Digest.of(b"image %d" % number),
        "engine": "embedded",
        "good": True,
        "smoke": "12 checks passed",
        "host": BuildHost(kernel="6.1", runtime="crun 1.8", gpu="H100", driver="560.35"),
    }
    return LedgerEntry(**values | changes)


def test_lies_beside_the_spec() -> None:
    assert ledger_path(Path("a/omni.yaml")) == Path("a/omni.ledger.jsonl")


def test_reads_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "new" / "omni.ledger.jsonl"
    written = [entry(1), entry(2, good=False, event="promote", note="→ stable\nnew line")]
    for each in written:
        append(path, each)
    assert read(path) == (tuple(written), False)
    assert path.read_bytes() == b"".join(dump_entry(each) for each in written)


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == ((), False)


def test_time_is_utc_to_the_second() -> None:
    assert len(now()) == len("2025-06-29T12:00:00Z")
    assert now().endswith("Z")


@given(cut=st.integers(min_value=1))
def test_a_torn_last_line_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "ledger"
    line = dump_entry(entry(2))
    torn = line[: cut % (len(line) - 1)]
    path.write_bytes(dump_entry(entry(1)) + torn)
    assert read(path) == ((entry(1),), bool(torn))
    append(path, entry(3))
    assert read(path) == ((entry(1), entry(3)), False)


def test_a_missing_last_newline_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes((dump_entry(entry(1)) + dump_entry(entry(2))).rstrip(b"\n"))
    assert read(path) == ((entry(1), entry(2)), False)
    append(path, entry(3))
    assert read(path)[0] == (entry(1), entry(2), entry(3))


@pytest.mark.parametrize(
    "line",
    [b"<<<<<<< HEAD", b"[]", b"{}", b'"text"', dump_entry(entry()).replace(b"sha256", b"md5")],
)
def test_names_a_whole_line_that_is_no_entry(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(dump_entry(entry(1)) + line.rstrip() + b"\n")
    with pytest.raises(LockError, match=r"ledger:2 is not a ledger entry"):
        read(path)


def test_refuses_unknown_fields_and_values() -> None:
    line = dump_entry(entry())
    for bad in (
        line.replace(b'"good":true', b'"good":1'),
        line.replace(b'"build"', b'"burn"'),
        line.replace(b'"note"', b'"nota"'),
    ):
        assert bad != line
        with pytest.raises(LockError):
            parse_entry(bad)


def test_chooses_by_number_and_by_checksum() -> None:
    entries = [entry(1), entry(2), entry(1, note="again")]
    assert choose(entries, "2") == entries[1]
    assert choose(entries, str(entries[1].image)) == entries[1]
    assert choose(entries, entries[0].lock.hex[:12]) == entries[2]


@pytest.mark.parametrize("text", ["0", "3", "sha256:", "", "zz", "-1", "²"])
def test_refuses_to_guess(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose([entry(1), entry(2)], text)
    assert "history" in caught.value.hint


def test_a_start_of_two_checksums_is_ambiguous() -> None:
    twins = [
        entry(1, image=Digest("ab" * 32)),
        entry(2, image=Digest("ab" * 31 + "00")),
    ]
    with pytest.raises(UsageError, match="several"):
        choose(twins, "abab")


def test_one_image_of_two_locks_is_chosen_by_a_lock_only() -> None:
    image = Digest("ab" * 32)
    twins = [entry(1, image=image), entry(2, image=image)]
    with pytest.raises(UsageError, match="several"):
        choose(twins, str(image))
    assert choose(twins, str(twins[0].lock)) == twins[0]


def test_finds_the_last_good_one() -> None:
    assert last_good([entry(1), entry(2), entry(3, good=False)]) == entry(2)
    assert last_good([entry(1), entry(2), entry(1, event="promote")]) == entry(2)
    assert last_good([entry(3, good=False)]) is None


def test_what_was_gone_back_to_stands_in_the_place_of_what_was_left() -> None:
    back = entry(1, event="rollback")
    left = [entry(1), entry(2), back, entry(2, event="promote")]
    assert last_good(left) == back
    assert last_good([*left, entry(3, good=False)]) == back
    assert last_good([*left, entry(3)]) == entry(3)


def test_the_newest_result_of_an_image_decides() -> None:
    red = entry(2, good=False, smoke="tokens.video failed", time="2025-06-30T12:00:00Z")
    once_good = [entry(1), entry(2), red]
    assert last_good(once_good) == entry(1)
    assert good_now(once_good, entry(2).lock) == entry(1)
    assert last_good([entry(2), red]) is None
    assert last_good([entry(2), red, entry(2, event="rollback")]) is None
    assert last_good(once_good, once_good[1:2]) is None
    again = entry(2, time="2025-07-01T12:00:00Z")
    assert last_good([*once_good, again]) == again


def test_says_why_a_build_is_not_known_to_be_good() -> None:
    red = entry(2, good=False, smoke="tokens.video failed", time="2025-06-30T12:00:00Z")
    assert why_red([entry(1), red], entry(1)) == ""
    assert why_red([entry(2), red], red) == "tokens.video failed"
    newest = "the newest smoke of its image, of 2025-06-30T12:00:00Z, says: tokens.video failed"
    assert why_red([entry(2), red], entry(2)) == newest
    assert why_red([entry(1)], entry(2)) == "the ledger has no smoke of its image"


def test_a_tag_names_what_it_was_moved_to_last() -> None:
    moved = [
        entry(number, event="promote", note=f"as x:{tag}")
        for number, tag in ((1, "a"), (1, "b"), (2, "a"))
    ]
    assert list(promoted_tags([entry(1), *moved]).items()) == [("x:b", moved[1]), ("x:a", moved[2])]


def test_prefers_the_good_build_of_the_present_lock() -> None:
    entries = [entry(1), entry(2), entry(3, good=False)]
    assert good_now(entries, entry(1).lock) == entry(1)
    assert good_now(entries, entry(3).lock) == entry(2)
    assert good_now(entries, None) == entry(2)
    assert good_now([], entry(1).lock) is None


def _append_many(path: Path, first: int) -> None:
    for number in range(first, first + 50):
        append(path, entry(number))


def test_two_processes_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    spawn = multiprocessing.get_context("spawn")  # a fork of ourselves would share our threads
    writers = [spawn.Process(target=_append_many, args=(path, start)) for start in (0, 1000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries, torn = read(path)
    assert not torn
    assert sorted(e.lock for e in entries) == sorted(
        entry(n).lock for start in (0, 1000) for n in range(start, start + 50)
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"good":true', b'"good":1', "good: expected bool, found int"),
        (b'"event":"build"', b'"event":"burn"', "event: Invalid enum value 'burn'"),
        (b'"kernel":"6.1"', b'"kernel":6', r"host\.kernel: expected str, found int"),
        (b'"kernel"', b'"colonel"', "host: has an unknown key colonel"),
        (b'"engine":"embedded",', b"", "lacks engine"),
    ],
)
def test_an_error_names_the_place(old: bytes, new: bytes, says: str) -> None:
    line = dump_entry(entry())
    assert old in line
    with pytest.raises(LockError, match=says):
        parse_entry(line.replace(old, new))


OURS = sorted((Path(__file__).parents[2] / "lockfiles").glob("*.ledger.jsonl"))


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_our_own_ledgers_read_back_byte_for_byte(path: Path) -> None:
    entries, torn = read(path)
    assert entries
    assert not torn
    assert b"".join(map(dump_entry, entries)) == path.read_bytes()
