"""What is newer, asked of a real git server and of an index that tells dates and sizes."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.registry.client import Client
from envbuilder.registry.transfer import push
from envbuilder.storage.store import Store
from envbuilder.workflow.bump.outdated import What, outdated
from envbuilder.workflow.bump.stages import real_stages
from tests.contexts import context
from tests.servers.distribution import registry
from tests.servers.git import git_http
from tests.servers.git_repositories import BORN, Origin
from tests.servers.samples import image_of, layer_of
from tests.servers.scripted import scripted
from tests.unit.locks import lock, source

pytestmark = pytest.mark.integration

UPLOADED = {f"1.{n}": f"2025-0{n + 1}-01T00:00:00Z" for n in range(3)}


def page(call, _):
    files = [
        {"filename": f"app-{version}-py3-none-any.whl", "url": "x", "hashes": {}, "size": 7,
         "upload-time": moment}
        for version, moment in UPLOADED.items()
    ]  # fmt: skip
    body = json.dumps({"meta": {"api-version": "1.1"}, "name": "app", "files": files}).encode()
    call.answer(200, body, Content_Type="application/vnd.pypi.simple.v1+json")


@pytest.fixture
def stages(tmp_path):
    made = real_stages(context(Store(tmp_path / "store")), folder=tmp_path)
    return replace(made, refresh=lambda locked: locked)  # Debian's archive is another test's


def look(locked, stages, youngest=None):
    return outdated(locked, stages=stages, progress=Silent(), youngest=youngest)


@pytest.mark.parametrize(
    ("index", "youngest", "newest"),
    [
        ({}, None, "1.2"),
        ({}, datetime(2025, 2, 15, tzinfo=UTC), "1.1"),
        ({"exclude_newer": "2025-02-01"}, None, "1.1"),
        ({"exclude_newer": "2025-01-15"}, None, None),
    ],
)
@pytest.mark.usefixtures("told_nothing")
def test_releases_of_an_index(stages, index, youngest, newest):
    with scripted(page) as server:
        locked = lock({"app": "1.0"}, index={"url": f"http://{server.host}/simple", **index})
        found = look(locked, stages, youngest)
    if newest is None:
        assert found == ()
    else:
        (newer,) = found
        told = newer.what, newer.newest, newer.date, newer.size, newer.pin
        assert told == (What.RELEASE, newest, UPLOADED[newest], 7, f"app=={newest}")


def test_commits_and_tags_of_a_git_server(tmp_path, stages):
    origin = Origin.create(tmp_path / "served" / "proj")
    commits = [origin.commit({"n": str(number)}) for number in range(4)]
    for name, commit in (("v1", commits[0]), ("v2", commits[1]), ("v10", commits[2])):
        origin.git("tag", name, commit)
    origin.git("tag", "--force", "v1", commits[3])
    moments = [datetime.fromtimestamp(BORN + 60 * (n + 1), UTC) for n in range(4)]

    with git_http(tmp_path / "served") as server:

        def told(youngest=None, **pin):
            url = server.address("proj")
            pinned = replace(source("proj", commits[0]), repository=url)
            locked = lock({}, pins={"proj": {"git": url, **pin}}, sources=(pinned,))
            return [(each.what, each.newest, each.date) for each in look(locked, stages, youngest)]

        dates = [moment.isoformat() for moment in moments]
        assert told(branch="main") == [(What.COMMIT, commits[3], dates[3])]
        assert told(moments[2], branch="main") == [(What.COMMIT, commits[2], dates[2])]
        assert told(moments[0], branch="main") == []
        moved = (What.MOVED, commits[3], dates[3])
        assert told(tag="v1") == [moved, (What.TAG, "v10", dates[2])]
        assert told(moments[1], tag="v1") == [moved, (What.TAG, "v2", dates[1])]


def test_newer_images_in_a_registry(tmp_path):
    store = Store(tmp_path / "store")
    stages = real_stages(context(store), folder=tmp_path)
    with registry(tmp_path / "registry") as server:

        def publish(name, content):
            image = image_of(
                [layer_of(store, {"opt/file": content, "usr/bin/python3.12": b"x"}, "file")]
            )
            with Client.from_environment() as client:
                push(client, image, store, ImageRef.parse(f"{server.host}/{name}"), Silent())
            return image

        publish("base:1", b"one")
        publish("builder:1", b"one")
        wanted = lock(
            {},
            pins={"proj": {"git": "https://example.org/proj.git", "branch": "main"}},
            base={"image": f"{server.host}/base:1"},
            build={"image": f"{server.host}/builder:1"},
        )
        locked = stages.refresh(wanted)
        assert look(locked, stages) == ()
        fresh = publish("builder:1", b"two")
        (newer,) = look(locked, stages)
    assert (newer.what, newer.name, newer.pin) == (What.BASE, "builder", "system")
    assert newer.newest == f"{server.host}/builder:1 ({fresh.digest.hex[:12]})"
    assert newer.size == fresh.layers[0].size
