"""Logins from Docker's configuration and its helpers."""

import base64
import json
import os
import traceback
from pathlib import Path

import pytest

from envbuilder.model.errors import MissingToolError, NetworkError
from envbuilder.registry.credentials import ANONYMOUS, Credential, config_paths, find_credential
from envbuilder.registry.login_hints import login_hint

LOGIN = base64.b64encode(b"user:pass:word").decode()


def find(registry: str, config: Path) -> Credential:
    return find_credential(registry, [config])


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
    assert find("r.test", tmp_path / "config.json") == ANONYMOUS


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
    found = find(registry, config)
    assert (found.username, found.password) == ("user", "pass:word")
    assert found.basic == f"Basic {LOGIN}"


def test_identity_and_registry_tokens(tmp_path):
    entry = {"identitytoken": "id", "registrytoken": "reg"}
    found = find("r.test", write(tmp_path, {"auths": {"r.test": entry}}))
    assert found == Credential(identity_token="id", registry_token="reg")


def test_an_empty_entry_is_no_login(tmp_path):
    assert not find("r.test", write(tmp_path, {"auths": {"r.test": {}}}))


def test_a_login_shows_no_secret():
    secret = Credential(username="u", password="hunter2", identity_token="i7", registry_token="r7")
    assert not any(text in repr(secret) for text in ("hunter2", "i7", "r7"))
    assert set(secret.secrets) == {"hunter2", "i7", "r7", base64.b64encode(b"u:hunter2").decode()}


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', '{"credHelpers": "x"}', "\xff"])
def test_a_damaged_file_is_named(tmp_path, text):
    with pytest.raises(NetworkError, match=r"config\.json"):
        find("r.test", write(tmp_path, text))


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
        find("r.test", config)
    assert secret.strip() not in "".join(traceback.format_exception(caught.value))


def test_what_docker_takes_for_nothing_is_nothing(tmp_path):
    config = write(tmp_path, {"auths": None, "credHelpers": None})
    assert find("r.test", config) == ANONYMOUS
    entry = {"auth": LOGIN, "identitytoken": None}
    config = write(tmp_path, {"auths": {"https://[bad": {"auth": "x"}, "r.test": entry}})
    found = find("r.test", config)
    assert (found.username, found.identity_token) == ("user", "")


def test_a_helper_is_asked_for_the_server(path_of_helpers):
    helper(
        path_of_helpers,
        "one",
        'test "$1" = get || exit 1\nread -r name\n'
        'printf \'{"ServerURL":"%s","Username":"for-%s","Secret":"s"}\' "$name" "$name"',
    )
    config = write(path_of_helpers, {"credHelpers": {"r.test": "one"}, "credsStore": "none"})
    assert find("r.test", config).username == "for-r.test"


def test_the_hub_has_its_own_key(path_of_helpers):
    helper(path_of_helpers, "hub", 'read -r n; printf \'{"Username":"%s","Secret":"s"}\' "$n"')
    config = write(path_of_helpers, {"credsStore": "hub"})
    assert find("docker.io", config).username == "https://index.docker.io/v1/"


def test_a_helper_s_token_is_an_identity_token(path_of_helpers):
    helper(path_of_helpers, "two", 'echo \'{"Username":"<token>","Secret":"abc"}\'')
    found = find("r.test", write(path_of_helpers, {"credsStore": "two"}))
    assert found == Credential(identity_token="abc")


def test_a_helper_that_knows_none_leaves_it_to_the_file(path_of_helpers):
    helper(path_of_helpers, "three", "echo credentials not found in native keychain; exit 1")
    content = {"credsStore": "three", "auths": {"r.test": {"auth": LOGIN}}}
    assert find("r.test", write(path_of_helpers, content)).username == "user"


@pytest.mark.parametrize(
    ("script", "match"),
    [("echo the vault is locked; exit 1", "status 1"), ("echo secret-junk", "no login")],
)
def test_a_helper_that_fails_is_named_without_its_words(path_of_helpers, script, match):
    helper(path_of_helpers, "four", script)
    with pytest.raises(NetworkError, match=match) as caught:
        find("r.test", write(path_of_helpers, {"credsStore": "four"}))
    assert "secret-junk" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_helper_is_named(tmp_path):
    config = write(tmp_path, {"credsStore": "not-there"})
    with pytest.raises(MissingToolError, match="docker-credential-not-there"):
        find("r.test", config)


@pytest.mark.parametrize(("content", "mode"), [("#!/bin/sh\n", 0o644), ("no program", 0o755)])
def test_a_helper_that_cannot_be_run_is_named(tmp_path, monkeypatch, content, mode):
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "docker-credential-five"
    program.write_text(content)
    program.chmod(mode)
    with pytest.raises(MissingToolError, match=r"docker-credential-five.* cannot be run"):
        find("r.test", write(tmp_path, {"credsStore": "five"}))


def test_a_helper_s_name_is_no_path(tmp_path):
    config = write(tmp_path, {"credsStore": "../../bin/sh"})
    with pytest.raises(NetworkError, match="no credential helper"):
        find("r.test", config)


def test_the_files_lie_where_the_environment_says(tmp_path):
    home = Path.home()
    assert config_paths({}) == (
        home / ".docker" / "config.json",
        home / ".config" / "containers" / "auth.json",
    )
    named = {
        "DOCKER_CONFIG": str(tmp_path / "d"),
        "XDG_RUNTIME_DIR": str(tmp_path / "r"),
        "XDG_CONFIG_HOME": str(tmp_path / "c"),
    }
    assert config_paths(named) == (
        tmp_path / "d" / "config.json",
        tmp_path / "r" / "containers" / "auth.json",
        tmp_path / "c" / "containers" / "auth.json",
    )
    named["REGISTRY_AUTH_FILE"] = str(tmp_path / "only.json")
    assert config_paths(named) == (tmp_path / "only.json",)


def login(name: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:x".encode()).decode()}


@pytest.mark.parametrize(
    ("repository", "who"),
    [
        ("team/app/web", "web"),
        ("team/app/api", "app"),
        ("team/other", "team"),
        ("elsewhere", "all"),
        ("teams/app", "all"),
    ],
)
def test_podman_s_keys_may_name_a_part_of_a_registry(tmp_path, repository, who):
    keys = {"r.test": "all", "r.test/team": "team", "r.test/team/app": "app",
            "r.test/team/app/web": "web"}  # fmt: skip
    config = write(tmp_path, {"auths": {key: login(name) for key, name in keys.items()}})
    assert find_credential("r.test", [config], repository).username == who


@pytest.mark.parametrize("key", ["r.test/team", "https://r.test/team", "r.test/team/", "r.test/v1"])
def test_a_key_for_a_part_is_not_sent_for_the_rest(tmp_path, key):
    config = write(tmp_path, {"auths": {key: login("team")}})
    part = key.removeprefix("https://").removeprefix("r.test/").rstrip("/")
    assert find_credential("r.test", [config], f"{part}/app").username == "team"
    for repository in ("other/app", f"{part}s/app", ""):
        assert find_credential("r.test", [config], repository) == ANONYMOUS


def test_of_two_spellings_the_one_that_is_written_today_wins(tmp_path):
    keys = {"https://r.test/v1/": "old", "r.test": "new", "docker.io": "podman",
            "https://index.docker.io/v1/": "docker"}  # fmt: skip
    config = write(tmp_path, {"auths": {key: login(name) for key, name in keys.items()}})
    assert find("r.test", config).username == "new"
    assert find("docker.io", config).username == "docker"


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("https://r.test", "r.test"),
    ],
)
def test_a_helper_is_named_by_any_spelling_of_a_registry(path_of_helpers, key, registry):
    helper(path_of_helpers, "any", 'read -r n; printf \'{"Username":"%s","Secret":"s"}\' "$n"')
    config = write(path_of_helpers, {"credHelpers": {key: "any", "r.test/team": "none"}})
    found = find_credential(registry, [config], "team/app")
    assert found.username == ("r.test" if registry == "r.test" else "https://index.docker.io/v1/")


def test_the_first_file_with_a_login_wins(tmp_path):
    files = []
    for name, registry in (("one", "other.test"), ("two", "r.test"), ("three", "r.test")):
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name, {"auths": {registry: login(name)}}))
    assert find_credential("r.test", [tmp_path / "none.json", *files]).username == "two"


def test_a_password_s_padding_is_taken_off(tmp_path):
    """Docker for Windows pads with NUL, which no registry takes."""
    entry = {"auth": base64.b64encode(b"user:secret\0\0\0").decode()}
    found = find("r.test", write(tmp_path, {"auths": {"r.test": entry}}))
    assert found.password == "secret"


@pytest.mark.parametrize(
    ("registry", "words"),
    [
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            ["aws ecr get-login-password", "ecr-login"],
        ),
        ("public.ecr.aws", ["aws ecr get-login-password"]),
        ("europe-docker.pkg.dev", ["gcloud auth configure-docker europe-docker.pkg.dev"]),
        ("eu.gcr.io", ["gcloud"]),
        ("mine.azurecr.io", ["az acr login", "acr-env"]),
        ("ghcr.io", ["write:packages"]),
        ("r.test", ["docker login r.test"]),
        ("gcr.io.evil.test", ["docker login gcr.io.evil.test"]),
    ],
)
def test_a_cloud_s_own_login_is_named(registry, words):
    assert all(word in login_hint(registry) for word in words)
