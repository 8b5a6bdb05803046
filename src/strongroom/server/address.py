"""Where a request comes from, also through proxies, and whether it came by TLS.

A proxy adds the address that it was called from at the right of `X-Forwarded-For`; what stands further left was there before and may
be invented. So the header is believed from the right, as far as each address belongs to a proxy that the operator trusts. The first
one that does not is the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Network = IPv4Network | IPv6Network

_MOST = 32
"""How many addresses are looked at: no honest chain is longer."""


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks that were checked when the settings were read."""
    return tuple(ip_network(text) for text in texts)


def forwarded_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """The client's address, as far as it can be believed; '' when the connection has none."""
    peer = str(scope["client"][0]) if scope.get("client") else ""
    known = _parse(peer)
    if known is None or not _among(known, trusted):
        return peer
    given = b",".join(text for name, text in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    for text in given.rsplit(",", _MOST)[::-1][:_MOST] if given else ():
        address = _parse(text.strip())
        if address is None:  # whoever wrote this is not to be believed any further
            break
        known = address
        if not _among(address, trusted):
            break
    return str(known)


def forwarded_scheme(scope: Scope, trusted: Sequence[Network]) -> str:
    """By what the client speaks to the nearest proxy, if that is one that the operator trusts; else by what it speaks to us."""
    peer = _parse(str(scope["client"][0])) if scope.get("client") else None
    if peer is None or not _among(peer, trusted):
        return str(scope["scheme"])
    given = [text for name, text in scope["headers"] if name == b"x-forwarded-proto"]
    last = given[-1].rpartition(b",")[2].strip().lower() if given else b""
    return last.decode() if last in (b"http", b"https") else str(scope["scheme"])


def _among(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """An address, perhaps with a port as some proxies write it. IPv4 that came over an IPv6 socket is IPv4."""
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not (port.startswith(":") and port[1:].isdecimal())):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not port.isdecimal():
            return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
