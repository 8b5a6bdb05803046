"""The floor: one table in SQLite through the standard library, on one connection that stays open.

No encryption, no scopes, no versions, no audit: what the disk and the database cost on this machine.
"""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from drill import PAGE_SIZE, name_of, serve, values_of


class Bare:
    """Every write is one durable transaction: write-ahead log, synchronous=FULL."""

    def open(self) -> None:
        self.database = sqlite3.connect(Path(os.environ["BENCH_BARE_DATABASE"]), isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.execute(
            'CREATE TABLE IF NOT EXISTS secret (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, "values" TEXT NOT NULL)'
        )

    def create(self, name: str, values: dict[str, str]) -> None:
        self.database.execute('INSERT INTO secret (name, "values") VALUES (?, ?)', (name, json.dumps(values)))

    def get(self, name: str) -> Any:
        return self.database.execute('SELECT "values" FROM secret WHERE name = ?', (name,)).fetchone()

    def values_of(self, answer: Any) -> dict[str, str]:
        [text] = answer
        return dict(json.loads(text))

    def update(self, name: str, values: dict[str, str]) -> None:
        self.database.execute('UPDATE secret SET "values" = json_patch("values", ?) WHERE name = ?', (json.dumps(values), name))

    def page(self, number: int) -> Any:
        [total] = self.database.execute("SELECT count(*) FROM secret").fetchone()
        rows = self.database.execute(
            "SELECT id, name FROM secret ORDER BY id LIMIT ? OFFSET ?", (PAGE_SIZE, (number - 1) * PAGE_SIZE)
        ).fetchall()
        return rows, total

    def size_of(self, answer: Any) -> tuple[int, int]:
        rows, total = answer
        return len(rows), total

    def fill(self, first: int, last: int) -> None:
        self.database.execute("BEGIN")
        for number in range(first, last):
            self.create(name_of(number), values_of(number))
        self.database.execute("COMMIT")


if __name__ == "__main__":
    serve(Bare())
