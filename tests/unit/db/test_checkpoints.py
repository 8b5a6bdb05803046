"""SQLite's log is copied into the file beside the work of a server."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import text

from strongroom.db.checkpoints import LOG_BYTES
from strongroom.db.engine import Database


def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    """While threads write more than the log is to hold, it is copied and begins anew, and nothing is lost."""
    database = Database(f"sqlite:///{tmp_path / 'file.db'}")
    database.checkpoint_in_background()
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (x BLOB)"))
    log, begun_anew, written = tmp_path / "file.db-wal", threading.Event(), [0, 0]

    def write(number: int) -> None:
        longest = 0
        while not begun_anew.is_set():
            with database.write() as connection:
                connection.execute(text("INSERT INTO t VALUES (zeroblob(200000))"))
            written[number] += 1
            size = log.stat().st_size
            longest = max(longest, size)
            if longest > LOG_BYTES and size < LOG_BYTES:
                begun_anew.set()
            assert size < 60 * LOG_BYTES, "the log is not copied"

    threads = [threading.Thread(target=write, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun_anew.is_set()
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == sum(written)
    database.close()
