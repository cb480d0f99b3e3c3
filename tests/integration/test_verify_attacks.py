"""A table of attacks on what a tag names: each has its exit code, and none of them is 0.

9 says that something does not match, 10 that we could not look. Beside the attacks stand the
harmless differences, which are 0.
"""

import gzip
import json

import pytest
import zstandard

from envbuilder.evidence.verify.findings import Level
from envbuilder.model.image import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_LAYER_TAR,
    OCI_LAYER_ZSTD,
)
from envbuilder.model.reference import Digest
from tests.servers.attacked import AMD64, ARM64
from tests.servers.samples import config_json, tar_of

pytestmark = pytest.mark.integration

UNKNOWN = {"os": "unknown", "architecture": "unknown"}
TOC = "containerd.io/snapshot/stargz/toc.digest"
CHUNKED = "io.github.containers.zstd-chunked.manifest-checksum"
SOME = str(Digest.of(b"some"))


def told(verdict):
    return [(str(each.status), each.subject, each.explanation) for each in verdict.findings]


def attack(change):
    return lambda world: world.manifest(change)


def in_layer(**more):
    return attack(lambda content: content["layers"][1].update(more))


def docker_family(content, layer=DOCKER_LAYER_GZIP):
    content["mediaType"] = DOCKER_MANIFEST
    content["config"]["mediaType"] = DOCKER_CONFIG
    for entry in content["layers"]:
        entry["mediaType"] = layer


MANIFESTS = {
    "as sealed": (attack(dict), 0),
    "other white space": (
        lambda world: world.tag(json.dumps(json.loads(world.image.manifest), indent=1).encode()),
        0,
    ),
    "docker's types": (attack(docker_family), 0),
    "no type of its own": (attack(lambda content: content.pop("mediaType")), 0),
    "a title": (
        attack(lambda content: content.update(
            annotations={"org.opencontainers.image.title": "x"}
        )), 0,
    ),
    "a layer's description": (
        in_layer(annotations={"org.opencontainers.image.description": ""}), 0),
    "a toc for stargz": (in_layer(annotations={TOC: SOME}), 9),
    "a toc for podman": (in_layer(annotations={CHUNKED: SOME}), 9),
    "a toc's place": (in_layer(annotations={
        "io.github.containers.zstd-chunked.manifest-position": "1:2:3:1"}), 9),
    "soci's index": (in_layer(annotations={"com.amazon.soci.span-size": "1"}), 9),
    "nydus's blob": (in_layer(annotations={"containerd.io/snapshot/nydus-blob": "true"}), 9),
    "an encrypted layer's keys": (
        in_layer(annotations={"org.opencontainers.image.enc.keys": ""}), 9),
    "annotations on the whole": (
        attack(lambda content: content.update(annotations={TOC: SOME})), 9),
    "annotations that are a list": (attack(lambda content: content.update(annotations=["x"])), 9),
    "a layer's annotations that are a list": (in_layer(annotations=["x"]), 9),
    "a layer from elsewhere": (in_layer(urls=["http://127.0.0.1:1/evil"]), 9),
    "a layer's data": (in_layer(data="e30="), 9),
    "a layer's platform": (in_layer(platform=AMD64), 9),
    "a layer's artifact type": (in_layer(artifactType="x"), 9),
    "a foreign layer": (
        in_layer(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"), 9),
    "an encrypted layer": (in_layer(mediaType=f"{OCI_LAYER_GZIP}+encrypted"), 9),
    "another packing": (in_layer(mediaType=OCI_LAYER_ZSTD), 9),
    "no packing": (in_layer(mediaType=OCI_LAYER_TAR), 9),
    "one layer of docker's": (in_layer(mediaType=DOCKER_LAYER_GZIP), 9),
    "an unknown type": (in_layer(mediaType="text/html"), 9),
    "another size": (in_layer(size=1), 9),
    "a size that is none": (in_layer(size="1"), 9),
    "another layer's digest": (
        attack(lambda content: content["layers"][1].update(content["layers"][0])), 9),
    "a digest of another kind": (in_layer(digest="sha512:" + "0" * 128), 9),
    "an artifact": (attack(lambda content: content.update(artifactType="x")), 9),
    "a subject": (attack(lambda content: content.update(subject=content["config"])), 9),
    "old layers": (attack(lambda content: content.update(fsLayers=[{"blobSum": SOME}])), 9),
    "old history": (attack(lambda content: content.update(history=[])), 9),
    "layers in another case": (attack(lambda content: content.update(Layers=[])), 9),
    "layers only in another case": (
        attack(lambda content: content.update(Layers=content.pop("layers"))), 9),
    "layers in another alphabet": (attack(lambda content: content.update({"layer\u017f": []})), 9),
    "an unknown member": (attack(lambda content: content.update(x=1)), 9),
    "another schema": (attack(lambda content: content.update(schemaVersion=1)), 9),
    "another type": (attack(lambda content: content.update(mediaType="text/plain")), 9),
    "the config of another type": (
        attack(lambda content: content["config"].update(mediaType=DOCKER_CONFIG)), 9),
    "the config as data": (attack(lambda content: content["config"].update(data="e30=")), 9),
    "the config from elsewhere": (
        attack(lambda content: content["config"].update(urls=["http://127.0.0.1:1/"])), 9),
    "no config": (attack(lambda content: content.pop("config")), 9),
    "a config that is a list": (attack(lambda content: content.update(config=[])), 9),
    "no layers": (attack(lambda content: content.update(layers=[])), 9),
    "a layer fewer": (attack(lambda content: content["layers"].pop()), 9),
    "a layer twice": (
        attack(lambda content: content["layers"].append(content["layers"][0])), 9),
    "other layers' order": (attack(lambda content: content["layers"].reverse()), 9),
    "a list": (lambda world: world.tag(b"[]"), 9),
    "a mark before it": (lambda world: world.tag(b"\xef\xbb\xbf" + world.image.manifest), 9),
    "another encoding": (
        lambda world: world.tag(world.image.manifest.decode().encode("utf-16")), 9),
    "no JSON": (lambda world: world.tag(b"<html>"), 9),
    "deep JSON": (lambda world: world.tag(b"[" * 100_000), 9),
    "an image and an index": (attack(lambda content: content.update(manifests=[])), 9),
}  # fmt: skip


def repacked(pack, media_type, **more):
    def apply(world):
        plain = gzip.decompress(world.store.read(world.image.layers[1].digest))
        world.layer(1, pack(plain), media_type, **more)

    return apply


def chunked(change=len, prefix="io.github.containers.zstd-chunked.", **notes):
    """Pack a layer as zstd:chunked, with its table of contents as ``change`` leaves it."""

    def apply(world):
        plain = gzip.decompress(world.store.read(world.image.layers[1].digest))
        listed = [
            {"type": "reg", "name": "opt/file-1", "mode": 0o644, "size": 100,
             "modtime": "1970-01-01T00:00:00Z", "digest": str(Digest.of(bytes([1]) * 100))},
        ]  # fmt: skip
        change(listed)
        text = json.dumps({"version": 1, "entries": listed}).encode()
        table, packed = zstandard.compress(text), zstandard.compress(plain)
        skipped = b"\x50\x2a\x4d\x18" + len(table).to_bytes(4, "little") + table
        place = f"{len(packed) + 8}:{len(table)}:{len(text)}:1"
        said = {"manifest-checksum": str(Digest.of(table)), "manifest-position": place, **notes}
        annotations = {prefix + name: value for name, value in said.items()}
        world.layer(1, packed + skipped, OCI_LAYER_ZSTD, annotations=annotations)

    return apply


def swapped(pack, media_type):
    return lambda world: world.layer(1, pack(tar_of({"opt/evil": b"x"})), media_type)


def missing(world):
    repacked(zstandard.compress, OCI_LAYER_ZSTD)(world)
    world.memory.blobs.pop(json.loads(world.memory.manifests["v1"])["layers"][1]["digest"])


def docker_repacked(world):
    plain = gzip.decompress(world.store.read(world.image.layers[1].digest))
    packed = world.blob(zstandard.compress(plain))

    def change(content):
        docker_family(content)
        kind = "application/vnd.docker.image.rootfs.diff.tar.zstd"
        content["layers"][1] = {"mediaType": kind, **packed}

    world.manifest(change)


BLOBS = {
    "gzip anew": (repacked(lambda plain: gzip.compress(plain, 3), OCI_LAYER_GZIP), 0),
    "zstd": (repacked(zstandard.compress, OCI_LAYER_ZSTD), 0),
    "zstd in docker's family": (docker_repacked, 0),
    "a plain tar": (repacked(bytes, OCI_LAYER_TAR), 0),
    "other content in gzip": (swapped(gzip.compress, OCI_LAYER_GZIP), 9),
    "other content in zstd": (swapped(zstandard.compress, OCI_LAYER_ZSTD), 9),
    "other content, plain": (swapped(bytes, OCI_LAYER_TAR), 9),
    "zstd called gzip": (repacked(zstandard.compress, OCI_LAYER_GZIP), 9),
    "zstd with a toc": (
        repacked(zstandard.compress, OCI_LAYER_ZSTD, annotations={CHUNKED: SOME}), 9),
    "zstd:chunked": (chunked(), 0),
    "zstd:chunked by an older podman": (chunked(prefix="io.containers.zstd-chunked."), 0),
    "zstd:chunked with its split": (chunked(**{"tarsplit-position": "1:2:3:1"}), 0),
    "a table with another file's hash": (
        chunked(lambda listed: listed[0].update(digest=SOME)), 9),
    "a table with another mode": (chunked(lambda listed: listed[0].update(mode=0o4755)), 9),
    "a table with a file more": (
        chunked(lambda listed: listed.append({**listed[0], "name": "opt/evil"})), 9),
    "an empty table": (chunked(lambda listed: listed.clear()), 9),
    "another table than is named": (chunked(**{"manifest-checksum": SOME}), 9),
    "a table that is no table": (chunked(**{"manifest-position": "0:10:10:1"}), 9),
    "a table beyond the blob": (chunked(**{"manifest-position": "999999:10:10:1"}), 10),
    "a table of another kind": (chunked(**{"manifest-position": "0:10:10:2"}), 9),
    "a table without a place": (chunked(**{"manifest-position": ""}), 9),
    "a table too large": (chunked(**{"manifest-position": "0:10:99999999999:1"}), 9),
    "a table of two kinds": (chunked(**{"toc.digest": SOME}), 9),
    "zstd from elsewhere": (repacked(zstandard.compress, OCI_LAYER_ZSTD, urls=["http://x/"]), 9),
    "a size too small": (repacked(zstandard.compress, OCI_LAYER_ZSTD, size=10), 10),
    "a size too large": (repacked(zstandard.compress, OCI_LAYER_ZSTD, size=99_999), 10),
    "more after the tar": (
        repacked(lambda plain: gzip.compress(plain + b"\0" * 512), OCI_LAYER_GZIP), 9),
    "a second member": (
        repacked(lambda plain: gzip.compress(plain) + gzip.compress(b"x"), OCI_LAYER_GZIP), 9),
    "cut short": (repacked(lambda plain: gzip.compress(plain)[:-20], OCI_LAYER_GZIP), 9),
    "a blob that is not there": (missing, 10),
}  # fmt: skip


def configured(change):
    return lambda world: world.config(change)


def setting(**more):
    return configured(lambda config: config["config"].update(more))


def raw_config(prefix):
    def apply(world):
        body = prefix + config_bytes(world)[1:]
        world.manifest(lambda content: content["config"].update(world.blob(body)))

    return apply


def config_bytes(world):
    return json.dumps(config_json(world.image)).encode()


def without_config(world):
    world.config(lambda config: config.update(created="2026-01-01T00:00:00Z"))
    world.memory.blobs.pop(json.loads(world.memory.manifests["v1"])["config"]["digest"])


CONFIGS = {
    "other dates": (configured(lambda config: config.update(created="2026-01-01T00:00:00Z")), 0),
    "no history": (configured(lambda config: config.pop("history")), 0),
    "an entry point": (setting(Entrypoint=["/opt/evil"]), 9),
    "a command": (setting(Cmd=["/opt/evil"]), 9),
    "a user": (setting(User="0"), 9),
    "a folder": (setting(WorkingDir="/evil"), 9),
    "a volume": (setting(Volumes={"/opt": {}}), 9),
    "a health check": (setting(Healthcheck={"Test": ["CMD", "/opt/evil"]}), 9),
    "a build trigger": (setting(OnBuild=["RUN /opt/evil"]), 9),
    "a shell": (setting(Shell=["/opt/evil"]), 9),
    "a stop signal": (setting(StopSignal="9"), 9),
    "a label": (configured(lambda config: config["config"]["Labels"].update(x="y")), 9),
    "a variable": (
        configured(lambda config: config["config"]["Env"].append("LD_PRELOAD=/opt/evil.so")), 9),
    "a variable before another": (
        configured(lambda config: config["config"]["Env"].insert(0, "PATH=/evil")), 9),
    "another machine": (configured(lambda config: config.update(architecture="arm64")), 9),
    "another spelling": (configured(lambda config: config.update(architecture="x86_64")), 9),
    "a variant": (configured(lambda config: config.update(variant="v3")), 9),
    "another system": (configured(lambda config: config.update(os="windows")), 9),
    "features": (configured(lambda config: config.update({"os.features": ["x"]})), 9),
    "settings in another case": (raw_config(b'{"Config":{"Entrypoint":["/evil"]},'), 9),
    "settings twice": (raw_config(b'{"config":{"Entrypoint":["/evil"]},'), 9),
    "another diff_id": (
        configured(lambda config: config["rootfs"]["diff_ids"].__setitem__(1, SOME)), 9),
    "a diff_id fewer": (configured(lambda config: config["rootfs"]["diff_ids"].pop()), 9),
    "diff_ids swapped": (configured(lambda config: config["rootfs"]["diff_ids"].reverse()), 9),
    "another kind of root": (configured(lambda config: config["rootfs"].update(type="x")), 9),
    "no root": (configured(lambda config: config.pop("rootfs")), 9),
    "no settings": (configured(lambda config: config.pop("config")), 9),
    "a list": (raw_config(b"[1,"), 9),
    "not there": (without_config, 10),
}  # fmt: skip


def listed(*children, **more):
    """Tag an index: each child is which image (good, evil), its platform, and what else it has."""

    def apply(world):
        entries = []
        for which, platform, *others in children:
            entry = getattr(world, which)()
            entry |= {} if platform is None else {"platform": platform}
            for other in others:
                entry |= other
            entries.append(entry)
        world.index(*entries, **more)

    return apply


def spelled(**platform):
    """Put evil under another spelling before the sealed image."""
    return listed(("evil", {**AMD64, **platform}), ("good", AMD64)), 9


def alone(**platform):
    """List the sealed image alone, under an odd spelling: some pullers find nothing."""
    return listed(("good", {**AMD64, **platform})), 9


def nested(world):
    world.index({**world.good(), "platform": AMD64})
    inner = world.memory.manifests["v1"]
    entry = world.tag(inner, "inner")
    world.index({**entry, "mediaType": OCI_INDEX, "platform": AMD64})


def nested_in_disguise(world):
    world.index({**world.good(), "platform": AMD64})
    entry = world.tag(world.memory.manifests["v1"], "inner")
    world.index({**entry, "platform": AMD64})


def as_docker(world):
    world.index({**world.good(), "platform": AMD64}, mediaType=DOCKER_INDEX)


def recased(world):
    world.index({**world.good(), "platform": AMD64})
    body = world.memory.manifests["v1"].replace(b'"manifests"', b'"Manifests"')
    world.tag(body)


def absent(world):
    entry = {**world.evil(), "platform": AMD64}
    world.memory.manifests.pop(entry["digest"])
    world.index(entry)


INDEXES = {
    "one image": (listed(("good", AMD64)), 0),
    "a second platform": (listed(("evil", ARM64), ("good", AMD64)), 0),
    "an attestation": (listed(("good", AMD64), ("evil", UNKNOWN)), 0),
    "windows": (listed(("evil", {"os": "windows", "architecture": "amd64"}), ("good", AMD64)), 0),
    "a 32-bit machine": (listed(("evil", {**AMD64, "architecture": "386"}), ("good", AMD64)), 0),
    "docker's list": (as_docker, 0),
    "a title": (listed(("good", AMD64), annotations={"org.opencontainers.image.title": "x"}), 0),
    "x86_64": spelled(architecture="x86_64"),
    "x86-64": spelled(architecture="x86-64"),
    "capitals": spelled(architecture="AMD64"),
    "capitals of the system": spelled(os="Linux"),
    "no machine": spelled(architecture=""),
    "no system": spelled(os=""),
    "white space": spelled(architecture=" amd64"),
    "variant v1": spelled(variant="v1"),
    "variant v2": spelled(variant="v2"),
    "variant v3": spelled(variant="v3"),
    "a version": spelled(**{"os.version": "6.1"}),
    "a feature": spelled(**{"os.features": ["nydus.remoteimage.v1"]}),
    "a feature of the machine": spelled(features=["sse4"]),
    "the same": spelled(),
    "no platform": (listed(("evil", None), ("good", AMD64)), 9),
    "an empty platform": (listed(("evil", {}), ("good", AMD64)), 9),
    "a platform that is a list": (listed(("evil", ["linux"]), ("good", AMD64)), 9),
    "a machine in another case": (
        listed(("evil", {"os": "linux", "Architecture": "amd64"}), ("good", AMD64)), 9),
    "a platform in another case": (
        listed(("evil", None, {"Platform": AMD64}), ("good", AMD64)), 9),
    "two platforms in one": (
        listed(("evil", {**ARM64, "Architecture": "amd64"}), ("good", AMD64)), 9),
    "zstd preferred": (listed(("good", AMD64), ("evil", AMD64, {
        "annotations": {"io.github.containers.compression.zstd": "true"}})), 9),
    "evil after": (listed(("good", AMD64), ("evil", {**AMD64, "architecture": "x86_64"})), 9),
    "evil alone": (listed(("evil", AMD64)), 9),
    "only another platform": (listed(("good", ARM64)), 9),
    "nothing": (listed(), 9),
    "alone as x86_64": alone(architecture="x86_64"),
    "alone as v2": alone(variant="v2"),
    "alone with a version": alone(**{"os.version": "10"}),
    "alone with a feature": alone(**{"os.features": ["x"]}),
    "alone without a platform": (listed(("good", None)), 9),
    "an artifact's entry": (listed(("good", AMD64, {"artifactType": "x"})), 9),
    "an entry from elsewhere": (listed(("good", AMD64, {"urls": ["http://x/"]})), 9),
    "an entry's data": (listed(("good", AMD64, {"data": "e30="})), 9),
    "an entry of another size": (listed(("good", AMD64, {"size": 3})), 9),
    "an entry of another type": (listed(("good", AMD64, {"mediaType": DOCKER_MANIFEST})), 9),
    "an entry's notes": (listed(("good", AMD64, {"annotations": {TOC: SOME}})), 9),
    "notes": (listed(("good", AMD64), annotations={TOC: SOME}), 9),
    "a subject": (listed(("good", AMD64), subject={"digest": SOME}), 9),
    "an artifact": (listed(("good", AMD64), artifactType="x"), 9),
    "another type": (listed(("good", AMD64), mediaType="text/plain"), 9),
    "an index within": (nested, 9),
    "an index within, called an image": (nested_in_disguise, 9),
    "a list in another case": (recased, 9),
    "an entry that is not there": (absent, 10),
}  # fmt: skip

TABLES = {"manifest": MANIFESTS, "blob": BLOBS, "config": CONFIGS, "index": INDEXES}
ROWS = [
    pytest.param(apply, code, id=f"{table}: {name}")
    for table, rows in TABLES.items()
    for name, (apply, code) in rows.items()
]


@pytest.mark.parametrize(("apply", "code"), ROWS)
def test_what_a_tag_names(attacked_world, apply, code):
    """Reading all layers changes no verdict."""
    apply(attacked_world)
    for level in (Level.CONTENT, Level.PACKAGES):
        verdict = attacked_world.verify(level, keyring=None)
        assert verdict.exit_code == code, told(verdict)
        assert verdict.ok is (code == 0)


def test_the_sealed_image_is_what_the_table_starts_from(attacked_world):
    verdict = attacked_world.verify()
    assert (verdict.exit_code, verdict.digest) == (0, attacked_world.image.digest), told(verdict)
