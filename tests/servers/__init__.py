"""Real servers for tests. Each class starts one process when it is made and ends it in `stop()`."""

from __future__ import annotations

from typing import Protocol


class DatabaseServer(Protocol):
    """A database server."""

    def create(self, name: str, template: str | None = None) -> None:
        """A new database, as a copy of the template if one is given."""

    def drop(self, name: str) -> None:
        """Drops a database."""

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database."""

    def stop(self) -> None:
        """Ends the server."""
