"""The Python interface: `Client`, the same for the embedded store and a server."""

from strongroom.client.client import Client

__all__ = ["Client"]
