"""The command `zenml`."""

from strongroom.cli.main import run

__all__ = ["run"]
