"""Logins from Docker's configuration and its helpers."""

import base64
import json
import os
import traceback
from pathlib import Path

import pytest

from envbuilder.model.errors import MissingToolError, NetworkError
from envbuilder.registry.credentials import ANONYMOUS, Credential, config_path, find_credential

LOGIN = base64.b64encode(b"user:pass:word").decode()


def write(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def helper(folder: Path, name: str, script: str) -> None:
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def path_of_helpers(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_no_file_is_no_login(tmp_path):
    assert find_credential("r.test", tmp_path / "config.json") == ANONYMOUS


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("r.test:5000", "r.test:5000"),
        ("https://r.test", "r.test"),
        ("https://r.test/v1/", "r.test"),
        ("http://r.test:80/v2/", "r.test:80"),
        ("https://index.docker.io/v1/", "docker.io"),
    ],
)
def test_keys_as_docker_writes_them(tmp_path, key, registry):
    config = write(tmp_path, {"auths": {"other.test": {"auth": "eDp5"}, key: {"auth": LOGIN}}})
    found = find_credential(registry, config)
    assert (found.username, found.password) == ("user", "pass:word")
    assert found.basic == f"Basic {LOGIN}"


def test_identity_and_registry_tokens(tmp_path):
    entry = {"identitytoken": "id", "registrytoken": "reg"}
    found = find_credential("r.test", write(tmp_path, {"auths": {"r.test": entry}}))
    assert found == Credential(identity_token="id", registry_token="reg")


def test_an_empty_entry_is_no_login(tmp_path):
    assert not find_credential("r.test", write(tmp_path, {"auths": {"r.test": {}}}))


def test_a_login_shows_no_secret():
    secret = Credential(username="u", password="hunter2", identity_token="i7", registry_token="r7")
    assert not any(text in repr(secret) for text in ("hunter2", "i7", "r7"))
    assert set(secret.secrets) == {"hunter2", "i7", "r7", base64.b64encode(b"u:hunter2").decode()}


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', '{"credHelpers": "x"}', "\xff"])
def test_a_damaged_file_is_named(tmp_path, text):
    with pytest.raises(NetworkError, match=r"config\.json"):
        find_credential("r.test", write(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("auth", "!!!"),
        ("auth", "ünicode"),
        ("auth", base64.b64encode(b"\xff\xfe").decode()),
        ("registrytoken", "hunter2\n"),
        ("registrytoken", "hunter2ł"),
    ],
)
def test_a_damaged_login_is_named_but_not_shown(tmp_path, name, secret):
    config = write(tmp_path, {"auths": {"r.test": {name: secret}}})
    with pytest.raises(NetworkError, match=r"damaged login for r\.test") as caught:
        find_credential("r.test", config)
    assert secret.strip() not in "".join(traceback.format_exception(caught.value))


def test_what_docker_takes_for_nothing_is_nothing(tmp_path):
    config = write(tmp_path, {"auths": None, "credHelpers": None})
    assert find_credential("r.test", config) == ANONYMOUS
    entry = {"auth": LOGIN, "identitytoken": None}
    config = write(tmp_path, {"auths": {"https://[bad": {"auth": "x"}, "r.test": entry}})
    found = find_credential("r.test", config)
    assert (found.username, found.identity_token) == ("user", "")


def test_a_helper_is_asked_for_the_server(path_of_helpers):
    helper(
        path_of_helpers,
        "one",
        'test "$1" = get || exit 1\nread -r name\n'
        'printf \'{"ServerURL":"%s","Username":"for-%s","Secret":"s"}\' "$name" "$name"',
    )
    config = write(path_of_helpers, {"credHelpers": {"r.test": "one"}, "credsStore": "none"})
    assert find_credential("r.test", config).username == "for-r.test"


def test_the_hub_has_its_own_key(path_of_helpers):
    helper(path_of_helpers, "hub", 'read -r n; printf \'{"Username":"%s","Secret":"s"}\' "$n"')
    config = write(path_of_helpers, {"credsStore": "hub"})
    assert find_credential("docker.io", config).username == "https://index.docker.io/v1/"


def test_a_helper_s_token_is_an_identity_token(path_of_helpers):
    helper(path_of_helpers, "two", 'echo \'{"Username":"<token>","Secret":"abc"}\'')
    found = find_credential("r.test", write(path_of_helpers, {"credsStore": "two"}))
    assert found == Credential(identity_token="abc")


def test_a_helper_that_knows_none_leaves_it_to_the_file(path_of_helpers):
    helper(path_of_helpers, "three", "echo credentials not found in native keychain; exit 1")
    content = {"credsStore": "three", "auths": {"r.test": {"auth": LOGIN}}}
    assert find_credential("r.test", write(path_of_helpers, content)).username == "user"


@pytest.mark.parametrize(
    ("script", "match"),
    [("echo the vault is locked; exit 1", "status 1"), ("echo secret-junk", "no login")],
)
def test_a_helper_that_fails_is_named_without_its_words(path_of_helpers, script, match):
    helper(path_of_helpers, "four", script)
    with pytest.raises(NetworkError, match=match) as caught:
        find_credential("r.test", write(path_of_helpers, {"credsStore": "four"}))
    assert "secret-junk" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_helper_is_named(tmp_path):
    config = write(tmp_path, {"credsStore": "not-there"})
    with pytest.raises(MissingToolError, match="docker-credential-not-there"):
        find_credential("r.test", config)


@pytest.mark.parametrize(("content", "mode"), [("#!/bin/sh\n", 0o644), ("no program", 0o755)])
def test_a_helper_that_cannot_be_run_is_named(tmp_path, monkeypatch, content, mode):
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "docker-credential-five"
    program.write_text(content)
    program.chmod(mode)
    with pytest.raises(MissingToolError, match=r"docker-credential-five.* cannot be run"):
        find_credential("r.test", write(tmp_path, {"credsStore": "five"}))


def test_a_helper_s_name_is_no_path(tmp_path):
    config = write(tmp_path, {"credsStore": "../../bin/sh"})
    with pytest.raises(NetworkError, match="no credential helper"):
        find_credential("r.test", config)


def test_the_file_lies_where_docker_config_says(tmp_path):
    assert config_path({"DOCKER_CONFIG": str(tmp_path)}) == tmp_path / "config.json"
    assert config_path({}) == Path.home() / ".docker" / "config.json"
