"""The server that `README.md` says to attack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from tests.servers.mariadb import find_mariadbd

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_a_throw_away_server(database: str) -> None:
    """One command starts a server on each database, says how to reach it as each kind of attacker, and leaves nothing behind."""
    if database == "mariadb" and find_mariadbd() is None:
        pytest.skip("mariadbd is not installed; with Debian: apt-get install mariadb-server")
    command = [sys.executable, "-m", "tests.security.throwaway", database]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "}\n")
        reached = json.loads("".join(lines) + "}")
        assert reached["database"].startswith(database)
        with urllib3.PoolManager() as pool:
            for who, token in reached["tokens"].items():
                headers = {"Authorization": f"Bearer {token}"}
                path = "/api/v1/secrets/by-name/shared"
                status = pool.request("GET", reached["url"] + path, headers=headers, retries=False).status
                assert (status == 200) is (who in ("reader", "editor", "admin", "run", "root")), who
        process.stdin.close()
        assert process.wait(60) == 0
    assert not Path(reached["folder"]).exists()
