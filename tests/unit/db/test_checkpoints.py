"""SQLite's log is copied into the file beside the work of a server."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import text

from strongroom.db.checkpoints import BACKSTOP_PAGES
from strongroom.db.engine import Database


def test_no_connection_of_a_server_copies_the_log(tmp_path: Path) -> None:
    """Also not the one that was opened before, to see whether the database is fine."""
    database = Database(f"sqlite:///{tmp_path / 'file.db'}")

    def copies_after() -> int:
        with database.write() as connection:
            pages: int = connection.execute(text("PRAGMA wal_autocheckpoint")).scalar_one()
        return pages

    assert copies_after() == 1_000
    database.checkpoint_in_background()
    with ThreadPoolExecutor(1) as other:
        assert (copies_after(), other.submit(copies_after).result()) == (BACKSTOP_PAGES, BACKSTOP_PAGES)
    database.close()


def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    """While threads write more than the log is to hold, it is copied and begins anew, and nothing is lost."""
    database = Database(f"sqlite:///{tmp_path / 'file.db'}")
    database.checkpoint_in_background()
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (x BLOB)"))
    log, blob, written, enough = tmp_path / "file.db-wal", 20_000, [0, 0], threading.Event()

    def write(number: int) -> None:
        while not enough.wait(0.001):  # not as fast as the disk can: the thread looks once a second
            with database.write() as connection:
                connection.execute(text(f"INSERT INTO t VALUES (zeroblob({blob}))"))
            written[number] += 1
            if sum(written) * blob > 2 * log.stat().st_size:  # it has begun anew
                enough.set()
            assert sum(written) * blob < BACKSTOP_PAGES * 4096, "the log is not copied"

    threads = [threading.Thread(target=write, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert enough.is_set()
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == sum(written)
    database.close()
