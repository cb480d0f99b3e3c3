"""The client against servers that misbehave on purpose: refused, in time, and without a secret."""

import base64
import contextlib
import gzip
import json
import logging
import threading
import time
import traceback

import pytest

from envbuilder.model.errors import NetworkError
from envbuilder.model.image import OCI_INDEX, OCI_MANIFEST
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.blobs import read_blob, stream_blob
from envbuilder.registry.client import Client
from envbuilder.registry.images import fetch_image
from envbuilder.registry.manifests import Descriptor, Platform
from envbuilder.registry.transfer import pull
from envbuilder.storage.store import Store
from tests.servers.samples import manifest_of, noise, small_image
from tests.servers.scripted import scripted

pytestmark = pytest.mark.integration

AMD64 = Platform(os="linux", architecture="amd64")
SECRET = "hunter2-is-the-password"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}).encode()


@pytest.fixture
def talk(tmp_path):
    """Open a repository of a scripted server, logged in with SECRET."""
    opened = []

    def connect(server, **values):
        auth = base64.b64encode(f"tester:{SECRET}".encode()).decode()
        config = tmp_path / "config.json"
        config.write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
        settings = Settings(**{"backoff": 0.01, "attempts": 3, "read_seconds": 2, **values})
        client = Client(settings, docker_config=config)
        opened.append(client)
        return client, ImageRef.parse(f"{server.host}/app:v1")

    yield connect
    for client in opened:
        client.close()


def blob_of(data: bytes) -> Descriptor:
    return Descriptor(media_type="x", digest=Digest.of(data), size=len(data))


def fails(match: str, action) -> NetworkError:
    """Expect NetworkError, with no secret in its message, hint and traceback."""
    with pytest.raises(NetworkError, match=match) as caught:
        action()
    text = "".join(traceback.format_exception(caught.value)) + caught.value.hint
    encoded = base64.b64encode(f"tester:{SECRET}".encode()).decode()
    for secret in (SECRET, encoded, "signature=s3cret"):
        assert secret not in text
    return caught.value


# -- logins -------------------------------------------------------------------------------------


@pytest.mark.parametrize("challenge", ['Basic realm="x"', "", "Negotiate", 'Digest realm="x"'])
def test_a_server_that_always_says_401_is_left_alone(talk, challenge):
    with scripted(lambda call, _: call.answer(401, WWW_Authenticate=challenge)) as server:
        client, ref = talk(server)
        fails("refused the login", lambda: client.repository(ref).manifest("v1"))
        assert len(server.seen) <= 2


def test_a_token_that_is_never_good_enough_ends(talk):
    def respond(call, request):
        if request.path.startswith("/token"):
            call.answer(200, b'{"token": "useless"}')
        else:
            realm = f"http://{request.headers['Host']}/token"
            call.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="x"')

    with scripted(respond) as server:
        client, ref = talk(server)
        fails("refused the login", lambda: client.repository(ref).manifest("v1"))
        assert len(server.seen) <= 6


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"token": null}', b'{"token": ["x"]}', b"{", b'{"expires_in": 5}',
     b'{"token": "x", "expires_in": 1%s}' % (b"0" * 400), b"[" * 60_000,
     f'{{"token": "{SECRET}\\n"}}'.encode(), f'{{"token": "{SECRET}ł"}}'.encode()],
)  # fmt: skip
def test_a_token_server_without_a_token_is_named(talk, body):
    def respond(call, request):
        if request.path.startswith("/token"):
            call.answer(200, body)
        else:
            realm = f"http://{request.headers['Host']}/token"
            call.answer(401, WWW_Authenticate=f'Bearer realm="{realm}"')

    with scripted(respond) as server:
        client, ref = talk(server)
        said = "/token (gave an answer without a token|is not JSON)"
        fails(said, lambda: client.repository(ref).find("v1"))


@pytest.mark.parametrize(
    ("realm", "match"),
    [
        ("http://example.test/token", "not HTTPS"),
        ("file:///etc/passwd", "not HTTPS"),
        ("", "not HTTPS"),
        ("x", "not HTTPS"),
        ("http://[bad", "an address that is none"),
        ("http://127.0.0.1:999999/token", "an address that is none"),
    ],
)
def test_a_login_goes_to_no_unsafe_realm(talk, realm, match):
    challenge = f'Bearer realm="{realm}"'
    with scripted(lambda call, _: call.answer(401, WWW_Authenticate=challenge)) as server:
        client, ref = talk(server)
        fails(match, lambda: client.repository(ref).manifest("v1"))


def test_what_no_header_can_carry_is_not_shown(talk):
    with scripted(lambda call, _: call.answer(200)) as server:
        client, ref = talk(server)
        headers = {"X-Login": f"{SECRET}\n"}
        fails("cannot send", lambda: client.repository(ref).send("GET", "x", headers=headers))


def test_a_server_that_echoes_the_login_gets_it_into_no_message(talk):
    def respond(call, request):
        if "Authorization" not in request.headers:
            call.answer(401, WWW_Authenticate="Basic realm=x")
            return
        said = f"bad header {request.headers['Authorization']} {SECRET}\x1b[31m\n"
        body = json.dumps({"errors": [{"code": "DENIED", "message": said}]}).encode()
        call.answer(403, body)

    with scripted(respond) as server:
        client, ref = talk(server)
        error = fails("DENIED: bad header", lambda: client.repository(ref).manifest("v1"))
    assert error.message.isprintable()
    assert "docker login" in error.hint


def test_netrc_is_not_read(talk, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("default login thief password stolen\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with scripted(lambda call, _: call.answer(200, MANIFEST)) as server:
        client, ref = talk(server)
        client.repository(ref).manifest("v1")
        assert "Authorization" not in server.seen[0].headers


def test_no_log_line_holds_a_secret(talk, caplog):
    data = noise(1000)

    def respond(call, request):
        if request.path.startswith("/store"):
            call.answer(200, data)
        elif "Authorization" not in request.headers:
            call.answer(401, WWW_Authenticate="Basic realm=x")
        else:
            target = f"http://{request.headers['Host']}/store?signature=s3cret"
            call.answer(307, Location=target)

    with caplog.at_level(logging.DEBUG), scripted(respond) as server:
        client, ref = talk(server)
        assert read_blob(client.repository(ref), blob_of(data), limit=2000) == data
    assert SECRET not in caplog.text
    assert "s3cret" not in caplog.text


# -- redirects ----------------------------------------------------------------------------------


def test_a_redirect_to_another_host_gets_no_login(talk):
    data = noise(5000)
    with scripted(lambda call, _: call.answer(200, data)) as storage:

        def respond(call, request):
            if "Authorization" not in request.headers:
                call.answer(401, WWW_Authenticate="Basic realm=x")
            else:
                call.answer(307, Location=f"http://{storage.host}/x?signature=s3cret")

        with scripted(respond) as server:
            client, ref = talk(server)
            found = b"".join(stream_blob(client.repository(ref), blob_of(data)))
            assert "Authorization" in server.seen[-1].headers
    assert found == data
    assert "Authorization" not in storage.seen[0].headers


def test_a_redirect_away_from_tls_is_refused(talk):
    where = "http://storage.example.test/x?signature=s3cret"
    with scripted(lambda call, _: call.answer(302, Location=where)) as server:
        client, ref = talk(server)
        blob = blob_of(b"x")
        fails("not HTTPS", lambda: read_blob(client.repository(ref), blob, limit=10))


def test_a_redirect_that_ends_nowhere_names_no_query(talk):
    where = "http://127.0.0.1:1/x?signature=s3cret"
    with scripted(lambda call, _: call.answer(302, Location=where)) as server:
        client, ref = talk(server)
        blob = blob_of(b"x")
        fails("Connection refused", lambda: read_blob(client.repository(ref), blob, limit=10))


@pytest.mark.parametrize(
    ("where", "match"),
    [
        ("http://[bad", "an address that is none"),
        ("http://127.0.0.1:999999/x", "an address that is none"),
        ("https://a..b/", "cannot talk to https://a..b/"),
        (f"https://{'a' * 70}.test/", "cannot talk to https://aaa"),
    ],
)
def test_a_redirect_to_what_is_no_address_is_refused(talk, where, match):
    with scripted(lambda call, _: call.answer(307, Location=where)) as server:
        client, ref = talk(server, attempts=1)
        fails(match, lambda: client.repository(ref).manifest("v1"))


def test_a_redirect_with_an_endless_body_is_not_read(talk):
    def respond(call, request):
        if request.path == "/there":
            call.answer(200, MANIFEST)
            return
        call.raw(b"HTTP/1.1 307 Go\r\nLocation: /there\r\n\r\n")
        while True:
            call.wfile.write(bytes(1 << 16))

    with scripted(respond) as server:
        client, ref = talk(server)
        assert client.repository(ref).manifest("v1").body == MANIFEST


def test_redirects_in_a_circle_end(talk):
    with scripted(lambda call, request: call.answer(302, Location=request.path)) as server:
        client, ref = talk(server)
        fails("redirects", lambda: client.repository(ref).manifest("v1"))
        assert len(server.seen) < 10


# -- statuses -----------------------------------------------------------------------------------


def test_429_waits_as_long_as_it_is_asked_to(talk):
    answers = iter([429, 503, 200])

    def respond(call, _):
        status = next(answers)
        call.answer(status, MANIFEST if status == 200 else b"", Retry_After="0")

    with scripted(respond) as server:
        client, ref = talk(server)
        assert client.repository(ref).manifest("v1").body == MANIFEST


def test_a_wait_that_is_too_long_is_refused_and_named(talk):
    with scripted(lambda call, _: call.answer(429, Retry_After="3600")) as server:
        client, ref = talk(server)
        fails("asks to wait 3600 seconds", lambda: client.repository(ref).manifest("v1"))
        assert len(server.seen) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_errors_that_last_are_tried_a_few_times_and_named(talk, status):
    body = b'{"errors": [{"code": "UNKNOWN", "message": "disk on fire"}]}'
    with scripted(lambda call, _: call.answer(status, body)) as server:
        client, ref = talk(server)
        said = f"answered {status}: UNKNOWN: disk on fire"
        fails(said, lambda: client.repository(ref).manifest("v1"))
        assert len(server.seen) == 3


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"errors": 1}', b'{"errors": [1]}', b"[" * 60_000]
)
def test_403_without_words_is_still_clear(talk, body):
    with scripted(lambda call, _: call.answer(403, body)) as server:
        client, ref = talk(server)
        error = fails("answered 403", lambda: client.repository(ref).manifest("v1"))
        assert "ask for access" in error.hint


def test_nobody_at_home_is_one_clear_error(talk):
    with scripted(lambda call, _: call.answer(200)) as server:
        client, ref = talk(server)
    fails("Connection refused", lambda: client.repository(ref).manifest("v1"))


# -- manifests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"", "not JSON"),
        (b"<html></html>", "not JSON"),
        (b"[]", "schema version 2"),
        (b'{"schemaVersion": 1}', "schema version 2"),
        (b"[" * 100_000, "not JSON"),
        (b'{"schemaVersion": 2, "layers": [], "manifests": []}', "at once"),
        (b'{"schemaVersion": 2, "config": {}, "Config": {}, "layers": []}', "stands twice"),
        (b'{"schemaVersion": 2, "layers": [], "layers": []}', "stands twice"),
        (b'{"schemaVersion": 2, "layers": []}', "config of"),
        (b'{"schemaVersion": 2, "config": {"digest": "sha256:0", "size": 1}}', "config of"),
        (b'{"schemaVersion": 2, "config": {"mediaType": "x", "size": -1}}', "config of"),
        (b'{"schemaVersion": 2, "manifests": 7}', "list of descriptors"),
        (b'{"schemaVersion": 2, "manifests": [7]}', "not a descriptor"),
    ],
)
def test_what_is_no_manifest_is_refused(talk, body, match):
    with scripted(lambda call, _: call.answer(200, body)) as server:
        client, ref = talk(server)
        fails(match, lambda: fetch_image(client, ref, AMD64))


@pytest.mark.parametrize("config", [b"[" * 60_000, b'{"rootfs": {"diff_ids": []}, "history": 7}'])
def test_what_is_no_config_is_refused(talk, config):
    manifest = manifest_of(config, [])

    def respond(call, request):
        call.answer(200, manifest if "manifests" in request.path else config)

    with scripted(respond) as server:
        client, ref = talk(server)
        fails("not an image manifest with its config", lambda: fetch_image(client, ref, AMD64))


def test_a_layer_of_endless_size_is_refused(talk):
    config = b'{"rootfs": {"diff_ids": ["sha256:%s"]}}' % (b"0" * 64)
    content = json.loads(manifest_of(config, []))
    layer = {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": float("inf")}
    manifest = json.dumps(content | {"layers": [layer]}).encode()

    def respond(call, request):
        call.answer(200, manifest if "manifests" in request.path else config)

    with scripted(respond) as server:
        client, ref = talk(server)
        fails("no JSON number", lambda: fetch_image(client, ref, AMD64))


def test_a_length_of_many_digits_is_no_length(talk):
    head = f"HTTP/1.1 404 Not Found\r\nContent-Length: {'9' * 5000}\r\n\r\n"
    with scripted(lambda call, _: call.raw(head.encode())) as server:
        client, ref = talk(server)
        assert client.repository(ref).find("v1") is None


def test_a_manifest_over_4_mib_is_refused_unread(talk):
    with scripted(lambda call, _: call.answer(200, bytes(64 << 20))) as server:
        client, ref = talk(server)
        fails("more than the 4194304 bytes", lambda: client.repository(ref).manifest("v1"))


def test_an_endless_manifest_is_refused(talk):
    def respond(call, _):
        call.raw(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            call.wfile.write(bytes(1 << 16))

    with scripted(respond) as server:
        client, ref = talk(server)
        fails("more than", lambda: client.repository(ref).manifest("v1"))


def test_a_manifest_that_is_not_its_digest_is_refused(talk):
    with scripted(lambda call, _: call.answer(200, MANIFEST)) as server:
        client, ref = talk(server)
        wanted = Digest.of(b"something else")
        fails("but what came is", lambda: client.repository(ref).manifest(wanted))


def test_a_manifest_that_is_not_what_the_header_says_is_refused(talk):
    lie = str(Digest.of(b"something else"))
    with scripted(lambda call, _: call.answer(200, MANIFEST, Docker_Content_Digest=lie)) as server:
        client, ref = talk(server)
        fails("but what came is", lambda: client.repository(ref).manifest("v1"))


@pytest.mark.parametrize("lie", ["sha256:xyz", "sha512:00", "nonsense"])
def test_a_header_that_is_no_digest_is_refused(talk, lie):
    with scripted(lambda call, _: call.answer(200, MANIFEST, Docker_Content_Digest=lie)) as server:
        client, ref = talk(server)
        fails("claims the digest", lambda: client.repository(ref).find("v1"))


def test_a_compressed_manifest_that_nobody_asked_for_is_refused(talk):
    packed = gzip.compress(MANIFEST)
    with scripted(lambda call, _: call.answer(200, packed, Content_Encoding="gzip")) as server:
        client, ref = talk(server)
        fails("not JSON", lambda: client.repository(ref).manifest("v1"))
        by_digest = Digest.of(MANIFEST)
        fails("came as gzip", lambda: client.repository(ref).manifest(by_digest))
        assert server.seen[0].headers["Accept-Encoding"] == "identity"


def test_an_index_that_names_itself_ends(talk):
    child = {"mediaType": OCI_INDEX, "digest": str(Digest.of(b"")), "size": 1,
             "platform": {"os": "linux", "architecture": "amd64"}}  # fmt: skip
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]}).encode()
    with scripted(lambda call, _: call.answer(200, body)) as server:
        client, ref = talk(server)
        fails("but what came is", lambda: fetch_image(client, ref, AMD64))


def test_indexes_within_indexes_end(talk):
    documents: dict[str, bytes] = {}
    body = MANIFEST
    for _ in range(5):
        digest = str(Digest.of(body))
        documents[digest] = body
        child = {"mediaType": OCI_INDEX, "digest": digest, "size": len(body),
                 "platform": {"os": "linux", "architecture": "amd64"}}  # fmt: skip
        body = json.dumps({"schemaVersion": 2, "manifests": [child]}).encode()
    documents["v1"] = body
    with scripted(lambda call, r: call.answer(200, documents[r.path.split("/")[-1]])) as server:
        client, ref = talk(server)
        fails("index of indexes", lambda: fetch_image(client, ref, AMD64))


# -- blobs --------------------------------------------------------------------------------------


def test_a_truncated_blob_is_resumed_by_range(talk):
    data = noise(3_000_000)
    half = len(data) // 2

    def respond(call, request):
        if "Range" in request.headers:
            start = int(request.headers["Range"].removeprefix("bytes=").split("-")[0])
            rest = data[start:]
            call.answer(206, rest, Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            call.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + data[:half])

    with scripted(respond) as server:
        client, ref = talk(server)
        assert b"".join(stream_blob(client.repository(ref), blob_of(data))) == data
        assert len(server.seen) == 2
        assert server.seen[1].headers["Range"] == f"bytes={half}-{len(data) - 1}"


def test_a_server_without_ranges_is_read_again_past_what_came(talk):
    data = noise(500_000)
    parts = iter([data[:200_000], data[:350_000], data])

    def respond(call, _):
        call.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + next(parts))

    with scripted(respond) as server:
        client, ref = talk(server)
        assert b"".join(stream_blob(client.repository(ref), blob_of(data))) == data


def test_a_blob_that_always_breaks_off_leaves_nothing(talk, tmp_path):
    source = Store(tmp_path / "source")
    image = small_image(source, layers=1, size=50_000)
    layer = image.layers[0]

    def respond(call, request):
        if "manifests" in request.path:
            call.answer(200, image.manifest)
        elif request.path.endswith(image.config_digest.hex):
            call.answer(200, image.config)
        else:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {layer.size}\r\n\r\n".encode()
            call.raw(head + source.read(layer.digest)[:1000])

    store = Store(tmp_path / "store")
    with scripted(respond) as server:
        client, ref = talk(server)
        fails("ended after|broke off", lambda: pull(client, ref, AMD64, store, Silent()))
    assert not store.has(layer.digest)
    assert not list((tmp_path / "store" / "tmp").iterdir())


@pytest.mark.parametrize(
    "body", [noise(1000, 1), noise(999), noise(1001), noise(1000) + b"x" * 9000]
)
def test_a_blob_of_another_hash_or_length_is_refused(talk, body):
    with scripted(lambda call, _: call.answer(200, body)) as server:
        client, ref = talk(server)
        blob = blob_of(noise(1000))
        fails(
            "another hash|ended after|has no blob",
            lambda: read_blob(client.repository(ref), blob, limit=5000),
        )


def test_an_endless_blob_is_given_up(talk):
    def respond(call, _):
        call.raw(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            call.wfile.write(bytes(1 << 16))

    with scripted(respond) as server:
        client, ref = talk(server)
        blob = blob_of(bytes(100_000) + b"x")
        fails("more bytes", lambda: read_blob(client.repository(ref), blob, limit=1_000_000))


def test_a_blob_with_content_encoding_is_taken_as_it_is(talk):
    data = gzip.compress(b"layer")  # some object stores label a gzipped layer this way
    with scripted(lambda call, _: call.answer(200, data, Content_Encoding="gzip")) as server:
        client, ref = talk(server)
        assert read_blob(client.repository(ref), blob_of(data), limit=1000) == data


def test_a_config_that_claims_gigabytes_is_not_fetched(talk):
    huge = Descriptor(media_type="x", digest=Digest.of(b""), size=1 << 40)
    with scripted(lambda call, _: call.answer(200)) as server:
        client, ref = talk(server)
        fails("at most 1000", lambda: read_blob(client.repository(ref), huge, limit=1000))
        assert not server.seen


# -- time ---------------------------------------------------------------------------------------


def test_a_silent_server_is_given_up(talk):
    given_up = threading.Event()
    with scripted(lambda _call, _: given_up.wait(60)) as server:
        client, ref = talk(server, read_seconds=0.3, attempts=2)
        fails("cannot reach", lambda: client.repository(ref).manifest("v1"))
        while len(server.seen) < 2:  # both attempts were given up, none was answered
            time.sleep(0.01)
        given_up.set()


def test_a_head_that_drips_in_is_given_up(talk):
    def respond(call, _):
        call.close_connection = True
        _drip(call, b"HTTP/1.1 200 OK\r\nX-Slow: ")

    with scripted(respond) as server:
        client, ref = talk(server, read_seconds=2, attempts=1)
        fails("no whole answer", lambda: client.repository(ref).manifest("v1"))


def test_a_body_that_drips_in_is_given_up(talk, monkeypatch):
    monkeypatch.setattr("envbuilder.net.answer.SPELL", 0.3)

    def respond(call, _):
        _drip(call, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")

    with scripted(respond) as server:
        client, ref = talk(server, read_seconds=60)
        fails("too slow", lambda: client.repository(ref).manifest("v1"))


def _drip(call, begin):
    """Send `begin` and then a byte now and then, until the client hangs up."""
    call.wfile.write(begin)
    with contextlib.suppress(OSError):
        while True:
            call.wfile.write(b"x")
            time.sleep(0.05)
