"""Builds that asked the network in vain, in the words of the programs that asked."""

import pytest

from envbuilder.resolve.git.no_network import explain, wanted_address

URL = "https://github.com/nvidia/cutlass.git"


LOGS = [
    f"fatal: unable to access '{URL}': Could not resolve host: github.com\n",
    f"git clone {URL}\nssh: Could not resolve hostname github.com: Temporary failure",
    f"unable to access '{URL}': Failed to connect to 127.0.0.1 port 1: Couldn't connect to server",
    f"<urlopen error [Errno -3] Temporary failure in name resolution>\nwhile reading {URL}",
    f"Downloading crates\n  failed to download from `{URL}`\n  [6] Couldn't resolve host name",
    f"NewConnectionError: Failed to establish a new connection: [Errno 101] ...: {URL}",
]
HOSTS = {
    "ssh: Could not resolve hostname git.example.org: Name or service not known": "git.example.org",
    "curl: (6) Could not resolve host: example.org": "example.org",
    "fatal: unable to connect to 10.0.0.1:\nerrno=Network is unreachable": "",
}


@pytest.mark.parametrize("log", LOGS)
def test_the_address_is_found(log):
    assert wanted_address(log) == URL


@pytest.mark.parametrize("log", HOSTS)
def test_without_an_address_the_host_is_named_if_it_is_told(log):
    assert wanted_address(log) == HOSTS[log]


@pytest.mark.parametrize(
    "log",
    ["", "error: command '/usr/bin/gcc' failed", f"see {URL} for help", "the host is resolved"],
)
def test_other_failures_are_not_blamed_on_the_network(log):
    assert wanted_address(log) is None
    assert explain(log) is None


def test_the_words_name_the_address_and_the_key():
    message, hint = explain(f"fatal: unable to access '{URL}/': Could not resolve host: github.com")
    assert message == f"builds have no network; it wanted {URL}/"
    assert "sources: {NAME: {git: " in hint
    assert "fetchcontent" in hint
