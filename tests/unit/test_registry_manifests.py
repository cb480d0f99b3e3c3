"""Platforms, descriptors and the choice from an index."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.errors import NetworkError, UsageError
from envbuilder.model.image import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from envbuilder.model.reference import Digest
from envbuilder.registry.manifests import (
    Descriptor,
    Platform,
    index_of,
    parse_descriptor,
    parse_manifest,
)
from envbuilder.registry.platforms import accepts, is_plain, normalized, select


def child(platform: str | None, content: bytes = b"") -> Descriptor:
    return Descriptor(
        media_type=OCI_MANIFEST,
        digest=Digest.of(content or str(platform).encode()),
        size=1,
        platform=Platform.parse(platform) if platform else None,
    )


@pytest.mark.parametrize(
    ("wanted", "there", "accepted"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v2", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
    ],
)
def test_platforms(wanted, there, accepted):
    assert accepts(Platform.parse(wanted), Platform.parse(there)) is accepted


@pytest.mark.parametrize(
    ("stated", "spelling", "plain"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("Linux/AMD64", "linux/amd64", False),
        ("linux/x86_64", "linux/amd64", False),
        ("linux/x86-64", "linux/amd64", False),
        ("linux/amd64/v1", "linux/amd64", False),
        ("linux/amd64/v3", "linux/amd64/v3", False),
        ("linux/arm64", "linux/arm64", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64/8", "linux/arm64", False),
        ("linux/aarch64", "linux/arm64", False),
        ("linux/aarch64/v9", "linux/arm64/v9", False),
        ("linux/i386/v1", "linux/386", False),
        ("linux/armhf", "linux/arm/v7", False),
        ("linux/armel", "linux/arm/v6", False),
        ("linux/arm", "linux/arm/v7", False),
        ("linux/arm/v7", "linux/arm/v7", True),
        ("macos/arm64", "darwin/arm64", False),
    ],
)
def test_spellings(stated, spelling, plain):
    platform = Platform.parse(stated)
    assert (str(normalized(platform)), is_plain(platform)) == (spelling, plain)


@pytest.mark.parametrize(
    ("wanted", "listed", "chosen"),
    [
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64"], 1),
        ("linux/amd64", ["linux/x86_64", "linux/amd64"], 0),
        ("linux/arm64", ["linux/arm64/v9", "linux/arm64/v8"], 1),
        ("linux/amd64", [None, "linux/amd64"], 1),
        ("linux/amd64", ["linux/arm64", None], 1),
    ],
)
def test_the_choice_is_containerd_s(wanted, listed, chosen):
    children = [child(platform, bytes([n])) for n, platform in enumerate(listed)]
    assert select(children, Platform.parse(wanted), "x") == children[chosen]


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d"])
def test_what_is_no_platform(text):
    with pytest.raises(UsageError, match="not a platform"):
        Platform.parse(text)


def test_the_first_that_fits_is_chosen():
    listed = [child(None), child("unknown/unknown"), child("linux/arm64"), child("linux/amd64")]
    assert select(listed, Platform.parse("linux/amd64"), "x").platform == listed[3].platform


def test_what_there_is_is_named_but_for_attestations():
    listed = [child("unknown/unknown"), child("linux/arm64"), child("linux/arm/v7")]
    with pytest.raises(NetworkError, match=r"it has: linux/arm/v7, linux/arm64$"):
        select(listed, Platform.parse("linux/amd64"), "r/x")
    with pytest.raises(NetworkError, match=r"it has: none$"):
        select([], Platform.parse("linux/amd64"), "r/x")


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        (OCI_MANIFEST, b'{"schemaVersion": 2}', OCI_MANIFEST),
        (f"{DOCKER_MANIFEST}; charset=utf-8", b'{"schemaVersion": 2}', DOCKER_MANIFEST),
        ("text/plain", b'{"schemaVersion": 2, "manifests": []}', OCI_INDEX),
        ("", b'{"schemaVersion": 2, "layers": []}', OCI_MANIFEST),
        ("", b'{"schemaVersion": 2, "mediaType": [], "layers": []}', OCI_MANIFEST),
        ("", b'{"schemaVersion": 2, "mediaType": ["x"], "layers": []}', OCI_MANIFEST),
        (
            OCI_MANIFEST,
            b'{"schemaVersion": 2, "mediaType": "%s"}' % DOCKER_INDEX.encode(),
            DOCKER_INDEX,
        ),
    ],
)
def test_the_document_knows_its_type_best(header, body, expected):
    assert parse_manifest(body, header, "x").media_type == expected


_texts = st.text(max_size=10)
_descriptors = st.builds(
    Descriptor,
    media_type=st.text(min_size=1, max_size=10),
    digest=st.binary(max_size=4).map(Digest.of),
    size=st.integers(min_value=0, max_value=1 << 50),
    platform=st.none()
    | st.builds(
        Platform,
        os=st.sampled_from(["linux", "windows"]),
        architecture=st.sampled_from(["amd64", "arm64"]),
        variant=st.sampled_from(["", "v8"]),
        version=st.sampled_from(["", "6.1"]),
        features=st.sampled_from([(), ("sse4", "x")]),
    ),
    artifact_type=_texts,
    annotations=st.dictionaries(_texts, _texts, max_size=3),
)


@given(st.lists(_descriptors, max_size=4))
def test_an_index_reads_back_what_it_was_made_of(children):
    index = index_of(children)
    read = parse_manifest(index.body, index.media_type, "x")
    assert list(read.children) == children


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(
    st.fixed_dictionaries(
        {}, optional={"mediaType": _json, "digest": _json, "size": _json, "platform": _json}
    )
    | _json
)
def test_what_is_no_descriptor_is_refused(value):
    with pytest.raises(NetworkError, match="what"):
        parse_descriptor(value, "what")
