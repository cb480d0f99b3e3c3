"""What a build is told, and that no value of it is an argument."""

from itertools import pairwise
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest

from envbuilder.engines.buildkit import gather
from envbuilder.engines.buildkit.folders import lent
from envbuilder.engines.buildkit.secrets import csv_row
from envbuilder.model.errors import UsageError

from . import locks

SECRET = "hunter2-5f2d9c1e"

urlopen = build_opener(ProxyHandler({})).open


def spec(**build):
    return locks.lock({}, build=build).spec


def sources(flags):
    """Map each secret's id to where it comes from."""
    given = [flag for before, flag in pairwise(flags) if before == "--secret"]
    return dict(flag.removeprefix("id=").split(",", 1) for flag in given)


def test_values_travel_by_name(tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{SECRET}-file\n")
    wanted = spec(secrets={"token": {"env": "TOKEN"}, "key": {"file": str(file)}})
    secrets = gather(wanted, {"TOKEN": SECRET})
    assert sources(secrets.flags)["token"] == "env=TOKEN"
    assert sources(secrets.flags)["key"] == f"src={file}"
    assert SECRET not in " ".join(secrets.flags)
    assert secrets.blot(f"a {SECRET} b {SECRET}-file c") == "a *** b *** c"


def test_index_settings_lie_in_no_file():
    environ = {
        "UV_DEFAULT_INDEX": f"https://me:{SECRET}@index.example.org/simple",
        "UV_INDEX_EXTRA_PASSWORD": "it's secret",
        "HOME": "/nonexistent",
        "UNRELATED": "x",
    }
    secrets = gather(spec(), environ)
    text = secrets.environ({})[sources(secrets.flags)["env"].removeprefix("env=")]
    assert SECRET not in " ".join(secrets.flags)
    assert secrets.blot(f"{SECRET} and it's secret") == "*** and ***"
    assert f"UV_DEFAULT_INDEX=https://me:{SECRET}@index.example.org/simple\n" in text.replace(
        "'", ""
    )
    assert "UV_INDEX_EXTRA_PASSWORD='it'\"'\"'s secret'\n" in text
    assert "UNRELATED" not in text


def test_what_pips_own_file_says_of_the_connection_counts(tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("PEM")
    (tmp_path / "pip.conf").write_text(
        f"[global]\ncert = {bundle}\nproxy = http://me:{SECRET}@proxy.example.org\n"
    )
    secrets = gather(spec(), {"PIP_CONFIG_FILE": f"{tmp_path}/pip.conf", "HOME": "/nonexistent"})
    assert sources(secrets.flags)["ca"] == f"src={bundle}"
    assert ("--build-arg", "HTTPS_PROXY") in list(pairwise(secrets.flags))
    assert secrets.environ({})["HTTPS_PROXY"] == f"http://me:{SECRET}@proxy.example.org"
    assert secrets.blot(SECRET) == "***"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".netrc", f"machine a login me password {SECRET}\nmachine b login me\n  password x"),
        (".netrc", f'machine a login me password "{SECRET}"'),
        (".config/uv/uv.toml", f'[[index]]\nurl = "https://me:{SECRET}@index.example.org/simple"'),
    ],
)
def test_passwords_in_files_are_blotted_out(tmp_path, name, text):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    secrets = gather(spec(), {"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"})
    assert secrets.blot(f"it is {SECRET}, extra") == "it is ***, extra"


def test_credentials_in_urls_are_blotted_out():
    secrets = gather(spec(), {"HOME": "/nonexistent"})
    assert secrets.blot("see https://me:p@w@host/x") == "see https://host/x"


def test_proxies_go_by_name():
    environ = {"https_proxy": f"http://me:{SECRET}@proxy.example.org", "HOME": "/nonexistent"}
    secrets = gather(spec(), environ)
    assert ("--build-arg", "https_proxy") in list(pairwise(secrets.flags))
    assert secrets.blot(f"the password is {SECRET}") == "the password is ***"
    assert SECRET not in " ".join(secrets.flags)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        ({"secrets": {"t": {"env": "NOT_SET"}}}, r"\$NOT_SET, which is not set"),
        ({"secrets": {"t": {"file": "/nonexistent/key"}}}, "cannot be read"),
        ({"ca": "/nonexistent/ca.pem"}, "there is no file"),
        ({"ssh": True}, "SSH agent"),
    ],
)
def test_what_is_missing_is_said_before_anything_runs(build, match):
    with pytest.raises(UsageError, match=match):
        gather(spec(**build), {"HOME": "/nonexistent"})


def test_ssh_is_the_agents():
    secrets = gather(spec(ssh=True), {"SSH_AUTH_SOCK": "/run/agent", "HOME": "/x"})
    assert "--ssh" in secrets.flags


def test_paths_with_commas_survive_buildx():
    assert csv_row("id=a", 'src=/x,"y"') == 'id=a,"src=/x,""y"""'


def told(environ, lent):
    (text,) = gather(spec(), {"HOME": "/nonexistent", **environ}).environ(lent).values()
    return text.splitlines()


def test_no_index_and_pages_of_wheels_are_told_to_uv_and_pip():
    page = "https://wheels.example.org/all.html"
    environ = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": page}
    expected = [f"PIP_FIND_LINKS={page}", "PIP_NO_INDEX=1", f"UV_FIND_LINKS={page}"]
    assert told(environ, {}) == expected


def test_a_folder_is_told_by_where_it_is_lent(tmp_path):
    environ = {"UV_FIND_LINKS": f"{tmp_path},https://a.example/x"}
    assert "UV_FIND_LINKS=https://a.example/x" in told(environ, {})  # a path means nothing there
    with lent([str(tmp_path), "https://a.example/x"]) as places:
        (tmp_path / "six-1.0-py3-none-any.whl").write_bytes(b"six")
        (url,) = places.values()
        assert f"UV_FIND_LINKS={url},https://a.example/x" in told(environ, places)
        assert b"six-1.0-py3-none-any.whl" in urlopen(url).read()
        assert {"NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"} < set(told(environ, places))
        proxies = {"http_proxy": "http://proxy.example.org", "NO_PROXY": "a.example"}
        secrets = gather(spec(), {"HOME": "/nonexistent", **environ, **proxies})
        text = secrets.environ(places)[sources(secrets.flags)["env"].removeprefix("env=")]
        assert "NO_PROXY=a.example,127.0.0.1\n" in text
        assert "no_proxy=a.example,127.0.0.1\n" in text
    with pytest.raises(URLError):
        urlopen(url)
