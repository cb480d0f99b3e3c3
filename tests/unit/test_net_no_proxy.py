"""NO_PROXY is read as Go reads it, whose programs stand beside ours in a build."""

import pytest

from envbuilder.net.no_proxy import bypasses


@pytest.mark.parametrize(
    ("no_proxy", "spared", "asked"),
    [
        ("", "", "r.test 10.0.0.1"),
        ("*", "r.test 10.0.0.1 ::1", ""),
        ("r.test", "r.test a.r.test R.TEST", "xr.test r.test.evil"),
        (".r.test", "a.r.test b.a.r.test", "r.test xr.test"),
        ("*.r.test", "a.r.test b.a.r.test", "r.test xr.test"),
        ("*r.test", "", "r.test xr.test"),
        ("R.Test, s.test  t.test", "r.test s.test t.test", "u.test"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.4 110.1.2.3"),
        (".2.3", "", "10.1.2.3"),
        ("10.0.0.0/8", "10.0.0.0 10.255.255.255 ::ffff:10.1.2.3", "11.0.0.0 10.r.test 10"),
        ("10.1.2.3/8", "10.9.9.9", "11.0.0.0"),
        ("fd00::/8,::1", "fd12::1 ::1", "fe80::1 10.0.0.1"),
        ("[fd12::1]", "fd12::1", "fd12::2"),
        ("10.0.0.0/99,/,r.test/x,:443,,.", "", "10.0.0.0 r.test"),
    ],
)
def test_an_entry_spares_what_it_names(no_proxy, spared, asked):
    assert all(bypasses(host, 443, no_proxy) for host in spared.split())
    assert not any(bypasses(host, 443, no_proxy) for host in asked.split())


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("r.test:8443", "r.test"),
        (".test:8443", "r.test"),
        ("10.1.2.3:8443", "10.1.2.3"),
        ("[fd12::1]:8443", "fd12::1"),
    ],
)
def test_an_entry_may_be_for_one_port(no_proxy, host):
    assert bypasses(host, 8443, no_proxy)
    assert not bypasses(host, 443, no_proxy)
