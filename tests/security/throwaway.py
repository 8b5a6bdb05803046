"""A server to attack: `python -m tests.security.throwaway sqlite`, or `postgresql`, or `mariadb`, with options of `server start`.

Prints how to reach it, with tokens for each kind of attacker who has one, and ends with Ctrl-C or when its input ends. Nothing stays.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from strongroom.crypto.aead import new_key
from tests.callers import Caller
from tests.servers import DatabaseServer
from tests.servers.strongroom import PASSWORD, StrongroomServer

ROLES = ("viewer", "reader", "editor", "admin")


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database of this kind."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'strongroom.db'}"
        return
    server: DatabaseServer
    if kind == "postgresql":
        from tests.servers.postgresql import PostgreSQLServer

        server = PostgreSQLServer()
    elif kind == "mariadb":
        from tests.servers.mariadb import MariaDBServer

        server = MariaDBServer()
    else:
        raise SystemExit(f"no such database: {kind}")
    try:
        server.create("attacked")
        yield server.url("attacked")
    finally:
        server.stop()


@contextmanager
def throwaway(kind: str, options: Sequence[str] = ()) -> Iterator[dict[str, object]]:
    """A server of two workers on this database: its addresses and files, a token for each role, and for a run of the reader's."""
    import base64

    with tempfile.TemporaryDirectory(prefix="strongroom-attacked-") as name, _database(kind, Path(name)) as url:
        variables = {
            "CONFIG_PATH": name,
            "DATABASE_URL": url,
            "ENCRYPTION_KEY": base64.b64encode(new_key()).decode(),
            "ADMIN_USERNAME": "root",
            "ADMIN_PASSWORD": PASSWORD,
        }
        server = StrongroomServer(variables, "--workers", "2", *options)
        try:
            with closing(server.connections()) as pool:
                root = Caller(server, pool, workspace="default").log_in("root")
                people = {role: root.add(role, role) for role in ROLES}
                people["editor"].create("shared", {"k": "a value of the workspace"})
                people["editor"].create("private", {"k": "a value of the editor"}, scope="user")
                fields = {"pipeline": "p", "stack": "default", "steps": [{"name": "s"}], "needs": [{"name": "shared", "key": "k"}]}
                run = people["reader"].call("POST", "/runs", fields).data
                tokens = {"root": root.token, **{role: each.token for role, each in people.items()}, "run": run["token"]}
                yield {"url": server.url, "database": url, "folder": name, "password": PASSWORD, "run": run["id"], "tokens": tokens}
        finally:
            server.stop()


if __name__ == "__main__":
    os.environ.pop("STRONGROOM_CONFIG_PATH", None)
    with throwaway(*sys.argv[1:2], sys.argv[2:]) as reached:
        sys.stdout.write(json.dumps(reached, indent=2) + "\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            sys.stdin.read()
