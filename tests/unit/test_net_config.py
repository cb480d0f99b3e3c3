"""What the environment says about proxies, certificates and plain HTTP."""

import ssl

import pytest

from envbuilder.model.errors import UsageError
from envbuilder.net.config import Settings, is_loopback
from envbuilder.net.messages import origin, place
from envbuilder.registry.repository import with_query
from tests.servers.certificates import authority


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("10.0.0.1", False),
        ("registry.test", False),
    ],
)
def test_loopback_is_told_by_name(host, loopback):
    assert is_loopback(host) is loopback


def test_proxies_come_from_the_environment_but_not_for_loopback():
    settings = Settings.from_environment(
        {"HTTPS_PROXY": "http://p:1", "no_proxy": ".inner.test,other.test:8443"}
    )
    assert settings.proxy_for("https://r.test/v2/") == {"https": "http://p:1"}
    assert settings.proxy_for("http://r.test/v2/") == {}
    assert settings.proxy_for("https://a.inner.test/v2/") == {}
    assert settings.proxy_for("https://other.test:8443/v2/") == {}
    assert settings.proxy_for("https://localhost:5000/v2/") == {}


def test_a_port_that_is_not_said_is_the_scheme_s():
    settings = Settings.from_environment({"ALL_PROXY": "http://p:1", "NO_PROXY": "r.test:443"})
    assert settings.proxy_for("https://r.test/v2/") == {}
    assert settings.proxy_for("http://r.test/v2/") == {"http": "http://p:1"}
    assert settings.proxy_for("https://[fd12::1]/v2/") == {"https": "http://p:1"}


def test_a_proxy_for_all_stands_in_for_those_that_are_not_named():
    settings = Settings.from_environment({"all_proxy": "http://a:1", "HTTP_PROXY": "http://h:1"})
    assert settings.proxy_for("https://r.test/v2/") == {"https": "http://a:1"}
    assert settings.proxy_for("http://r.test/v2/") == {"http": "http://h:1"}


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_spellings_the_lower_case_one_wins(order):
    said = [("HTTPS_PROXY", "http://upper:1"), ("https_proxy", "http://lower:1")]
    settings = Settings.from_environment(dict(said[::order]))
    assert settings.proxy_for("https://r.test/v2/") == {"https": "http://lower:1"}


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_are_a_file_in_any_of_three_variables(tmp_path, name):
    certificate, _ = authority().write(tmp_path, "ca")
    context = Settings.from_environment({name: str(certificate)}).tls_context("r.test")
    ours = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    assert ours in context.get_ca_certs(binary_form=True)


def test_a_proxy_s_password_is_not_shown():
    settings = Settings.from_environment({"https_proxy": "http://u:hunter2@p:1"})
    assert "hunter2" not in repr(settings)


def test_a_missing_ca_file_is_named():
    with pytest.raises(UsageError, match=r"/nowhere/ca\.pem"):
        Settings.from_environment({"SSL_CERT_FILE": "/nowhere/ca.pem"})


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_a_ca_file_that_is_none_is_named(tmp_path, content):
    file = tmp_path / "ca.pem"
    file.write_text(content)
    settings = Settings.from_environment({"SSL_CERT_FILE": str(file)})
    with pytest.raises(UsageError, match=r"ca\.pem holds no CA in PEM"):
        settings.tls_context("r.test")


@pytest.mark.parametrize("name", ["ca.crt", "client.cert"])
def test_a_damaged_certificate_of_docker_s_is_named(tmp_path, name):
    (tmp_path / "r.test").mkdir()
    (tmp_path / "r.test" / name).write_text("no certificate")
    with pytest.raises(UsageError, match=f"{name} holds no"):
        Settings(certificates=tmp_path).tls_context("r.test")


def test_a_client_s_certificate_needs_its_key(tmp_path):
    (tmp_path / "r.test").mkdir()
    authority().write(tmp_path / "r.test", "client")[0].rename(tmp_path / "r.test/client.cert")
    (tmp_path / "r.test/client.key").unlink()
    with pytest.raises(UsageError, match=r"client\.cert holds no certificate with its \.key"):
        Settings(certificates=tmp_path).tls_context("r.test")


def test_plain_http_is_for_those_that_are_named():
    settings = Settings.from_environment({"ENVBUILDER_PLAIN_HTTP": "r.test:5000, s.test"})
    assert settings.base_url("r.test:5000") == "http://r.test:5000"
    assert settings.base_url("s.test") == "http://s.test"
    assert settings.base_url("t.test") == "https://t.test"
    assert settings.base_url("docker.io") == "https://registry-1.docker.io"


def test_origins_differ_by_scheme_host_and_port():
    assert origin("https://r.test/a") == origin("https://R.test:443/b?c")
    assert origin("https://r.test") != origin("http://r.test")
    assert origin("https://r.test") != origin("https://r.test:8443")


def test_places_hold_no_secret():
    assert place("https://u:p@r.test:1/a/b?sig=x#y") == "https://r.test:1/a/b"


def test_a_query_is_added_to_one_that_is_there():
    assert with_query("/u?_state=a%3D", digest="sha256:0") == "/u?_state=a%3D&digest=sha256%3A0"
    assert with_query("/u", digest="x") == "/u?digest=x"
