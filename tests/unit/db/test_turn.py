"""Turns to write to an SQLite file."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from strongroom.db.engine import Database
from strongroom.db.turn import WaitedTooLong, WriteTurn
from tests.processes import Child


def _hold(connection: Connection, path: str) -> None:
    with WriteTurn(path).taken(10):
        connection.send("held")
        connection.recv()
    connection.send("let go")


def test_whoever_waits_too_long_is_told(tmp_path: Path) -> None:
    """While another process or thread has the turn, nobody else gets it; their patience ends when they said."""
    path = str(tmp_path / "turn")
    child, turn = Child(_hold, path), WriteTurn(path)
    assert child.receive() == "held"
    with pytest.raises(WaitedTooLong), turn.taken(0.05):
        pytest.fail("two have the turn")
    child.connection.send("go on")
    assert child.receive() == "let go"
    with turn.taken(10), pytest.raises(WaitedTooLong), turn.taken(0.05):
        pytest.fail("two threads have the turn")
    child.end()
    turn.close()


def test_a_killed_process_gives_its_turn_back(tmp_path: Path) -> None:
    """Whoever waits goes on when the process that had the turn is gone, however it went."""
    path = str(tmp_path / "turn")
    child, turn = Child(_hold, path), WriteTurn(path)
    assert child.receive() == "held"
    child.kill()
    with turn.taken(10):
        pass
    turn.close()


def _take_turns(connection: Connection, path: str) -> None:
    turn = WriteTurn(path)
    with turn.taken(10):
        connection.send("ready")
    while not connection.poll():
        with turn.taken(10):
            pass


def test_nobody_is_kept_from_it(tmp_path: Path) -> None:
    """Processes that want the turn all the time do not keep another one from it."""
    path = str(tmp_path / "turn")
    greedy, turn = [Child(_take_turns, path) for _ in range(2)], WriteTurn(path)
    assert [child.receive() for child in greedy] == ["ready", "ready"]
    for _ in range(50):
        with turn.taken(1):
            pass
    for child in greedy:
        child.connection.send("end")
        child.end()
    turn.close()


def test_threads_take_turns(tmp_path: Path) -> None:
    """Of the threads of a process one at a time has the turn."""
    turn, inside, most = WriteTurn(str(tmp_path / "turn")), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with turn.taken(10):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    turn.close()


def test_where_no_file_can_be_the_database_decides(tmp_path: Path) -> None:
    """A file that cannot be made keeps nobody from writing: SQLite's own lock is there."""
    (tmp_path / "file.db-turn").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'file.db'}")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 1
    database.close()
