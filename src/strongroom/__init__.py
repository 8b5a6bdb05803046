"""Centralized secrets management for machine-learning pipelines.

The few public names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.client import Client

__all__ = ["Client"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Client":
        from strongroom.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
