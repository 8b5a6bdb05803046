"""Which file a database is: one engine for it in a process, nothing opened but by SQLite, and noticed when it is another one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from strongroom.db.engine import Database, DatabaseReplaced
from strongroom.db.sqlite_file import prepare
from strongroom.errors import ConfigurationError, NotFound
from tests.canary import CANARY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    """A database with one table."""
    database = Database(f"sqlite:///{path}")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (note TEXT)")
    yield database
    database.close()


def add(database: Database, note: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO notes VALUES (?)", (note,))


def notes_in(path: Path) -> list[str]:
    """What another process finds."""
    code = "import sqlite3, sys; [print(*row) for row in sqlite3.connect(sys.argv[1]).execute('SELECT note FROM notes')]"
    return subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout.split()


def _symlink_to_file(path: Path) -> Path:
    link = path.parent.parent / "link.db"
    link.symlink_to(path)
    return link


def _symlink_to_folder(path: Path) -> Path:
    link = path.parent.parent / "link"
    link.symlink_to(path.parent)
    return link / path.name


SPELLINGS: dict[str, Callable[[Path], Path]] = {
    "same": lambda path: path,
    "dots": lambda path: path.parent / ".." / path.parent.name / path.name,
    "relative": lambda path: Path(os.path.relpath(path)),
    "symlink": _symlink_to_file,
    "folder": _symlink_to_folder,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_engine_for_a_file(database: Database, path: Path, spelling: str) -> None:
    """However its path is spelled, all users of a file in a process share one engine; the last one to close it closes connections."""
    other = Database(f"sqlite:///{SPELLINGS[spelling](path)}")
    assert other.engines == database.engines
    other.close()
    other.close()  # counts once
    add(database, "a")
    subprocess.run([sys.executable, "-c", "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute('SELECT 1')", path], check=True)
    add(database, "b")
    assert notes_in(path) == ["a", "b"]


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process changes its folder, threads that come later use the file of the beginning."""
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///file.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with ThreadPoolExecutor(1) as thread, database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (note TEXT)")
    with ThreadPoolExecutor(1) as thread:
        thread.submit(add, database, "a").result()
    assert notes_in(tmp_path / "file.db") == ["a"]
    assert not list((tmp_path / "elsewhere").iterdir())
    database.close()


def test_a_hard_link_is_refused(database: Database, path: Path) -> None:
    """SQLite would keep a log for each of the names: changes by one would not be seen by the other."""
    os.link(path, path.parent / "other.db")
    with pytest.raises(ConfigurationError, match="several names"):
        Database(f"sqlite:///{path.parent / 'other.db'}")


def test_many_make_the_file_at_once(tmp_path: Path) -> None:
    """Threads that open a new database at once share the file that the first one makes."""
    path, ready = str(tmp_path / "file.db"), threading.Barrier(8)

    def make() -> object:
        ready.wait()
        return prepare(path)

    with ThreadPoolExecutor(8) as threads:
        assert len({thread.result() for thread in [threads.submit(make) for _ in range(8)]}) == 1
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def _remove_file(path: Path) -> None:
    path.unlink()


def _replace_file(path: Path) -> None:
    other = path.parent / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE notes (note TEXT)")
        connection.commit()
    other.rename(path)


def _replace_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("former"))
    path.parent.mkdir()
    _replace_file(path)


def _remove_all(path: Path) -> None:
    for each in list(path.parent.iterdir()):
        each.unlink()


def _remove_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


HARM = [_remove_folder, _remove_file, _replace_file, _replace_folder, _remove_all]


@pytest.mark.parametrize("harm", [*HARM, _remove_log])
@pytest.mark.parametrize("when", ["before", "within"])
def test_a_write_is_not_acknowledged_where_nobody_finds_it(
    database: Database, path: Path, harm: Callable[[Path], None], when: str
) -> None:
    """Whether the file goes before a transaction or within it, the writer is told, in words that say what to do."""

    def write() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO notes VALUES ('lost')")
            if when == "within":
                harm(path)

    add(database, "a")
    if when == "before":
        harm(path)
    with pytest.raises(DatabaseReplaced, match="removed or replaced") as caught:
        write()
    assert ("nothing was changed" in str(caught.value)) is (when == "before")
    assert "the next call" in str(caught.value.hint)
    with pytest.raises(DatabaseReplaced):
        add(database, "later")
    assert database.is_gone


@pytest.mark.parametrize("writes_first", [True, False])
def test_a_removed_index_of_the_log_loses_nothing(local_settings: Settings, writes_first: bool) -> None:
    """A process whose `-shm` was removed shares no locks with later ones: it changes nothing, and overwrites nothing as it ends."""
    program = Path(sys.executable).parent / "strongroom"
    environment = {**os.environ, f"{PREFIX}CONFIG_PATH": str(local_settings.folder)}

    def command(*arguments: str) -> str:
        outcome = subprocess.run([program, "secret", *arguments], env=environment, capture_output=True, text=True)
        assert outcome.returncode == 0, outcome.stderr
        return outcome.stdout

    with Client(local_settings) as client:
        client.create_secret("before", {"k": CANARY})
        (local_settings.folder / "strongroom.db-shm").unlink()
        command("create", "first", "--k=1")
        if writes_first:
            with pytest.raises(DatabaseReplaced, match="-shm was removed") as caught:
                client.create_secret("refused", {"k": CANARY})
            assert caught.value.hint == "end this process and start it again"
        command("create", "second", "--k=1")
    listed = command("list")
    assert [name in listed for name in ("before", "first", "second", "refused")] == [True, True, True, False]


_DAEMON = """
import os
from strongroom.client import Client
client = Client()
client.create_secret("parent", {"k": "v"})
child = os.fork()
if child == 0:
    os.closerange(3, 256)
    mine = [os.open(os.devnull, os.O_RDONLY) for _ in range(16)]
    client.create_secret("child", {"k": "v"})
    client.close()
    os._exit(0 if all(os.fstat(each) for each in mine) else 1)
print(os.waitpid(child, 0)[1], sorted(each.name for each in client.list_secrets()))
"""


def test_a_descriptor_that_others_closed_is_opened_again(local_settings: Settings) -> None:
    """A program that becomes a daemon closes all descriptors; its next files get their numbers, and nothing locks or closes those."""
    environment = {**os.environ, f"{PREFIX}CONFIG_PATH": str(local_settings.folder)}
    outcome = subprocess.run([sys.executable, "-c", _DAEMON], env=environment, capture_output=True, text=True)
    assert outcome.stdout == "0 ['child', 'parent']\n", outcome.stderr


@pytest.mark.parametrize("harm", HARM)
def test_a_client_goes_on_with_what_is_there(local_settings: Settings, harm: Callable[[Path], None]) -> None:
    """One error says what happened; then old and new clients use the file that is there now, and so do other processes."""
    other_settings = replace(local_settings, active_stack="default")
    environment = {**os.environ, f"{PREFIX}CONFIG_PATH": str(local_settings.folder)}
    path = local_settings.folder / "strongroom.db"

    def command(*arguments: str) -> str:
        program = Path(sys.executable).parent / "strongroom"
        return subprocess.run([program, "secret", *arguments], env=environment, capture_output=True, text=True).stdout

    with Client(local_settings) as client, Client(other_settings) as other:
        for each in (client, other):
            each.create_secret(f"before-{each is client}", {"k": CANARY})
        if harm in (_replace_file, _replace_folder):
            path.unlink()  # another store, and not just any file
            command("list")
        else:
            harm(path)
        with pytest.raises(DatabaseReplaced):
            client.create_secret("lost", {"k": CANARY})
        with pytest.raises((DatabaseReplaced, NotFound)):
            other.get_secret("before-True")
        client.create_secret("after", {"k": CANARY})
        with Client(local_settings) as new:
            new.create_secret("new", {"k": CANARY})
        other.create_secret("other", {"k": CANARY})
        listed = command("list")
        assert [name in listed for name in ("after", "new", "other", "lost", "before")] == [True, True, True, False, False]


def test_a_turn_file_that_goes_is_made_again(database: Database, path: Path) -> None:
    """Writers queue at the file that is there: one that was removed keeps nobody from writing."""
    add(database, "a")
    path.with_name("file.db-turn").unlink()
    add(database, "b")
    assert path.with_name("file.db-turn").exists()
    assert notes_in(path) == ["a", "b"]


def test_a_new_file_with_the_inode_of_a_removed_one(tmp_path: Path) -> None:
    """It is another database, also while users of the removed one have not closed it."""
    former = [Database(f"sqlite:///{tmp_path / 'a' / 'file.db'}")]
    for number in range(20):
        shutil.rmtree(tmp_path / "a", ignore_errors=True)
        shutil.rmtree(tmp_path / str(number - 1), ignore_errors=True)
        database = Database(f"sqlite:///{tmp_path / str(number) / 'file.db'}")
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE notes (note TEXT)")
        add(database, "a")
        assert notes_in(tmp_path / str(number) / "file.db") == ["a"]
        former.append(database)
        if number % 2:
            database.close()
    for each in former:
        each.close()
