"""ZenML's Python client on its local store (SQLite)."""

import base64
import json
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from drill import PAGE_SIZE, name_of, serve, values_of

BY_CLIENT = 100
"""Secrets with higher numbers are written into its database directly: its client would need a quarter of an hour."""


def _stored(values: dict[str, str]) -> bytes:
    """Values as its local store keeps them: JSON in base64, not encrypted."""
    return base64.b64encode(json.dumps(values).encode())


class ZenML:
    """Calls its client the way its guide does."""

    def open(self) -> None:
        from zenml.client import Client

        self.client = Client()

    def create(self, name: str, values: dict[str, str]) -> None:
        self.client.create_secret(name=name, values=values)

    def get(self, name: str) -> Any:
        return self.client.get_secret(name).secret_values

    def values_of(self, answer: Any) -> dict[str, str]:
        return dict(answer)

    def update(self, name: str, values: dict[str, str]) -> None:
        self.client.update_secret(name, add_or_update_values=values)

    def page(self, number: int) -> Any:
        return self.client.list_secrets(page=number, size=PAGE_SIZE)

    def size_of(self, answer: Any) -> tuple[int, int]:
        return len(answer.items), answer.total

    def fill(self, first: int, last: int) -> None:
        by_client = min(last, max(first, BY_CLIENT))
        for number in range(first, by_client):
            self.create(name_of(number), values_of(number))
        if by_client < last:
            self._copy_rows(by_client, last)

    def _copy_rows(self, first: int, last: int) -> None:
        """Write rows as its client would have written them: own id, name and values, ascending time of creation."""
        database = sqlite3.connect(self.client.zen_store.url.removeprefix("sqlite:///"))
        [owner] = database.execute("SELECT user_id FROM secret LIMIT 1").fetchone()
        now = datetime.now(UTC).replace(tzinfo=None)
        with database:
            database.executemany(
                'INSERT INTO secret (id, created, updated, name, private, internal, "values", user_id)'
                " VALUES (?, ?, ?, ?, 0, 0, ?, ?)",
                (
                    (uuid.uuid4().hex, moment, moment, name_of(number), _stored(values_of(number)), owner)
                    for number in range(first, last)
                    for moment in [str(now + timedelta(microseconds=number))]
                ),
            )
        database.close()


if __name__ == "__main__":
    serve(ZenML())
