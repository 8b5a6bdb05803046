"""What `NO_PROXY` means: the servers that are reached without the proxy.

Entries are separated by commas or blanks: `*`; a host, which stands for all below it too, also as `.host` or `*.host`; an address;
a network, such as `10.0.0.0/8` or `fd00::/8`; each with a port or without. IPv6 addresses may stand in brackets.
"""

from __future__ import annotations

import ipaddress
import re
from fnmatch import fnmatchcase

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_exempt(host: str, port: int, entries: str) -> bool:
    """Whether a server is reached without the proxy. `host` is a name or an address, without brackets. Looks up no name."""
    host = _plain(host)
    return any(_matches(host, _address(host), port, each.lower()) for each in re.split(r"[,\s]+", entries) if each)


def _matches(host: str, address: _Address | None, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    name, its_port = _parts(entry.partition("://")[2] or entry)
    if its_port and its_port != str(port):
        return False
    if address is None:
        name = name.removeprefix("*").lstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}") or fnmatchcase(host, name))
    if "/" in name:
        try:
            network = ipaddress.ip_network(name, strict=False)
        except ValueError:
            return False
        return address in network or ipaddress.ip_address(host) in network
    return _address(name) == address or ("*" in name and fnmatchcase(host, name))


def _parts(entry: str) -> tuple[str, str]:
    """Name and port of an entry; the latter is empty if there is none."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        length, _, port = rest.partition(":")
        return name + length, port
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return _plain(name), port
    return _plain(entry), ""


def _plain(host: str) -> str:
    """In lower case, without the dot at the end of a full name and without the zone of an IPv6 address."""
    return host.lower().strip("[]").partition("%")[0].rstrip(".")


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
