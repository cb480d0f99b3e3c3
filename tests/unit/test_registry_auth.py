"""Challenges of servers (RFC 9110, 11.6.1), parsed as they really come."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuilder.model.errors import NetworkError
from envbuilder.registry import auth
from envbuilder.registry.auth import Authorizer, RefusedError, parse_challenges
from envbuilder.registry.credentials import ANONYMOUS, Credential


def parsed(header: str) -> list[tuple[str, dict[str, str]]]:
    return [(item.scheme, dict(item.parameters)) for item in parse_challenges(header)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("BASIC Realm = x", [("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://auth.test/token",service="r",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {
                        "realm": "https://auth.test/token",
                        "service": "r",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (
            'Negotiate abc==, Basic realm="a, b", Bearer realm="c"',
            [("negotiate", {}), ("basic", {"realm": "a, b"}), ("bearer", {"realm": "c"})],
        ),
        ("Negotiate, Basic", [("negotiate", {}), ("basic", {})]),
        (r'Basic realm="say \"hi\""', [("basic", {"realm": 'say "hi"'})]),
        ('Basic realm="never ends', [("basic", {})]),
        ('Basic realm="first", realm="second"', [("basic", {"realm": "first"})]),
        ('="x"', []),
    ],
)
def test_challenges(header, expected):
    assert parsed(header) == expected


_words = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
_challenges = st.tuples(_words, st.dictionaries(_words, _values, min_size=1, max_size=4))


def written(challenges: list[tuple[str, dict[str, str]]]) -> str:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )


@given(st.lists(_challenges, max_size=4))
def test_what_is_written_by_the_grammar_is_read_back(challenges):
    assert parsed(written(challenges)) == challenges


@given(st.text(max_size=200))
def test_nothing_breaks_the_parser(header):
    parse_challenges(header)


# -- tokens -------------------------------------------------------------------------------------

SCOPES = frozenset({"repository:app:pull"})
BEARER = 'Bearer realm="https://auth.test/token",service="r"'
LOGIN = Credential(username="u", password="hunter2")


class Tokens:
    """A transport to a token server; ``now`` is the time that the login goes by."""

    def __init__(self, monkeypatch, answer=None, status=200):
        self.now, self.asked, self.status = 1000.0, [], status
        self.answer = answer if answer is not None else {"token": "one"}
        monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: self.now))

    def check_address(self, _url):
        pass

    def send(self, request):
        self.asked.append(request)
        body = json.dumps(self.answer).encode()
        return nullcontext(SimpleNamespace(status=self.status, read=lambda _limit: body))


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"token": "one", "expires_in": 300}, 270),
        ({"token": "one", "expires_in": "100"}, 90),
        ({"token": "one"}, 54),
        ({"token": "one", "expires_in": 0}, 54),
        ({"token": "one", "expires_in": None}, 54),
    ],
)
def test_a_token_is_used_for_nine_tenths_of_its_time(monkeypatch, answer, seconds):
    tokens = Tokens(monkeypatch, answer)
    login = Authorizer(tokens, "r.test", LOGIN)
    assert login.header(SCOPES) is None
    assert login.renew(SCOPES, None, BEARER) == "Bearer one"
    tokens.now = 1000 + seconds - 1
    assert login.header(SCOPES) == "Bearer one"
    assert login.header(frozenset({"repository:app:pull,push"})) is None
    tokens.now = 1000 + seconds + 1
    assert login.header(SCOPES) is None


@pytest.mark.parametrize(
    ("answer", "token"),
    [
        ({"token": "one", "access_token": "two"}, "one"),
        ({"access_token": "two"}, "two"),
        ({"token": "", "access_token": "two"}, "two"),
        ({"token": None, "access_token": "two"}, "two"),
    ],
)
def test_either_name_of_a_token_is_read(monkeypatch, answer, token):
    login = Authorizer(Tokens(monkeypatch, answer), "r.test", LOGIN)
    assert login.renew(SCOPES, None, BEARER) == f"Bearer {token}"


@pytest.mark.parametrize(
    "answer",
    [{}, {"token": ""}, {"token": "a b"}, {"token": 7}, [], {"token": "x", "expires_in": "y"}],
)
def test_an_answer_without_a_token_is_an_error(monkeypatch, answer):
    login = Authorizer(Tokens(monkeypatch, answer), "r.test", LOGIN)
    with pytest.raises(NetworkError, match="an answer without a token"):
        login.renew(SCOPES, None, BEARER)


def test_a_token_that_another_thread_got_is_not_asked_for_again(monkeypatch):
    tokens = Tokens(monkeypatch)
    login = Authorizer(tokens, "r.test", LOGIN)
    assert login.renew(SCOPES, None, BEARER) == "Bearer one"
    assert login.renew(SCOPES, None, BEARER) == "Bearer one"
    assert login.renew(SCOPES, "Bearer old", BEARER) == "Bearer one"
    assert len(tokens.asked) == 1


def test_a_refused_token_is_replaced(monkeypatch):
    tokens = Tokens(monkeypatch)
    login = Authorizer(tokens, "r.test", LOGIN)
    login.renew(SCOPES, None, BEARER)
    tokens.answer = {"token": "two"}
    assert login.renew(SCOPES, "Bearer one", BEARER) == "Bearer two"
    login.forget(SCOPES, "Bearer one")
    assert login.header(SCOPES) == "Bearer two", "another thread has replaced it"
    login.forget(SCOPES, "Bearer two")
    assert login.header(SCOPES) is None


def test_a_refused_password_is_not_sent_again(monkeypatch):
    login = Authorizer(Tokens(monkeypatch), "r.test", LOGIN)
    assert login.renew(SCOPES, None, "Basic") == LOGIN.basic
    assert login.header(SCOPES) == LOGIN.basic
    with pytest.raises(RefusedError, match="refused the login") as caught:
        login.renew(SCOPES, LOGIN.basic, "Basic")
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_without_a_login_there_is_nothing_to_send(monkeypatch):
    login = Authorizer(Tokens(monkeypatch), "r.test", ANONYMOUS)
    with pytest.raises(RefusedError, match="asks for a login"):
        login.renew(SCOPES, None, "Basic")


def test_a_ready_token_is_sent_as_it_is(monkeypatch):
    tokens = Tokens(monkeypatch)
    login = Authorizer(tokens, "r.test", Credential(registry_token="ready"))
    assert login.header(SCOPES) == "Bearer ready"
    with pytest.raises(RefusedError):
        login.renew(SCOPES, "Bearer ready", BEARER)
    assert tokens.asked == []


@pytest.mark.parametrize(
    ("status", "kind"), [(401, RefusedError), (403, RefusedError), (500, NetworkError)]
)
def test_a_token_server_that_refuses(monkeypatch, status, kind):
    login = Authorizer(Tokens(monkeypatch, status=status), "r.test", LOGIN)
    with pytest.raises(kind) as caught:
        login.renew(SCOPES, None, BEARER)
    assert "hunter2" not in str(caught.value)
