"""What uv hears of a machine's indexes: its own settings, pip's where it has none, the spec's."""

from pathlib import Path

import pytest

from envbuilder.model.package_spec import Index
from envbuilder.resolve.python import indexes
from envbuilder.resolve.python.credentials import find_login
from envbuilder.resolve.python.indexes import index_flags, known_indexes, uv_environment

HERE = "https://pkg.example.org/simple"
THERE = "https://more.example.org/simple"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with room for configuration files, on a machine that has none of its own."""
    monkeypatch.setattr(indexes, "_ETC", tmp_path / "etc")
    for folder in ("pip", "uv"):
        (tmp_path / ".config" / folder).mkdir(parents=True)
    return tmp_path


def told(home: Path, pip: str = "", uv: str = "", **environ: str) -> dict[str, str]:
    """Give what uv is told beside HOME, with these files in it."""
    (home / ".config/pip/pip.conf").write_text(pip)
    (home / ".config/uv/uv.toml").write_text(uv)
    found = uv_environment(Index(), {"HOME": str(home), **environ})
    return {name: value for name, value in found.items() if name != "HOME"}


def test_pips_file_speaks_where_uv_was_told_nothing(home):
    pip = f"[global]\nindex-url = {HERE}\nextra-index-url = {THERE}\n  {HERE}/2\n"
    assert told(home, pip) == {
        "UV_DEFAULT_INDEX": HERE,
        "UV_INDEX": f"{THERE} {HERE}/2",
    }


def test_pips_variables_override_its_files_and_install_overrides_global(home):
    pip = f"[install]\nindex-url = {HERE}\n[global]\nindex-url = {THERE}\n"
    assert told(home, pip)["UV_DEFAULT_INDEX"] == HERE
    assert told(home, pip, PIP_INDEX_URL=THERE)["UV_DEFAULT_INDEX"] == THERE


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL"])
def test_a_variable_of_uv_silences_pip(home, variable):
    own = {variable: HERE}
    assert told(home, f"[global]\nindex-url = {THERE}\n", **own) == own


@pytest.mark.parametrize(
    "uv",
    [
        f'index-url = "{HERE}"',
        f'[[index]]\nurl = "{HERE}"\ndefault = true',
        f'[pip]\nindex-url = "{HERE}"',
        "no-index = true",
    ],
)
def test_a_file_of_uv_silences_pip(home, uv):
    assert told(home, f"[global]\nindex-url = {THERE}\n", uv) == {}


@pytest.mark.parametrize("broken", ["[global", "index-url = x\n", "[global]\nindex-url"])
def test_a_broken_file_of_pip_says_nothing(home, broken):
    assert told(home, broken) == {}


@pytest.mark.parametrize(("value", "counts"), [("1", True), ("true", True), ("0", False)])
def test_no_index_is_a_flag_of_uv(home, value, counts):
    flags = ["--no-index"] if counts else []
    variable = told(home, PIP_NO_INDEX=value)
    assert index_flags(Index(), variable) == flags
    assert told(home, f"[global]\nno-index = {value}\n") == variable
    assert index_flags(Index(), told(home, PIP_NO_INDEX=value, UV_DEFAULT_INDEX=HERE)) == []


def test_what_would_change_the_versions_is_not_passed_on(home):
    fixed = {
        "UV_CONSTRAINT": "/etc/constraints.txt",
        "UV_OVERRIDE": "/etc/overrides.txt",
        "UV_EXCLUDE_NEWER": "2020-01-01",
        "UV_RESOLUTION": "lowest",
        "UV_PRERELEASE": "allow",
        "UV_INDEX_STRATEGY": "first-index",
        "UV_TORCH_BACKEND": "cpu",
    }
    kept = {
        "UV_INDEX": f"corp={HERE}",
        "UV_INDEX_CORP_USERNAME": "u",
        "UV_INDEX_CORP_PASSWORD": "p",
        "UV_FIND_LINKS": "/wheels",
        "UV_HTTP_TIMEOUT": "9",
        "UV_CACHE_DIR": "/cache",
        "UV_CONFIG_FILE": "/dev/null",
    }
    assert told(home, **fixed, **kept) == kept


def test_pips_connection_is_uvs_too(home):
    proxy = "http://proxy.example.org:3128"
    pip = f"[global]\ncert = /ca.pem\nproxy = {proxy}\n"
    uv = f'index-url = "{HERE}"'  # says nothing about how to get there
    translated = {"SSL_CERT_FILE": "/ca.pem", "HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    assert told(home, pip, uv) == translated
    own = {"https_proxy": "http://own:1", "HTTP_PROXY": "http://own:2", "SSL_CERT_FILE": "/own"}
    assert told(home, pip, uv, **own) == own


def test_a_spec_sets_the_default_and_puts_its_own_first(home):
    index = Index(url=HERE, extra_urls=("https://a.example/", "https://b.example/"))
    found = uv_environment(index, {"HOME": str(home), "UV_INDEX": THERE, "UV_DEFAULT_INDEX": "x"})
    assert found["UV_DEFAULT_INDEX"] == HERE
    assert found["UV_INDEX"] == f"https://a.example/ https://b.example/ {THERE}"
    assert index_flags(index, found) == ["--no-config"]


def test_indexes_are_listed_with_their_names(home):
    uv = f'extra-index-url = ["{THERE}"]\n[[index]]\nname = "corp"\nurl = "{HERE}"\n'
    told(home, uv=uv)
    environ = {"HOME": str(home), "UV_INDEX": f"one={HERE}?a=b {THERE}", "UV_DEFAULT_INDEX": HERE}
    listed = list(known_indexes(uv_environment(Index(), environ)))
    assert listed == [
        ("", HERE), ("one", f"{HERE}?a=b"), ("", THERE), ("corp", HERE), ("", THERE)
    ]  # fmt: skip


FILE = "https://pkg.example.org/files/a.whl"
LOGIN = ("u", "p@ss")


@pytest.mark.parametrize(
    "environ",
    [
        {"UV_INDEX": "https://u:p%40ss@pkg.example.org/simple"},
        {"UV_INDEX": "https://u:p@ss@pkg.example.org/simple"},
        {"UV_INDEX": "corp=https://u:p%40ss@pkg.example.org/simple"},
        {"UV_INDEX": f"my-corp={HERE}", "UV_INDEX_MY_CORP_USERNAME": "u",
         "UV_INDEX_MY_CORP_PASSWORD": "p@ss"},
        {"PIP_INDEX_URL": "https://u:p%40ss@pkg.example.org/simple"},
    ],
)  # fmt: skip
def test_a_login_from_variables(home, environ):
    told(home)
    found = uv_environment(Index(), {"HOME": str(home), "NETRC": "/dev/null", **environ})
    assert find_login(FILE, found) == LOGIN
    for other in ("https://other.example.org/a.whl", FILE.replace("https", "http"),
                  FILE.replace("org/", "org:8443/")):  # fmt: skip
        assert find_login(other, found) is None


@pytest.mark.parametrize(
    ("pip", "uv"),
    [
        ("[global]\nindex-url = https://u:p%40ss@pkg.example.org/simple\n", ""),
        ("", 'index-url = "https://u:p%40ss@pkg.example.org/simple"'),
        ("", '[pip]\nextra-index-url = ["https://u:p%40ss@pkg.example.org/simple"]'),
        ("", '[[index]]\nurl = "https://u:p%40ss@pkg.example.org/simple"'),
    ],
)
def test_a_login_from_files(home, pip, uv):
    told(home, pip, uv)
    found = uv_environment(Index(), {"HOME": str(home), "NETRC": "/dev/null"})
    assert find_login(FILE, found) == LOGIN


def test_a_name_in_uvs_file_may_have_its_login_in_variables(home):
    told(home, uv=f'[[index]]\nname = "corp"\nurl = "{HERE}"')
    login = {"UV_INDEX_CORP_USERNAME": "u", "UV_INDEX_CORP_PASSWORD": "p@ss"}
    assert find_login(FILE, uv_environment(Index(), {"HOME": str(home), **login})) == LOGIN


def test_of_two_indexes_on_a_server_the_nearer_one_logs_in(home):
    told(home)
    both = "https://one:1@pkg.example.org/one/simple https://two:2@pkg.example.org/two/simple"
    found = uv_environment(Index(), {"HOME": str(home), "UV_INDEX": both})
    assert find_login("https://pkg.example.org/one/files/a.whl", found) == ("one", "1")
    assert find_login("https://pkg.example.org/two/files/a.whl", found) == ("two", "2")


def test_netrc_speaks_where_no_index_does(home):
    told(home)
    (home / "netrc").write_text("machine pkg.example.org login u password p@ss\n")
    environ = {"HOME": str(home), "NETRC": str(home / "netrc")}
    assert find_login(FILE, uv_environment(Index(), environ)) == LOGIN
    own = FILE.replace("https://", "https://me:x@")
    assert find_login(own, uv_environment(Index(), environ)) == ("me", "x")


@pytest.mark.usefixtures("told_nothing")
def test_a_keyring_is_asked_for_the_user_of_an_index(home, monkeypatch):
    told(home)
    program = home / "keyring"
    program.write_text(f'#!/bin/sh\n[ "$*" = "get {HERE} u" ] && echo p@ss\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    environ = {"HOME": str(home), "NETRC": "/dev/null",
               "UV_INDEX": HERE.replace("https://", "https://u@")}  # fmt: skip
    assert find_login(FILE, uv_environment(Index(), environ)) == ("u", "")
    environ["UV_KEYRING_PROVIDER"] = "subprocess"
    assert find_login(FILE, uv_environment(Index(), environ)) == LOGIN


@pytest.mark.parametrize(
    "uv",
    [
        "pip = 1",
        "index = 1",
        "index = [1]",
        "index-url = 1",
        "extra-index-url = 1",
        "extra-index-url = [1]",
        "a = " + "[" * 100_000,
        "a = " + "1" * 5000,
    ],
)
def test_a_file_of_uv_that_is_none_says_nothing(home, uv):
    told(home, uv=uv)
    assert list(known_indexes({"HOME": str(home)})) == []
