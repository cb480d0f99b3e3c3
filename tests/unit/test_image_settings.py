"""The config of an image, as builders write it and as nobody may: typed, or refused by name."""

import json

import pytest

from envbuilder.engines.foundation import base_settings, foundation_layers
from envbuilder.model.errors import BuildError, EnvbuilderError, UsageError
from envbuilder.model.image import OCI_CONFIG, OCI_MANIFEST, canonical_json, compose, parse_image
from envbuilder.model.image_config import image_settings
from envbuilder.model.image_settings import settings_of
from envbuilder.model.lock import ImageBase
from envbuilder.model.progress import Silent
from envbuilder.model.reference import Digest
from envbuilder.registry.layout import export, load
from envbuilder.storage.store import Store
from tests.contexts import context
from tests.unit import locks

ODD = {
    "Env": [1],
    "User": {"a": 1},
    "Labels": ["a"],
    "ExposedPorts": [1],
    "Volumes": "/data",
    "Cmd": {"a": 1},
    "Entrypoint": [["sh"]],
    "Shell": 5,
    "WorkingDir": ["/srv"],
    "StopSignal": 9,
    "Healthcheck": {"Test": "curl"},
}


def config_of(settings: object) -> bytes:
    return canonical_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    )


def manifest_of(config: bytes, **more: object) -> bytes:
    place = {"mediaType": OCI_CONFIG, "digest": str(Digest.of(config)), "size": len(config)}
    head = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": place, "layers": []}
    return canonical_json(head | more)


@pytest.mark.parametrize("name", ODD)
def test_a_member_of_another_type_is_refused_by_its_name(name):
    config = config_of({"Hostname": "", name: ODD[name]})
    with pytest.raises(EnvbuilderError, match=rf"config\.{name}.*: expected .*, found"):
        parse_image(manifest_of(config), config)


@pytest.mark.parametrize(
    "text", [b"[]", b"{", b'{"config": []}', b'{"config": ' + b"[" * 100_000, b'{"config": "\xff"}']
)
def test_what_is_no_config_at_all_is_refused(text):
    with pytest.raises(EnvbuilderError, match="not an image's config"):
        settings_of(text)
    with pytest.raises(EnvbuilderError, match="not an image manifest with its config"):
        parse_image(manifest_of(text), text)


def test_half_a_surrogate_is_text_as_for_go():
    assert settings_of(rb'{"config": {"User": "\ud800"}}') == {"User": "\ud800"}


def test_one_text_is_no_list_of_variables():
    with pytest.raises(EnvbuilderError, match=r"config\.Env: expected .*array.*, found .*str"):
        settings_of(config_of({"Env": "PATH=/x"}))


DOCKERS = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "ExposedPorts": {"80/tcp": {}},
    "Tty": False,
    "Env": ["PATH=/bin", "EMPTY=", "NAME"],
    "Cmd": ["bash"],
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000, "Retries": 3, "X": 1},
    "ArgsEscaped": True,
    "Image": "sha256:0",
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "Entrypoint": ["/entry"],
    "OnBuild": ["RUN true"],
    "Labels": {"a": "b"},
    "StopSignal": "SIGTERM",
    "StopTimeout": 12345678901234567890123,
    "Shell": ["/bin/bash", "-c"],
    "MacAddress": None,
}


@pytest.mark.parametrize("settings", [{}, DOCKERS, dict.fromkeys(DOCKERS)])
def test_what_docker_writes_is_taken_as_it_stands(settings):
    config = config_of(settings)
    image = parse_image(manifest_of(config), config)
    assert image.settings == settings
    assert image.config == config
    image_settings(locks.lock({}), image.settings)


@pytest.mark.parametrize("text", [b"{}", b'{"config": null}'])
def test_a_config_without_settings_has_none(text):
    assert settings_of(text) == {}


def test_one_string_is_a_command_of_one_word():
    """Docker takes that (moby's ``strslice``), and so images have it."""
    found = settings_of(config_of({"Cmd": "bash", "Entrypoint": "/run me", "Shell": ["sh", "-c"]}))
    assert found == {"Cmd": ["bash"], "Entrypoint": ["/run me"], "Shell": ["sh", "-c"]}


def test_a_manifests_type_is_a_text():
    config = config_of({})
    assert parse_image(manifest_of(config, mediaType=5), config).media_type == "5"


def locked(store: Store, settings: object) -> tuple[ImageBase, object]:
    digest = store.add(config_of(settings))
    base = ImageBase(reference="example.org/base:1", digest=digest, config=digest, layers=())
    made = locks.lock({}, base={"image": "example.org/base:1"})
    return base, type(made)(spec=made.spec, base=base, wheels=())


def test_a_base_that_was_locked_before_is_named(tmp_path):
    store = Store(tmp_path)
    base, lock = locked(store, {"Env": [1]})
    for ask in (base_settings, lambda context, lock, _: foundation_layers(context, lock)):
        with pytest.raises(BuildError, match=r"^example.org/base:1: .*config\.Env"):
            ask(context(store), lock, base)


def test_a_base_without_settings_is_one(tmp_path):
    store = Store(tmp_path)
    base, lock = locked(store, None)
    assert base_settings(context(store), lock, base) == {}


@pytest.mark.parametrize("name", ["", "oci:mine"])
def test_an_image_in_a_folder_is_named(tmp_path, name):
    store = Store(tmp_path / "store")
    image = compose((), platform="linux/amd64", settings={"Env": [1]})
    store.add(image.manifest)
    store.add(image.config)
    layout = export(image, store, f"oci:{tmp_path}/layout", name="x", progress=Silent())
    with pytest.raises(UsageError, match=rf"^{name or layout}: .*config\.Env"):
        load(layout, "linux/amd64", name=name)
    assert json.loads((layout / "index.json").read_bytes())["manifests"]
