"""The client."""

from strongroom.client import Client

__all__ = ["Client"]
