"""Referrers by API, by the fallback tag, and where registries answer oddly."""

import contextlib
import json

import pytest

from envbuilder.model.errors import NetworkError
from envbuilder.model.image import OCI_INDEX, OCI_MANIFEST
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.manifests import Descriptor, Manifest, index_of
from envbuilder.registry.referrers import attach_referrers, fallback_tag, list_referrers
from tests.servers.memory import Memory
from tests.servers.scripted import scripted

pytestmark = pytest.mark.integration

SUBJECT = Digest.of(b"subject")


def referrer(name: str) -> Manifest:
    content = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/test",
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(SUBJECT), "size": 1},
        "annotations": {"name": name},
    }
    return Manifest(body=json.dumps(content).encode(), media_type=OCI_MANIFEST)


@pytest.fixture
def open_memory(tmp_path):
    """Open the repository of a registry in memory."""
    with contextlib.ExitStack() as stack:

        def opened(memory: Memory):
            server = stack.enter_context(scripted(memory.respond))
            settings = Settings(backoff=0.01, attempts=2)
            client = Client(settings, docker_config=tmp_path / "none.json")
            return stack.enter_context(client).repository(ImageRef.parse(f"{server.host}/app"))

        yield opened


def test_without_an_api_an_index_under_a_tag_lists_them(open_memory):
    repository = open_memory(Memory())
    assert list_referrers(repository, SUBJECT) == ()
    for name in ("one", "two", "one"):
        attach_referrers(repository, SUBJECT, [referrer(name)])
    found = list_referrers(repository, SUBJECT)
    assert sorted(each.annotations["name"] for each in found) == ["one", "two"]
    assert {each.artifact_type for each in found} == {"application/test"}


def test_with_an_api_no_tag_is_written(open_memory):
    manifest = referrer("one")
    entry = Descriptor(media_type=OCI_MANIFEST, digest=manifest.digest, size=len(manifest.body))

    def api(_memory, call, request) -> bool:
        if "/referrers/" not in request.path:
            return False
        call.answer(200, index_of([entry]).body, Content_Type=OCI_INDEX)
        return True

    memory = Memory(fault=api)
    repository = open_memory(memory)
    attach_referrers(repository, SUBJECT, [manifest])
    assert list_referrers(repository, SUBJECT) == (entry,)
    assert fallback_tag(SUBJECT) not in memory.manifests


def test_a_list_of_several_pages_is_read_to_its_end(open_memory):
    entries = [
        Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(name), size=1)
        for name in (b"one", b"two")
    ]

    def api(_memory, call, request) -> bool:
        if "/referrers/" not in request.path:
            return False
        later = "?last=1" in request.path
        following = {} if later else {"Link": f'<{request.path}?last=1>; rel="next"'}
        body = index_of([entries[1] if later else entries[0]]).body
        call.answer(200, body, Content_Type=OCI_INDEX, **following)
        return True

    assert list_referrers(open_memory(Memory(fault=api)), SUBJECT) == tuple(entries)


def test_a_list_without_an_end_is_refused(open_memory):
    def api(_memory, call, request) -> bool:
        call.answer(200, index_of([]).body, Content_Type=OCI_INDEX,
                    Link=f"<{request.path}>; rel=next")  # fmt: skip
        return True

    with pytest.raises(NetworkError, match="more than 64 pages"):
        list_referrers(open_memory(Memory(fault=api)), SUBJECT)


def test_a_page_of_html_is_no_api(open_memory):
    def page(_memory, call, request) -> bool:
        if "/referrers/" not in request.path:
            return False
        call.answer(200, b"<html>", Content_Type="text/html")
        return True

    repository = open_memory(Memory(fault=page))
    attach_referrers(repository, SUBJECT, [referrer("one")])
    assert len(list_referrers(repository, SUBJECT)) == 1


def test_gitlab_s_answer_with_the_image_itself_is_no_list(open_memory):
    memory = Memory()
    memory.manifests[fallback_tag(SUBJECT)] = referrer("the image").body
    repository = open_memory(memory)
    assert list_referrers(repository, SUBJECT) == ()
