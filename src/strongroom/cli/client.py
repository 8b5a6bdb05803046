"""The client that commands work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.client import Client


def open_client() -> Client:
    """A client of the server or store that the settings and the login name. Loaded when a command runs: `--help` needs none."""
    from strongroom.client import Client

    return Client()
