"""`strongroom server rotate-key` is interrupted: it says what is true, and goes on when it is run again."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.db.turn import WriteTurn
from tests.canary import CANARY
from tests.fakes.folder_store import python_path

from .conftest import BIN, CommandLine

SECRETS = 1_000
"""More than a rotation wraps anew in one transaction, by far."""


def keys_in_use(database: sqlite3.Connection) -> int:
    """How many encryption keys have wrapped data keys."""
    (count,) = database.execute("SELECT count(DISTINCT key_id) FROM sql_values").fetchone()
    return int(count)


def interrupted_half_way(store: Path) -> str:
    """Begins rotations until one waits for its turn to write in the middle, and then gets Ctrl-C; what that one said."""
    turn = WriteTurn(str(store / "strongroom.db-turn"))
    with closing(sqlite3.connect(store / "strongroom.db")) as database, closing(turn):
        while True:
            child = subprocess.Popen(
                [BIN / "strongroom", "server", "rotate-key"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            while child.poll() is None:
                with turn.taken(30):  # writers take turns, so this comes between two of its transactions
                    if keys_in_use(database) == 2:
                        child.send_signal(signal.SIGINT)
                        out, err = child.communicate(timeout=30)
                        assert (child.returncode, out) == (1, "")
                        return err
            child.communicate(timeout=30)


def test_interrupted_and_run_again(
    process: CommandLine, strongroom: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle: some data keys are wrapped by the new key, the rest by the former one, and all values can be read."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    with Client() as client:
        for number in range(SECRETS):
            client.create_secret(f"s{number}", {"k": f"{CANARY}-{number}"})
    err = interrupted_half_way(store)
    assert err == (
        "Error: interrupted; what was wrapped anew so far stays, and everything can be read\nhint: run it again to go on\n"
    )
    with closing(sqlite3.connect(store / "strongroom.db")) as database:
        assert keys_in_use(database) == 2
    assert strongroom("secret", "verify", "--deep").code == 0
    done = process("server", "rotate-key", "-o", "json")
    assert (done.code, 0 < done.data["rewrapped"] < SECRETS, len(done.data["retired"])) == (0, True, 1)
    assert strongroom("secret", "get", f"s{SECRETS - 1}", "--key", "k").out == f"{CANARY}-{SECRETS - 1}"
