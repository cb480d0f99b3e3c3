"""A tar's pieces become gzip members that any number of threads makes the same."""

import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from envbuilder.resolve.debian.compression import PIECE, Compressor, compressed
from envbuilder.storage.store import Store

DATA = b"".join(hashlib.sha256(b"%d" % number).digest() * 9 for number in range(20_000))


def blob(tmp_path, pieces, threads=None):
    store = Store(tmp_path / "store")
    with store.writer() as out:
        if threads is None:
            with compressed(out) as compressor:
                for piece in pieces:
                    compressor.write(piece)
        else:
            with ThreadPoolExecutor(threads) as pool:
                compressor = Compressor(out, pool)
                for piece in pieces:
                    compressor.write(piece)
                compressor.flush()
        digest = out.commit()
    return store.read(digest), compressor.diff_id


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


def test_a_failure_in_the_block_leaves_no_blob(tmp_path):
    store = Store(tmp_path / "store")

    def fail():
        with store.writer() as out, compressed(out) as compressor:
            compressor.write(DATA)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert store.ls() == []
