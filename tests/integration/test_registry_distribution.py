"""The client against Debian's docker-registry: plain, with passwords, TLS and tokens."""

import base64
import gzip
import json
import subprocess
import traceback
from pathlib import Path

import pytest

from envbuilder.model.errors import BuildError, NetworkError
from envbuilder.model.progress import Silent
from envbuilder.model.reference import ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry import uploads
from envbuilder.registry.blobs import has_blob, stream_blob
from envbuilder.registry.client import Client
from envbuilder.registry.images import fetch_image, layer_descriptor
from envbuilder.registry.manifests import DOCKER_MANIFEST, Descriptor, Manifest, Platform, index_of
from envbuilder.registry.transfer import pull, push
from envbuilder.storage.store import Store
from tests.servers.distribution import PASSWORD, USER, Server, registry
from tests.servers.samples import image_of, layer_of, noise, small_image
from tests.servers.tokens import IDENTITY, token_server

pytestmark = pytest.mark.integration

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def client(tmp_path):
    with Client(quick(), docker_config=tmp_path / "none.json") as opened:
        yield opened


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def quick(**values) -> Settings:
    """Settings that lose no time in tests."""
    return Settings(**{"backoff": 0.01, "attempts": 3, **values})


def ref(server: Server, text: str) -> ImageRef:
    return ImageRef.parse(f"{server.host}/{text}")


def test_an_image_comes_back_as_it_was_pushed(server, client, store, tmp_path):
    image = small_image(store, layers=6)
    target = ref(server, "app/round:v1")
    assert push(client, image, store, target, Silent()) == image.digest

    elsewhere = Store(tmp_path / "elsewhere")
    fetched = pull(client, target, AMD64, elsewhere, Silent())

    assert (fetched.manifest, fetched.config) == (image.manifest, image.config)
    for layer in image.layers:
        assert elsewhere.read(layer.digest) == store.read(layer.digest)


def test_an_image_can_be_pulled_by_digest_alone(server, client, store):
    image = small_image(store, seed=1)
    push(client, image, store, ref(server, "app/digest:v1"), Silent())
    by_digest = ref(server, "app/digest").at(image.digest)
    assert fetch_image(client, by_digest, AMD64).digest == image.digest


def test_pushing_by_digest_moves_no_tag(server, client, store):
    image = small_image(store, seed=2)
    target = ref(server, "app/untagged").at(image.digest)
    push(client, image, store, target, Silent())
    repository = client.repository(target)
    assert repository.find(image.digest) == image.digest
    assert repository.find("latest") is None


def test_a_blob_that_is_there_is_not_needed_in_the_store(server, client, store):
    shared = small_image(store, seed=3)
    push(client, shared, store, ref(server, "app/shared:v1"), Silent())
    layer = layer_of(store, {"new": b"new"})
    bumped = image_of([*shared.layers, layer])
    for old in shared.layers:
        store.discard(old.digest)
    push(client, bumped, store, ref(server, "app/shared:v2"), Silent())
    assert fetch_image(client, ref(server, "app/shared:v2"), AMD64).digest == bumped.digest


def test_a_layer_of_a_sibling_is_mounted(server, client, store):
    image = small_image(store, seed=4)
    push(client, image, store, ref(server, "base/one:v1"), Silent())
    for layer in image.layers:
        store.discard(layer.digest)
    source = ref(server, "base/one:v1")
    push(client, image, store, ref(server, "other/two:v1"), Silent(), sources=[source])
    assert fetch_image(client, ref(server, "other/two:v1"), AMD64).digest == image.digest
    assert not any(store.has(layer.digest) for layer in image.layers), "nothing was transferred"


def test_a_layer_of_another_registry_is_fetched(server, client, store, tmp_path):
    image = small_image(store, seed=5)
    with registry(tmp_path / "second") as second:
        push(client, image, store, ref(second, "base:v1"), Silent())
        for layer in image.layers:
            store.discard(layer.digest)
        sources = [ref(second, "base:v1")]
        push(client, image, store, ref(server, "copied:v1"), Silent(), sources=sources)
    assert fetch_image(client, ref(server, "copied:v1"), AMD64).digest == image.digest


def test_a_layer_that_is_nowhere_is_named(server, client, store):
    image = small_image(store, seed=6)
    store.discard(image.layers[1].digest)
    with pytest.raises(Exception, match="layer 1") as caught:
        push(client, image, store, ref(server, "app/lost:v1"), Silent())
    assert caught.value.exit_code == 5
    assert client.repository(ref(server, "app/lost")).find("v1") is None


def test_an_index_leads_to_the_platform(server, client, store):
    amd = small_image(store, seed=7)
    arm = image_of([layer_of(store, {"arm": b"arm"})], architecture="arm64")
    children = []
    for image, platform in ((arm, ARM64), (amd, AMD64)):
        push(client, image, store, ref(server, "multi").at(image.digest), Silent())
        size = len(image.manifest)
        children.append(
            Descriptor(
                media_type=image.media_type, digest=image.digest, size=size, platform=platform
            )
        )
    index = index_of(children)
    client.repository(ref(server, "multi")).put_manifest(index, "v1")
    assert fetch_image(client, ref(server, "multi:v1"), AMD64).digest == amd.digest
    assert fetch_image(client, ref(server, "multi:v1"), ARM64).digest == arm.digest
    with pytest.raises(NetworkError, match=r"no image for linux/s390x; it has: linux/amd64, linux"):
        fetch_image(client, ref(server, "multi:v1"), Platform.parse("linux/s390x"))


def test_an_image_for_another_machine_is_refused(server, client, store):
    arm = image_of([layer_of(store, {"arm": b"arm"})], architecture="arm64")
    push(client, arm, store, ref(server, "arm:v1"), Silent())
    with pytest.raises(NetworkError, match="for linux/arm64, not for linux/amd64"):
        fetch_image(client, ref(server, "arm:v1"), AMD64)


def test_docker_media_types_are_read(server, client, store):
    image = small_image(store, seed=8)
    push(client, image, store, ref(server, "docker:oci"), Silent())
    content = json.loads(image.manifest)
    content["mediaType"] = DOCKER_MANIFEST
    content["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    for layer in content["layers"]:
        layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    manifest = Manifest(body=json.dumps(content, indent=3).encode(), media_type=DOCKER_MANIFEST)
    client.repository(ref(server, "docker")).put_manifest(manifest, "v2")
    fetched = fetch_image(client, ref(server, "docker:v2"), AMD64)
    assert fetched.media_type == DOCKER_MANIFEST
    assert [layer.diff_id for layer in fetched.layers] == [x.diff_id for x in image.layers]


def test_what_is_missing_is_named(server, client):
    with pytest.raises(NetworkError, match=r"nowhere/at/all:v9 is not in the registry"):
        fetch_image(client, ref(server, "nowhere/at/all:v9"), AMD64)


def test_a_damaged_blob_is_refused_and_leaves_nothing(server, client, store, tmp_path):
    image = small_image(store, seed=9, size=5000)
    target = ref(server, "damaged:v1")
    push(client, image, store, target, Silent())
    path = server.blob_path(image.layers[0].digest.hex)
    path.write_bytes(bytes(path.stat().st_size))
    elsewhere = Store(tmp_path / "elsewhere")
    with pytest.raises(NetworkError, match="another hash"):
        pull(client, target, AMD64, elsewhere, Silent())
    assert not elsewhere.has(image.layers[0].digest)
    assert not list((tmp_path / "elsewhere" / "tmp").iterdir())


def test_large_blobs_go_up_in_a_stream(server, client, store, monkeypatch):
    monkeypatch.setattr(uploads, "RESUMABLE", 1000)
    image = small_image(store, seed=10, size=300_000)
    target = ref(server, "large:v1")
    push(client, image, store, target, Silent())
    repository = client.repository(target)
    for layer in image.layers:
        assert has_blob(repository, layer.digest)
        assert b"".join(stream_blob(repository, layer_descriptor(layer))) == store.read(
            layer.digest
        )


def test_a_damaged_layer_in_the_store_reaches_no_registry(server, client, store):
    image = small_image(store, seed=11)
    path = store.path(image.layers[0].digest)
    path.chmod(0o644)
    path.write_bytes(gzip.compress(noise(image.layers[0].size))[: image.layers[0].size])
    with pytest.raises(BuildError, match="in the store is damaged"):
        push(client, image, store, ref(server, "bad:v1"), Silent())
    assert client.repository(ref(server, "bad")).find("v1") is None


# -- logins -------------------------------------------------------------------------------------


def docker_config(folder: Path, host: str, **entry: str) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"auths": {host: entry}}))
    return path


def basic(password: str) -> str:
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with registry(tmp_path_factory.mktemp("guarded"), passwords=True, tls=True) as running:
        yield running


def test_a_password_opens_a_registry_with_a_private_ca(guarded, store, tmp_path):
    config = docker_config(tmp_path, guarded.host, auth=basic(PASSWORD))
    image = small_image(store)
    with Client(quick(authorities=guarded.ca), docker_config=config) as client:
        push(client, image, store, ref(guarded, "app:v1"), Silent())
        assert fetch_image(client, ref(guarded, "app:v1"), AMD64).digest == image.digest


def test_docker_s_own_folder_of_certificates_serves(guarded, tmp_path):
    folder = tmp_path / "certs.d" / guarded.host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(guarded.ca.read_bytes())
    config = docker_config(tmp_path, guarded.host, username=USER, password=PASSWORD)
    settings = quick(certificates=tmp_path / "certs.d")
    with Client(settings, docker_config=config) as client:
        assert client.repository(ref(guarded, "app")).find("nothing") is None


def test_a_folder_of_hashed_certificates_serves(guarded, tmp_path):
    (tmp_path / "authorities").mkdir()
    (tmp_path / "authorities" / "ca.pem").write_bytes(guarded.ca.read_bytes())
    subprocess.run(["openssl", "rehash", tmp_path / "authorities"], check=True)
    config = docker_config(tmp_path, guarded.host, username=USER, password=PASSWORD)
    named = Settings.from_environment({"REQUESTS_CA_BUNDLE": str(tmp_path / "authorities")})
    with Client(named, docker_config=config) as client:
        assert client.repository(ref(guarded, "app")).find("nothing") is None


def test_an_unknown_ca_is_refused_at_once(guarded, tmp_path):
    config = docker_config(tmp_path, guarded.host, auth=basic(PASSWORD))
    with (
        Client(quick(), docker_config=config) as client,
        pytest.raises(NetworkError, match="certificate verify failed") as caught,
    ):
        client.repository(ref(guarded, "app")).find("v1")
    assert "SSL_CERT_FILE" in caught.value.hint


@pytest.mark.parametrize("entry", [{}, {"auth": basic("wrong-secret")}])
def test_no_or_a_wrong_password_is_one_clear_error(guarded, tmp_path, entry):
    config = docker_config(tmp_path, guarded.host, **entry)
    with (
        Client(quick(authorities=guarded.ca), docker_config=config) as client,
        pytest.raises(NetworkError, match=r"refused the login|asks for a login") as caught,
    ):
        client.repository(ref(guarded, "app")).manifest("v1")
    assert caught.value.hint == f"docker login {guarded.host}"
    assert "wrong-secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("entry", [{"auth": basic(PASSWORD)}, {"identitytoken": IDENTITY}])
def test_tokens_are_fetched_with_password_or_identity_token(store, tmp_path, entry):
    image = small_image(store)
    with (
        token_server() as tokens,
        registry(tmp_path / "r", token_realm=tokens.realm, token_root=tokens.root) as server,
    ):
        config = docker_config(tmp_path, server.host, **entry)
        with Client(quick(), docker_config=config) as client:
            push(client, image, store, ref(server, "a/app:v1"), Silent())
            push(
                client,
                image,
                Store(tmp_path / "empty"),
                ref(server, "b/app:v1"),
                Silent(),
                sources=[ref(server, "a/app:v1")],
            )
            fetched = fetch_image(client, ref(server, "b/app:v1"), AMD64)
    assert fetched.digest == image.digest
    assert tokens.server is not None
    assert len(tokens.server.seen) <= 6, "one token per set of scopes, not per request"
