"""Which hosts a NO_PROXY spares, by one reading of it.

Source: golang.org/x/net/http/httpproxy, as docker, podman and skopeo read it; so ``.example.com``
and ``*.example.com`` are the hosts below example.com, and ``example.com`` is these and itself.
"""

from __future__ import annotations

import ipaddress
import re

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def bypasses(host: str, port: int, no_proxy: str) -> bool:
    """Return whether ``no_proxy`` spares ``host`` (a name or an address, bare) at ``port``."""
    return any(
        _spares(entry, host.lower(), port) for entry in re.split(r"[,\s]+", no_proxy.lower())
    )


def _spares(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        return address is not None and _is_in(entry, address)
    name, stated = _split(entry)
    if not name or stated not in {"", str(port)}:
        return False
    if address is not None:
        return address == _address(name)
    if name.startswith((".", "*.")):
        return host.endswith(name.removeprefix("*"))
    return f".{host}".endswith(f".{name}")


def _split(entry: str) -> tuple[str, str]:
    """Part HOST[:PORT], where the host may be an IPv6 address, in brackets or without a port."""
    if _address(entry) is not None:
        return entry, ""
    name, _, port = entry.partition("]") if entry.startswith("[") else entry.partition(":")
    return name.removeprefix("["), port.removeprefix(":")


def _is_in(network: str, address: _Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _address(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
