import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.errors import UsageError
from envbuilder.model.reference import Digest, ImageRef

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest"),
        ("nvidia/cuda:12.4.1-devel", "docker.io/nvidia/cuda:12.4.1-devel"),
        ("localhost/a", "localhost/a:latest"),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("localhost:65535/a", "localhost:65535/a:latest"),
        (f"ghcr.io/a/b@sha256:{HEX}", f"ghcr.io/a/b@sha256:{HEX}"),
        (f"ghcr.io/a/b:t@sha256:{HEX}", f"ghcr.io/a/b:t@sha256:{HEX}"),
    ],
)
def test_reference_is_spelled_out(text, full):
    assert str(ImageRef.parse(text)) == full
    assert ImageRef.parse(full) == ImageRef.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UPPER",
        "a b",
        "a:",
        "a:b:c",
        "-a",
        "a/../b",
        "a@sha256:zz",
        "x.y/",
        "a\n",
        "a:\n",
        "localhost:65536/a",
        "localhost:99999/a",
        "[::1]:65536/a",
    ],
)
def test_bad_reference_is_refused(text):
    with pytest.raises(UsageError, match=r"expected|not a"):
        ImageRef.parse(text)


@given(st.text(max_size=40))
def test_reference_parses_to_itself_or_not_at_all(text):
    try:
        ref = ImageRef.parse(text)
    except UsageError:
        return
    assert ImageRef.parse(str(ref)) == ref


def test_digest_round_trip():
    digest = Digest.of(b"")
    assert str(digest) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Digest.parse(str(digest)) == digest
    for bad in ("sha512:" + HEX, "sha256:" + HEX.upper(), "sha256:" + HEX + "\n", HEX):
        with pytest.raises(UsageError):
            Digest.parse(bad)
