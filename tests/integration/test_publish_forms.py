"""Images that travel as zstd and zstd:chunked, through real registries and tools, and back."""

import errno
import gzip
import hashlib
import json
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from envbuilder.evidence.keyring import Keyring
from envbuilder.evidence.signers import KeySigner, Signing
from envbuilder.evidence.verify.findings import FindingStatus, Level
from envbuilder.evidence.verify.policy import Policy
from envbuilder.evidence.verify.remote import verify
from envbuilder.model import pylock
from envbuilder.model.errors import NetworkError
from envbuilder.model.image import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Layer,
    canonical_json,
    parse_image,
)
from envbuilder.model.image_config import image_settings
from envbuilder.model.lock import Lock
from envbuilder.model.progress import Silent
from envbuilder.model.pylock import dump_lock, read_lock, write_lock
from envbuilder.model.reference import Digest, ImageRef
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client
from envbuilder.registry.layout import export
from envbuilder.resolve.context import Context
from envbuilder.storage.store import Store
from envbuilder.workflow.export import export_image
from envbuilder.workflow.forms import in_form, keep_form
from envbuilder.workflow.publish import publish
from tests.servers.attacked import attacked
from tests.servers.counting import counted
from tests.servers.crane import crane, crane_registry
from tests.servers.distribution import registry
from tests.servers.locks import sealed, small_lock
from tests.servers.quirky import answered
from tests.servers.samples import image_of, layer_of, noise, tar_of

pytestmark = pytest.mark.integration

FORMS = ("zstd", "zstd:chunked")


class Notes(Silent):
    """Keep what is said."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


class Desk:
    """A store with a built image, its sealed lock, and a client."""

    def __init__(self, folder: Path, client: Client) -> None:
        self.folder = folder
        self.notes = Notes()
        self.store = Store(folder / "store")
        self.context = Context(store=self.store, progress=self.notes, registries=client)
        layers = [
            layer_of(self.store, {"opt/a": b"hello", "opt/big": noise(5 << 20)}, "first"),
            layer_of(self.store, {"opt/b": b"b" * 9000, "opt/empty": b""}, "second"),
        ]
        self.image = image_of(layers, settings=image_settings(small_lock(), {}))
        for document in (self.image.manifest, self.image.config):
            self.store.add(document)
        self.lock = sealed(small_lock(), self.image)

    def verify(self, ref: ImageRef, lock: Lock, level: Level = Level.CONTENT, **more):
        client = self.context.registries
        return verify(client, ref, lock, level=level, progress=Silent(), **more)


@pytest.fixture
def desk(tmp_path):
    with Client(Settings(backoff=0.01), docker_config=tmp_path / "none.json") as client:
        yield Desk(tmp_path, client)


@pytest.fixture(params=["docker-registry", "crane"])
def host(request, tmp_path):
    if request.param == "crane":
        with crane_registry(tmp_path / "crane") as running:
            yield running
    else:
        with registry(tmp_path / "registry") as server:
            yield server.host


def plain_tars(source: str, folder: Path, *options: str) -> list[Digest]:
    """Have skopeo unpack the layers of an image; hash what it got."""
    command = ["skopeo", "copy", "--quiet", *options, "--dest-decompress", source, f"dir:{folder}"]
    subprocess.run(command, check=True)
    layers = json.loads((folder / "manifest.json").read_bytes())["layers"]
    blobs = [folder / entry["digest"].removeprefix("sha256:") for entry in layers]
    return [Digest(hashlib.sha256(blob.read_bytes()).hexdigest()) for blob in blobs]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_pushed_read_and_proven(desk, host, form):
    ref = ImageRef.parse(f"{host}/app:v1")
    pushed = publish(desk.context, desk.lock, ref, compression=form)
    assert pushed.digest == pushed.form.manifest != desk.image.digest
    diff_ids = [layer.diff_id for layer in desk.image.layers]
    got = plain_tars(f"docker://{ref}", desk.folder / "got", "--src-tls-verify=false")
    assert got == diff_ids
    unlisted = desk.verify(ref, desk.lock)
    assert (unlisted.exit_code, unlisted.findings[0].status) == (0, FindingStatus.NOTE)
    assert sum("compressed anew" in each.explanation for each in unlisted.findings) == 2
    tables = sum("its table of contents lists" in each.explanation for each in unlisted.findings)
    assert tables == (2 if form == "zstd:chunked" else 0)


def test_a_listed_form_is_proven_by_its_digest(desk, tmp_path):
    with registry(tmp_path / "registry") as server:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        pushed = publish(desk.context, desk.lock, ref, compression="zstd:chunked")
        lock = replace(desk.lock, seal=desk.lock.seal.with_form(pushed.form))
        with counted(server.host) as counter:
            there = ImageRef.parse(f"{counter.host}/app:v1")
            verdict = desk.verify(there, lock)
            requests = list(counter.requests)
    assert (verdict.exit_code, {each.status for each in verdict.findings}) == (
        0,
        {FindingStatus.OK},
    )
    assert verdict.findings[0].explanation == "the sealed image as zstd:chunked"
    assert verdict.findings[0].expected == verdict.findings[0].actual == str(pushed.digest)
    assert len(requests) <= 3, requests
    assert not any(str(layer.digest) in "".join(requests) for layer in pushed.form.layers)


def test_a_listed_form_does_not_excuse_another(desk, tmp_path):
    """What is listed are digests: a manifest that only looks like it is read to its end."""
    with registry(tmp_path / "registry") as server:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        pushed = publish(desk.context, desk.lock, ref, compression="zstd:chunked")
        lock = replace(desk.lock, seal=desk.lock.seal.with_form(pushed.form))
        evil = layer_of(desk.store, {"opt/evil": b"x"}, "first")
        other = image_of([evil, desk.image.layers[1]], settings=image_settings(small_lock(), {}))
        made, _ = in_form(desk.context, lock, other, "zstd:chunked")
        for document in (made.manifest, made.config):
            desk.store.add(document)
        publish(desk.context, sealed(small_lock(), made), ref)
        assert desk.verify(ref, lock).exit_code == 9


def test_evidence_is_about_the_form_that_was_pushed(tmp_path):
    with attacked(tmp_path) as world:
        for document in (world.image.manifest, world.image.config):
            world.store.add(document)
        context = Context(store=world.store, progress=Silent(), registries=world.client)
        private, public = world.key()
        pushed = publish(
            context,
            world.lock,
            world.ref,
            signing=Signing(signer=KeySigner(key=private)),
            compression="zstd",
        )
        assert pushed.evidence == ("provenance", "sbom", "signature")
        policy = Policy(required=("provenance", "sbom", "signature"))
        verdict = verify(
            world.client, world.ref, world.lock, level=Level.EVIDENCE, progress=Silent(),
            policy=policy, keyring=Keyring.of(public),
        )  # fmt: skip
        assert verdict.exit_code == 0, verdict.findings
        again = publish(
            context,
            world.lock,
            world.ref,
            signing=Signing(signer=KeySigner(key=private)),
            compression="zstd",
        )
        assert again == pushed


def test_the_spec_may_say_how_its_image_travels(desk, tmp_path):
    spec = replace_spec(desk.lock, compression="zstd:chunked")
    with registry(tmp_path / "registry") as server:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        assert publish(desk.context, spec, ref).form.compression == "zstd:chunked"
        assert publish(desk.context, spec, ref, compression="gzip").form is None
        assert desk.context.registries.repository(ref).find("v1") == desk.image.digest


@pytest.mark.parametrize("signed", [False, True])
def test_a_listed_form_that_is_there_is_not_made_again(tmp_path, signed):
    """With an empty store nothing of it could be made."""
    with attacked(tmp_path) as world:
        for document in (world.image.manifest, world.image.config):
            world.store.add(document)
        context = Context(store=world.store, progress=Silent(), registries=world.client)
        pushed = publish(context, world.lock, world.ref, compression="zstd:chunked")
        lock = replace(world.lock, seal=world.lock.seal.with_form(pushed.form))
        empty = Context(store=Store(tmp_path / "empty"), progress=Silent(), registries=world.client)
        signing = Signing(signer=KeySigner(key=world.key()[0])) if signed else None
        other = replace(world.ref, tag="v2")
        again = publish(empty, lock, other, signing=signing, compression="zstd:chunked")
        assert (again.digest, again.form) == (pushed.digest, pushed.form)
        assert again.evidence == (("provenance", "sbom", "signature") if signed else ())
        assert world.repository.find("v2") == pushed.digest
        assert empty.store.ls() == []


def test_a_listed_form_that_is_not_there_is_brought(desk, tmp_path):
    _, form = in_form(desk.context, desk.lock, desk.image, "zstd")
    lock = replace(desk.lock, seal=desk.lock.seal.with_form(form))
    with registry(tmp_path / "registry") as server:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        assert publish(desk.context, lock, ref, compression="zstd").form == form
        assert desk.context.registries.repository(ref).find("v1") == form.manifest


def replace_spec(lock: Lock, *, compression: str) -> Lock:
    spec = changed(lock.spec, publish=changed(lock.spec.publish, compression=compression))
    return replace(lock, spec=spec)


def test_a_bump_of_one_layer_sends_and_makes_that_one(desk, tmp_path):
    with registry(tmp_path / "registry") as server:
        first = ImageRef.parse(f"{server.host}/app:v1")
        before = publish(desk.context, desk.lock, first, compression="zstd:chunked")
        leaf = layer_of(desk.store, {"opt/b": noise(50_000)}, "second")
        image = image_of([desk.image.layers[0], leaf], settings=image_settings(small_lock(), {}))
        for document in (image.manifest, image.config):
            desk.store.add(document)
        with counted(server.host) as counter:
            ref = ImageRef.parse(f"{counter.host}/app:v2")
            after = publish(
                desk.context, sealed(small_lock(), image), ref, compression="zstd:chunked"
            )
            assert counter.sent < 70_000
    assert before.form.layers[0] == after.form.layers[0]
    assert before.form.layers[1] != after.form.layers[1]


@pytest.mark.parametrize("status", [400, 415])
@pytest.mark.parametrize("form", [None, "zstd:chunked"])
def test_a_registry_that_refuses_the_manifest_is_told_of(tmp_path, status, form):
    body = b'{"errors": [{"code": "MANIFEST_INVALID", "message": "unknown media type"}]}'
    with attacked(tmp_path) as world:
        for document in (world.image.manifest, world.image.config):
            world.store.add(document)
        world.memory.manifests.clear()
        world.memory.fault = answered(
            lambda seen: seen.method == "PUT" and "/manifests/" in seen.path, status, body
        )
        context = Context(store=world.store, progress=Silent(), registries=world.client)
        with pytest.raises(NetworkError, match="MANIFEST_INVALID: unknown media") as caught:
            publish(context, world.lock, world.ref, compression=form)
        assert world.memory.manifests == {}
    assert ("--compression gzip" in (caught.value.hint or "")) == (form is not None)


@pytest.mark.parametrize("what", ["/manifests/sha256-", "/blobs/uploads/"])
def test_a_refusal_of_something_else_has_nothing_to_do_with_the_form(tmp_path, what):
    body = b'{"errors": [{"code": "DENIED", "message": "no"}]}'
    with attacked(tmp_path) as world:
        for document in (world.image.manifest, world.image.config):
            world.store.add(document)
        world.memory.fault = answered(
            lambda seen: seen.method in {"PUT", "POST"} and what in seen.path, 400, body
        )
        context = Context(store=world.store, progress=Silent(), registries=world.client)
        with pytest.raises(NetworkError, match="DENIED: no") as caught:
            publish(
                context, world.lock, replace(world.ref, tag="v2"), compression="zstd",
                signing=Signing(signer=KeySigner(key=world.key()[0]), bundles=False),
            )  # fmt: skip
    assert "--compression" not in (caught.value.hint or "")


def test_docker_media_types_become_ocis(desk, tmp_path):
    content = json.loads(desk.image.manifest)
    content["mediaType"] = DOCKER_MANIFEST
    content["config"]["mediaType"] = DOCKER_CONFIG
    for entry in content["layers"]:
        entry["mediaType"] = DOCKER_LAYER_GZIP
    image = parse_image(canonical_json(content), desk.image.config)
    made, form = in_form(desk.context, desk.lock, image, "zstd")
    found = json.loads(made.manifest)
    assert (found["mediaType"], found["config"]["mediaType"]) == (OCI_MANIFEST, OCI_CONFIG)
    assert {entry["mediaType"] for entry in found["layers"]} == {OCI_LAYER_ZSTD}
    assert (made.media_type, made.config) == (OCI_MANIFEST, image.config)
    assert form.manifest == made.digest
    with registry(tmp_path / "registry") as server:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        desk.store.add(image.manifest)
        publish(desk.context, sealed(small_lock(), image), ref, compression="zstd")
        crane("export", "--insecure", str(ref), str(tmp_path / "tree.tar"))
    with tarfile.open(tmp_path / "tree.tar") as tree:
        assert sorted(tree.getnames()) == ["opt/a", "opt/b", "opt/big", "opt/empty"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", ["oci:{}/layout", "{}/image.tar"])
def test_a_form_is_written_to_files_too(desk, tmp_path, target, form):
    place = target.format(tmp_path)
    made = export_image(desk.context, desk.lock, desk.image, place, compression=form)
    assert made.compression == form
    source = f"{place}:small:latest" if place.startswith("oci:") else f"oci-archive:{place}"
    diff_ids = [layer.diff_id for layer in desk.image.layers]
    assert plain_tars(source, tmp_path / "got") == diff_ids


def test_gzip_stays_what_it_was(desk, tmp_path):
    assert in_form(desk.context, desk.lock, desk.image, "gzip") == (desk.image, None)
    export(desk.image, desk.store, f"oci:{tmp_path}/one", name="small:latest", progress=Silent())
    export_image(desk.context, desk.lock, desk.image, f"oci:{tmp_path}/two")
    one, two = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two


def test_a_damaged_layer_is_not_published(desk, tmp_path):
    path = desk.store.path(desk.image.layers[1].digest)
    path.write_bytes(path.read_bytes()[:-9])
    before = {each.digest for each in desk.store.ls()}
    with registry(tmp_path / "registry") as server:
        ref = ImageRef.parse(f"{server.host}/app:v1")
        with pytest.raises(Exception, match="damaged"):
            publish(desk.context, desk.lock, ref, compression="zstd:chunked")
        assert desk.context.registries.repository(ref).find("v1") is None
    new = {each.digest for each in desk.store.ls()} - before
    assert len(new) <= 1  # the sound layer, if that was first


def test_what_no_table_fits_is_said(desk):
    twice = twice_named(desk.store)
    image = image_of([twice], settings=image_settings(small_lock(), {}))
    _, form = in_form(desk.context, desk.lock, image, "zstd:chunked")
    assert form.layers[0].table is None
    assert desk.notes.said == ["twice travels without a table: 'a' is there twice"]


def twice_named(store: Store) -> Layer:
    one = tar_of({"a": b"1"})[:1024]
    plain = one + one + bytes(1024)
    digest = store.add(gzip.compress(plain, mtime=0))
    size = store.path(digest).stat().st_size
    return Layer(digest=digest, size=size, diff_id=Digest.of(plain), title="twice")


def test_the_seal_lists_the_form_unless_the_lock_changed(desk, tmp_path):
    path = tmp_path / "pylock.small.toml"
    write_lock(path, desk.lock)
    before = path.read_text()
    _, form = in_form(desk.context, desk.lock, desk.image, "zstd:chunked")
    keep_form(desk.context, path, desk.lock, None)
    assert path.read_text() == before
    keep_form(desk.context, path, desk.lock, form)
    listed = read_lock(path)
    assert listed.seal.forms == (form,)
    assert dump_lock(replace(listed, seal=replace(listed.seal, forms=()))) == before
    text = path.read_text()
    keep_form(desk.context, path, listed, form)
    assert path.read_text() == text
    _, other = in_form(desk.context, desk.lock, desk.image, "zstd")
    keep_form(desk.context, path, desk.lock, other)  # which is not the file's any more
    assert path.read_text() == text
    assert "changed meanwhile" in desk.notes.said[0]
    keep_form(desk.context, path, listed, other)
    assert [each.compression for each in read_lock(path).seal.forms] == ["zstd", "zstd:chunked"]


def test_a_form_that_cannot_be_listed_is_told_of(desk, tmp_path, monkeypatch):
    path = tmp_path / "checkout" / "pylock.small.toml"
    _, form = in_form(desk.context, desk.lock, desk.image, "zstd")
    keep_form(desk.context, path, desk.lock, form)
    write_lock(path, desk.lock)
    before = path.read_text()
    keep_form(desk.context, path, desk.lock, form, locked=True)

    def refuse(place: Path, _text: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(place))

    monkeypatch.setattr(pylock, "write_text", refuse)
    keep_form(desk.context, path, desk.lock, form)
    assert desk.notes.said == [
        f"warning: {path} does not list the form zstd: {why}"
        for why in (
            f"there is no lock {path}",
            "--locked changes no lock",
            f"[Errno 30] Read-only file system: '{path}'",
        )
    ]
    assert path.read_text() == before
    listed = replace(desk.lock, seal=desk.lock.seal.with_form(form))
    keep_form(desk.context, path, listed, form, locked=True)
    assert len(desk.notes.said) == 3
