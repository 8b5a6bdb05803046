"""Where a request comes from: what proxies say is believed as far as they are trusted."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.server.address import forwarded_address, forwarded_scheme, networks_of

TRUSTED = networks_of(["10.0.0.0/8", "fd00::/8"])


def address(peer: str | None, *headers: str, trusted: Any = TRUSTED) -> str:
    """The address that a request with these headers comes from."""
    given = [(b"x-forwarded-for", text.encode()) for text in headers]
    return forwarded_address({"client": (peer, 1234) if peer else None, "headers": given}, trusted)


@pytest.mark.parametrize(
    ("peer", "headers", "wanted"),
    [
        ("192.0.2.9", ["203.0.113.1"], "192.0.2.9"),  # a stranger says something about itself
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["198.51.100.66, 203.0.113.1"], "203.0.113.1"),  # what the client invented stands at the left
        ("10.0.0.1", ["198.51.100.66, 203.0.113.1, 10.0.0.2"], "203.0.113.1"),
        ("10.0.0.1", ["198.51.100.66", "203.0.113.1, 10.0.0.2"], "203.0.113.1"),  # several headers are one
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # a client within
        ("10.0.0.1", ["nonsense, 203.0.113.1"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [","], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.1:5555"], "203.0.113.1"),
        ("10.0.0.1", ["203.0.113.1:x"], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]:5555"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7"], "10.0.0.1"),
        ("fd00::1", ["2001:DB8:0::7, fd00::2"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.1"], "203.0.113.1"),  # IPv4 over an IPv6 socket
        ("10.0.0.1", ["\r\nX: 1, 1.1.1.1\x00"], "10.0.0.1"),
        ("10.0.0.1", [",".join(["10.0.0.2"] * 1000)], "10.0.0.2"),
        ("not an address", ["203.0.113.1"], "not an address"),
        (None, ["203.0.113.1"], ""),
    ],
)
def test_the_client_is_the_last_that_is_not_trusted(peer: str | None, headers: list[str], wanted: str) -> None:
    """From the right, the first address that is no trusted proxy's; from where on it is unreadable, nothing is believed."""
    assert address(peer, *headers) == wanted


def test_by_default_nobody_is_believed() -> None:
    """Without trusted proxies the header means nothing."""
    assert address("127.0.0.1", "203.0.113.1", trusted=()) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "headers", "wanted"),
    [
        ("10.0.0.1", ["https"], "https"),
        ("10.0.0.1", ["http, HTTPS"], "https"),  # the nearest proxy has the last word
        ("10.0.0.1", ["https", "http"], "http"),
        ("10.0.0.1", ["wss"], "http"),
        ("10.0.0.1", [], "http"),
        ("192.0.2.9", ["https"], "http"),
        (None, ["https"], "http"),
    ],
)
def test_scheme(peer: str | None, headers: list[str], wanted: str) -> None:
    """What a trusted proxy says about TLS is believed, and nobody else."""
    given = [(b"x-forwarded-proto", text.encode()) for text in headers]
    scope = {"client": (peer, 1234) if peer else None, "headers": given, "scheme": "http"}
    assert forwarded_scheme(scope, TRUSTED) == wanted
