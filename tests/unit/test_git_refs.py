import pytest

from envbuilder.model.errors import DiskFullError, NetworkError, ResolutionError
from envbuilder.model.git_url import Address
from envbuilder.resolve.git.git_errors import explain
from envbuilder.resolve.git.mirror import Refs

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40


def test_refs_of_ls_remote():
    text = (
        f"{ONE}\trefs/heads/main\n{ONE}\trefs/heads/a/b\n"
        f"{TWO}\trefs/tags/v1\n{THREE}\trefs/tags/v1^{{}}\n{ONE}\trefs/tags/light\n"
    )
    refs = Refs.parse(text)
    assert refs.heads == {"main": ONE, "a/b": ONE}
    assert refs.tags == {"v1": THREE, "light": ONE}
    assert refs.tips["refs/tags/v1"] == TWO
    assert "refs/tags/v1^{}" not in refs.tips
    assert refs.object_format == "sha1"
    assert Refs.parse(f"{'4' * 64}\trefs/heads/main\n").object_format == "sha256"


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_what_python_takes_for_the_end_of_a_line_is_none_in_a_ref(sign):
    refs = Refs.parse(f"{ONE}\trefs/heads/x{sign}y\n{TWO}\trefs/heads/main\n")
    assert refs.heads == {f"x{sign}y": ONE, "main": TWO}


@pytest.mark.parametrize(
    ("stderr", "kind", "words"),
    [
        ("fatal: could not read Username for 'https://h': terminal prompts disabled",
         NetworkError, "refused our login"),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
         NetworkError, "refused our login"),
        ("remote: Repository not found.\nfatal: repository 'https://h/p/' not found",
         ResolutionError, "there is no git repository"),
        ("fatal: unable to access 'https://h/p/': Could not resolve host: h",
         NetworkError, "cannot reach"),
        ("fatal: early EOF\nfatal: index-pack failed", NetworkError, "cannot reach"),
        ("fatal: write error: No space left on device", DiskFullError, "the disk filled up"),
        ("fatal: detected dubious ownership in repository at '/srv/p'",
         NetworkError, "belongs to another user"),
        ("fatal: something new", ResolutionError, "fatal: something new"),
        ("", ResolutionError, "it gave no reason"),
    ],
)  # fmt: skip
def test_what_git_says_in_our_words(stderr, kind, words):
    error = explain(Address.parse("https://h/p"), stderr)
    assert type(error) is kind
    assert words in error.message
