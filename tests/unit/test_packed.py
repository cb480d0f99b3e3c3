"""Packed files as plain streams: what comes out is right, and counts."""

import bz2
import gzip
import io
import lzma
import random

import pytest

from envbuilder.layers.bounds import Budget
from envbuilder.layers.packed import DAMAGES, XZ_MEMORY, unpacked
from envbuilder.model.errors import BuildError

PLAIN = random.Random(0).randbytes(300_000) + bytes(300_000)
PACKERS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "the best xz": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}


def read(data, budget=None):
    stream = unpacked(io.BytesIO(data), budget or Budget.of(len(data), BuildError))
    plain = stream.read()
    assert stream.read() == b""  # the end stays the end
    return plain


@pytest.mark.parametrize("kind", PACKERS)
def test_what_was_packed_comes_out(kind):
    packed = PACKERS[kind](PLAIN)
    budget = Budget.of(len(packed), BuildError)
    left = budget.content_left
    assert read(packed, budget) == PLAIN
    assert left - budget.content_left == len(PLAIN)
    if kind != "plain":
        assert read(packed + packed) == PLAIN * 2


def test_zeros_behind_xz_are_nothing():
    packed = lzma.compress(PLAIN) + bytes(8)
    assert read(packed) == PLAIN
    assert read(packed + lzma.compress(PLAIN)) == PLAIN * 2


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_what_is_cut_or_spoilt_is_damaged(kind):
    packed = PACKERS[kind](PLAIN)
    for damaged in (packed[:-10], packed[:1000], packed[:20] + b"?" * 50 + packed[70:]):
        with pytest.raises(DAMAGES):
            read(damaged)


def test_xz_has_the_memory_that_the_best_needs_and_no_more():
    fast = {"mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 5, "depth": 1}
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": XZ_MEMORY, **fast}]
    with pytest.raises(lzma.LZMAError, match=r"[Mm]emory"):
        read(lzma.compress(b"x", filters=filters))


def test_what_comes_out_is_bounded():
    budget = Budget(refuse=BuildError, content_left=1 << 20)
    with pytest.raises(BuildError, match="inflates"):
        read(gzip.compress(bytes(2 << 20)), budget)
