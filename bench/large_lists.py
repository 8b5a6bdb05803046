"""Pages of very many secrets over HTTP: does a page of a million cost what one of a thousand does?

    PYTHONPATH=src python -m bench.large_lists                       # SQLite in a temporary folder
    PYTHONPATH=src python -m bench.large_lists --database-url URL    # an empty database of PostgreSQL

Writes rows into the index directly, which takes seconds (the real way would take an hour), then starts `strongroom server start`
with one worker and asks it. Needs `strongroom[server]` in the Python that runs it. Each number is the median of several requests,
in milliseconds, on a connection that is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Table, text

from strongroom.config import PREFIX, read_settings
from strongroom.db.clock import now
from strongroom.db.identifiers import new_id
from strongroom.db.tables import members, secret_counts, secret_labels, secrets, versions, workspaces
from strongroom.service.wiring import Service

SIZES = (1_000, 1_000_000)
STRETCH = 1_000
PASSWORD = token_hex(16)

_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :last)",
    "postgresql": "WITH numbers(n) AS (SELECT generate_series(CAST(:first AS bigint), CAST(:last AS bigint) - 1))",
}
_PADDED = {"sqlite": "printf('%0{1}d', {0})", "postgresql": "lpad(CAST({0} AS text), {1}, '0')"}
_DIGEST = {"sqlite": "zeroblob(32)", "postgresql": "decode(repeat('00', 32), 'hex')"}

CASES = {
    "first page by creation": "sort_by=created",
    "newest first": "sort_by=desc:created",
    "middle page by creation": "sort_by=created&page={middle}",
    "last page by creation": "sort_by=created&page={last}",
    "first page by name": "sort_by=name",
    "last page by name": "sort_by=name&page={last}",
    "middle page by name": "sort_by=name&page={middle}",
    "first page by change": "sort_by=updated",
    "latest change first": "sort_by=desc:updated",
    "one name": "name=secret-0000007",
    "ten names by their beginning": "name=startswith:secret-000001",
    "1,000 names by their beginning": "name=startswith:secret-0000",
    "a part of names": "name=contains:0777",
    "a rare label": "label=rare%3Dyes",
    "a common label": "label=team%3D7",
    "changed lately": "updated=gt:2100-01-01T00:00:00Z",
}


def fill(connection: Connection, workspace: str, user: str, size: int) -> None:
    """Secrets with names, times and labels, each in an order of its own, and the counts that go with them."""
    dialect = connection.dialect.name
    prefix = f"019{size:05x}-0000-7000-8000-"
    secret_id = f"'{prefix}' || {_PADDED[dialect].format('n', 12)}"
    name = "'secret-' || " + _PADDED[dialect].format("n * 7919 % :size", 7)
    rows: dict[tuple[Table, str], list[str]] = {
        # In the order of the tables' columns.
        (secrets, ""): [
            *(secret_id, ":workspace", "''", name, ":user", ":user", "''", "'{}'", "1", "1"),
            *(":now + n", ":now + n * 104729 % :size", "NULL"),
        ],
        (versions, ""): [secret_id, "1", "'[]'", _DIGEST[dialect], ":now", ":user"],
        (secret_labels, ""): [secret_id, "'team'", "CAST(n % 1000 AS varchar(9))"],
        (secret_labels, "WHERE n % (:size / 10) = 3"): [secret_id, "'rare'", "'yes'"],
    }
    for first in range(0, size, 100_000):
        last = min(size, first + 100_000)
        given = {"first": first, "last": last, "size": size, "now": now(), "workspace": workspace, "user": user}
        for (table, condition), values in rows.items():
            into = f"INSERT INTO {table.name} ({', '.join(column.name for column in table.columns)})"
            numbers, query = _NUMBERS[dialect], f"SELECT {', '.join(values)} FROM numbers {condition}"
            statement = text(f"{numbers} {into} {query}" if dialect == "postgresql" else f"{into} {numbers} {query}")
            connection.execute(statement, {name: each for name, each in given.items() if f":{name}" in str(statement)})
        stretches = [(start, min(STRETCH, size - start)) for start in range(first, last, STRETCH)]
        connection.execute(
            secret_counts.insert(),
            [
                {"workspace_id": workspace, "private_to": "", "first_id": f"{prefix}{start:012d}" if start else "", "size": count}
                for start, count in stretches
            ],
        )


def prepare(variables: dict[str, str], sizes: tuple[int, ...]) -> None:
    """A workspace for each size."""
    service = Service(read_settings(variables))
    try:
        user = service.local_actor.user_id
        for size in sizes:
            began, workspace = time.perf_counter(), new_id()
            with service.deployment.database.write() as connection:
                connection.execute(workspaces.insert().values(id=workspace, name=f"w{size}", created=now()))
                connection.execute(members.insert().values(workspace_id=workspace, user_id=user, role="admin"))
                fill(connection, workspace, user, size)
            print(f"{size:,} secrets written in {time.perf_counter() - began:.1f} s", file=sys.stderr)
        if service.deployment.database.dialect == "postgresql":  # as its autovacuum would do soon
            with service.deployment.database.read() as connection:
                connection.exec_driver_sql("VACUUM ANALYZE")
    finally:
        service.close()


class Server:
    """`strongroom server start` with one worker, and a connection to it."""

    def __init__(self, variables: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "strongroom", "server", "start", "--port", str(port)]
        self._process = subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.port, self.token = port, ""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                body = json.dumps({"username": "default", "password": PASSWORD})
                self.token = self.ask("POST", "/api/v1/login", body)["access_token"]
            except ConnectionRefusedError:
                time.sleep(0.1)
            else:
                return
        raise SystemExit("the server does not start")

    def ask(self, method: str, path: str, body: str | None = None) -> Any:
        """The body of an answer, on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {content}")
        return content

    def times(self, path: str, most: int = 30, seconds: float = 3) -> tuple[float, int]:
        """The median of so many requests at most, in milliseconds, and the total that they tell."""
        taken: list[float] = []
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers, end, total = {"Authorization": f"Bearer {self.token}"}, time.monotonic() + seconds, 0
        while len(taken) < 3 or (len(taken) < most and time.monotonic() < end):
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            taken.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status}")
            total = json.loads(content)["total"]
        connection.close()
        return statistics.median(taken[1:]), total

    def end(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(60)


def main() -> None:
    """Fills, asks, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database-url", help="an empty database of PostgreSQL (default: SQLite)")
    parser.add_argument("--sizes", type=int, nargs=2, default=SIZES, help="numbers of secrets, the smaller one first")
    options = parser.parse_args()
    sizes = tuple(options.sizes)
    with tempfile.TemporaryDirectory(prefix="strongroom-lists-") as folder:
        variables = {
            f"{PREFIX}DATABASE_TIMEOUT": "60",
            f"{PREFIX}CONFIG_PATH": str(Path(folder) / "state"),
            f"{PREFIX}ADMIN_USERNAME": "default",
        }
        variables[f"{PREFIX}ADMIN_PASSWORD"] = PASSWORD
        if options.database_url:
            from strongroom.crypto.aead import new_key
            from strongroom.crypto.keyring import format_keys

            variables |= {f"{PREFIX}DATABASE_URL": options.database_url, f"{PREFIX}ENCRYPTION_KEY": format_keys([new_key()])}
        prepare(variables, sizes)
        server = Server(variables)
        try:
            print(f"{'':34}{sizes[0]:>12,}{sizes[1]:>12,}   (milliseconds; found)")
            for case, query in CASES.items():
                cells = []
                for size in sizes:
                    pages = {"middle": size // 40, "last": size // 20}
                    cells.append(server.times(f"/api/v1/secrets?size=20&workspace=w{size}&{query.format(**pages)}"))
                print(f"{case:34}" + "".join(f"{milliseconds:>12.2f}" for milliseconds, _ in cells) + f"   {cells[1][1]:,}")
        finally:
            server.end()


if __name__ == "__main__":
    main()
