"""What a project says for all commands."""

import pytest

from envbuilder.cli.project import remote_settings
from envbuilder.evidence.keys import new_key
from envbuilder.model.errors import UsageError
from envbuilder.net.config import Settings
from envbuilder.registry.client import Client

FILE = """[store]
remote = "registry.example.com/team/layers"
trust = ["team.pub", "next.pub"]
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_nothing_said_is_nothing_shared():
    assert remote_settings({}) is None


def test_the_file_says_where_and_whom_to_trust_and_variables_win(tmp_path):
    (tmp_path / "envbuilder.toml").write_text(FILE)
    found = remote_settings({})
    assert found is not None
    assert str(found.place).startswith("registry.example.com/team/layers")
    assert (found.trust, found.key) == (("team.pub", "next.pub"), None)
    told = remote_settings(
        {
            "ENVBUILDER_REMOTE_STORE": "other.example.com/x",
            "ENVBUILDER_REMOTE_STORE_TRUST": "env://PUB",
            "ENVBUILDER_REMOTE_STORE_KEY": "env://KEY",
        }
    )
    assert told is not None
    assert (told.place.registry, told.trust, told.key) == (
        "other.example.com", ("env://PUB",), "env://KEY",
    )  # fmt: skip


def test_the_file_is_found_where_the_lockfiles_are(tmp_path, monkeypatch):
    inside = tmp_path / "project" / "services" / "api"
    inside.mkdir(parents=True)
    for name in (".git", "lockfiles"):
        (tmp_path / "project" / name).mkdir()
    keys = ["team.pub", "keys/next.pub", "/etc/all.pub", "env://PUB", "awskms:///alias/team"]
    text = f'[store]\nremote = "registry.example.com/x"\ntrust = {keys}\n'
    (tmp_path / "project" / "envbuilder.toml").write_text(text)
    (inside / "envbuilder.toml").write_text("[something else]\n")
    monkeypatch.chdir(inside)
    found = remote_settings({})
    assert found is not None
    assert found.trust == ("../../team.pub", "../../keys/next.pub", *keys[2:])
    told = remote_settings({"ENVBUILDER_REMOTE_STORE_TRUST": "team.pub"})
    assert told is not None
    assert told.trust == ("team.pub",)  # of a variable: from here, as a shell completes it


def test_a_file_above_that_does_not_fit_is_named(tmp_path, monkeypatch):
    for name in (".git", "lockfiles", "sub"):
        (tmp_path / name).mkdir()
    (tmp_path / "envbuilder.toml").write_text("[store")
    monkeypatch.chdir(tmp_path / "sub")
    with pytest.raises(UsageError, match=r"\.\./envbuilder\.toml cannot be used"):
        remote_settings({})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[store", "cannot be used"),
        ("[store]\nremot = 'x'\n", "remot"),
        ("[store]\ntrust = 'team.pub'\n", "store.trust"),
        ("[stor]\n", "stor"),
    ],
)
def test_a_file_that_does_not_fit_says_where(tmp_path, text, message):
    (tmp_path / "envbuilder.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        remote_settings({})


def test_a_place_without_a_key_to_trust_is_refused(tmp_path):
    with Client(Settings(), docker_config=tmp_path / "none.json") as client:
        found = remote_settings({"ENVBUILDER_REMOTE_STORE": "registry.example.com/x"})
        assert found is not None
        with pytest.raises(UsageError, match="without a key to trust"):
            found.open(client)
        private, _ = new_key(tmp_path / "own")
        own = remote_settings(
            {
                "ENVBUILDER_REMOTE_STORE": "registry.example.com/x",
                "ENVBUILDER_REMOTE_STORE_KEY": str(private),
            }
        )
        assert own is not None
        assert len(own.open(client).trusted.keys) == 1  # what we sign ourselves counts
