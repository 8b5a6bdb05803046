"""NO_PROXY as people write it."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.client.transports.remote import RemoteTransport
from strongroom.config import find_proxy, is_without_proxy
from strongroom.no_proxy import is_exempt

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests go through a proxy, but for what a test says."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)


CASES = [
    ("*", ["a.example", "10.0.0.1", "[::1]"], []),
    ("10.0.0.0/8", ["10.0.0.1", "10.255.255.255", "[::ffff:10.1.2.3]"], ["11.0.0.1", "10.example", "[::10]"]),
    ("10.1.2.3/8", ["10.200.0.1"], ["11.0.0.1"]),
    ("192.168.0.0/255.255.0.0", ["192.168.7.7"], ["192.169.0.1"]),
    ("fd00::/8", ["[fd12:3456::1]", "[FD00::]"], ["[fe80::1]", "10.0.0.1"]),
    ("[fd00::]/8", ["[fd12:3456::1]"], ["[fe80::1]"]),
    ("::1", ["[::1]", "[0:0:0:0:0:0:0:1]"], ["[::2]", "127.0.0.1"]),
    ("[::1]", ["[::1]", "[::1]:8200"], ["[::2]"]),
    ("[::1]:8200", ["[::1]:8200"], ["[::1]", "[::1]:8201", "[::2]:8200"]),
    ("2001:DB8::1", ["[2001:db8:0::1]"], ["[2001:db8::11]"]),
    ("fe80::1%eth0", ["[fe80::1]", "[fe80::1%25eth0]"], ["[fe80::2]"]),
    ("*.example.com", ["a.example.com", "a.b.example.com", "A.EXAMPLE.COM"], ["example.org", "notexample.com", "com"]),
    (".example.com", ["a.example.com", "a.b.example.com"], ["notexample.com", "example.com.org"]),
    ("example.com", ["example.com", "a.example.com", "example.com."], ["notexample.com", "example.co"]),
    ("Example.COM.", ["example.com", "x.example.com"], ["example.org"]),
    ("example.com:8200", ["example.com:8200", "a.example.com:8200"], ["example.com", "example.com:8201"]),
    ("example.com:443", ["example.com", "example.com:443"], ["example.com:8443"]),
    ("*.svc.cluster.local:443", ["x.ns.svc.cluster.local"], ["x.ns.svc.cluster.local:8200"]),
    ("10.0.0.0/8:8200", [], ["11.0.0.1:8200"]),
    ("192.168.*", ["192.168.1.1"], ["192.169.1.1", "1.192.168.1"]),
    ("build-*.example.com", ["build-7.example.com"], ["test-7.example.com"]),
    ("0.1", [], ["10.0.0.1", "a0.1.example"]),
    ("1", [], ["127.0.0.1"]),
    ("a.example, b.example c.example,,\td.example", ["a.example", "b.example", "c.example", "d.example"], ["e.example"]),
    ("https://a.example", ["a.example"], ["b.example"]),
    ("", [], ["a.example", "10.0.0.1"]),
    (" , ", [], ["a.example"]),
    (".", [], ["a.example"]),
    ("*.", [], ["a.example"]),
    ("10.0.0.0/99", [], ["10.0.0.1"]),
    ("nonsense/8", [], ["nonsense.example"]),
]


@pytest.mark.parametrize(("entries", "past", "through"), CASES)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_no_proxy(entries: str, past: list[str], through: list[str], variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which servers are reached without the proxy, and which are not."""
    monkeypatch.setenv(variable, entries)
    for host in past:
        assert find_proxy(f"https://{host}/x") is None, host
        assert is_without_proxy(f"https://{host}"), host
        assert RemoteTransport(f"https://{host}", lambda: None)._proxy is None
    for host in through:
        assert find_proxy(f"https://{host}/x") == PROXY, host
        assert not is_without_proxy(f"https://{host}"), host


@given(st.ip_addresses(), st.integers(0, 128), st.ip_addresses())
def test_networks_are_those_of_the_standard_library(base: Any, bits: int, address: Any) -> None:
    """Of both families, with host bits or without; an address is in its own networks."""
    length = min(bits, 32 if getattr(base, "version", 4) == 4 else 128)
    network = ipaddress.ip_network(f"{base}/{length}", strict=False)
    assert is_exempt(str(base), 443, f"x.example,{network},*.y")
    plain = getattr(address, "ipv4_mapped", None) or address
    assert is_exempt(str(address), 443, str(network)) is (address in network or plain in network)


@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_stands_there_is_no_error(host: str, entries: str) -> None:
    """An entry that means nothing names nothing."""
    assert is_exempt(host, 443, entries) in (True, False)
