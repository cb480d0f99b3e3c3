"""A tar's pieces become gzip members that any number of threads makes the same."""

import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from envbuilder.resolve.debian.compression import PIECE, Compressor, PackedTar, compressor
from envbuilder.storage.store import Store

DATA = b"".join(hashlib.sha256(b"%d" % number).digest() * 9 for number in range(20_000))


def blob(tmp_path, pieces, threads=None):
    store = Store(tmp_path / "store")
    with store.writer() as out:
        with ThreadPoolExecutor(threads) as pool:
            shared = Compressor(pool)
            tar = PackedTar(out, shared)
            for piece in pieces:
                tar.write(piece)
            tar.flush()
            shared.collect()
        digest = out.commit()
    return store.read(digest), tar.diff_id


def sliced(size):
    return [DATA[at : at + size] for at in range(0, len(DATA), size)]


def test_it_is_gzip_of_what_was_written(tmp_path):
    assert len(DATA) > 5 * PIECE
    content, diff_id = blob(tmp_path, sliced(100_000))
    assert gzip.decompress(content) == DATA
    assert diff_id.hex == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("size", [4099, PIECE, 3 * PIECE + 1])
def test_neither_threads_nor_writes_change_it(tmp_path, threads, size):
    assert blob(tmp_path, sliced(size), threads) == blob(tmp_path, sliced(PIECE), 2)


def test_nothing_is_no_member(tmp_path):
    assert blob(tmp_path, [])[0] == b""


def test_the_compressed_bytes_are_what_they_have_always_been(tmp_path):
    content, _ = blob(tmp_path, [DATA])
    assert (
        hashlib.sha256(content).hexdigest()
        == "39ba2d71c9f426e883f6fdbd768cdc7328a2df5111b27c365d9bb98612815f13"
    )


def test_tars_that_are_written_in_turn_do_not_mix(tmp_path):
    store = Store(tmp_path / "store")
    with store.writer() as one, store.writer() as other, compressor() as shared:
        tars = [PackedTar(one, shared), PackedTar(other, shared)]
        for number, piece in enumerate(sliced(400_000)):
            tars[number % 2].write(piece)
        for tar in tars:
            tar.flush()
        shared.collect()
        read = [gzip.decompress(store.read(out.commit())) for out in (one, other)]
    assert read == [b"".join(sliced(400_000)[turn::2]) for turn in (0, 1)]


def test_a_failure_in_the_block_leaves_no_blob(tmp_path):
    store = Store(tmp_path / "store")

    def fail():
        with store.writer() as out, compressor() as shared:
            PackedTar(out, shared).write(DATA)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert store.ls() == []
