"""How the command behaves as a process: exit status, pipes, full disks, surprises, completion."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.canary import CANARY

from .conftest import BIN, CommandLine


def test_exit_status_and_streams(process: CommandLine) -> None:
    """Data on stdout, talk on stderr; 0, 1 and 2 as documented; `python -m strongroom` is the same."""
    made = process("secret", "create", "s", "--k=v")
    assert (made.code, made.out) == (0, "")
    assert process("secret", "get", "s", "--key=k").out == "v"
    missing = process("secret", "get", "t")
    assert (missing.code, missing.out, missing.err.splitlines()[0]) == (1, "", "Error: there is no secret 't'")
    assert process("secret", "frobnicate").code == 2
    assert process("--version").out == process("version").out
    assert process().code == 2


def test_reader_that_goes_away(process: CommandLine) -> None:
    """`strongroom ... | head -1` ends quietly."""
    for number in range(3):
        process("secret", "create", f"s{number}", f"--k={'x' * 60_000}")
    script = f"{BIN}/strongroom secret get s0 | head -c 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"K", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(process: CommandLine) -> None:
    """Output that cannot be written is a failure, not a success without output."""
    process("secret", "create", "s", "--k=v")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([BIN / "strongroom", "secret", "get", "s", "--key=k"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == "Error: the system refused: No space left on device\n"


def test_closed_output(process: CommandLine) -> None:
    """Without a standard output to write to, a command that has something to show fails in one line."""
    process("secret", "create", "s", "--k=v")
    for command in ("get s", "get s --key k", "list -o json"):
        done = subprocess.run(["bash", "-c", f"{BIN}/strongroom secret {command} >&-"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "Error: the system refused: standard output is closed\n")


def test_interrupt(process: CommandLine) -> None:
    """Ctrl-C while a value is awaited on standard input ends in one line, and nothing is stored."""
    child = subprocess.Popen(
        [BIN / "strongroom", "secret", "create", "s", "--k=-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    status = Path(f"/proc/{child.pid}/wchan")
    while "pipe_read" not in status.read_text() and "anon_pipe" not in status.read_text():
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err.strip()) == (1, "Error: cancelled; nothing was changed")
    assert process("secret", "get", "s").code == 1


def test_damaged_and_foreign_files(process: CommandLine, store: Path) -> None:
    """A file that is no database, and a folder that cannot be one, are one line each."""
    store.mkdir()
    (store / "strongroom.db").write_bytes(b"this is no database" * 100)
    outcome = process("secret", "list")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: the database did not do it: file is not a database\nhint: ")
    outcome = process("secret", "list", STRONGROOM_CONFIG_PATH="/dev/null/x")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: cannot open the database")


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_dead_database(process: CommandLine, kind: str) -> None:
    """A database that nobody serves is one line with what to check, and without the password of its URL."""
    key = process("server", "generate-key").out.strip()
    url = f"{kind}://user:{CANARY}@127.0.0.1:1/strongroom"
    outcome = process("secret", "list", STRONGROOM_DATABASE_URL=url, STRONGROOM_ENCRYPTION_KEY=key)
    assert outcome.code == 1
    assert outcome.err.startswith("Error: the database cannot be reached\nhint: ")


def test_settings_are_checked(process: CommandLine) -> None:
    """A mistyped setting is refused with a suggestion."""
    outcome = process("secret", "list", STRONGROOM_ENCRYPTON_KEY="x")
    assert outcome.code == 1
    assert "did you mean STRONGROOM_ENCRYPTION_KEY" in outcome.err


def test_permissions(process: CommandLine, store: Path) -> None:
    """Folder, database and key are for the user alone, whatever the umask."""
    subprocess.run(["bash", "-c", f"umask 0; {BIN}/strongroom secret create s --k=v"], check=True, capture_output=True)
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    for path in store.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_debug_shows_where_but_no_value(process: CommandLine) -> None:
    """With STRONGROOM_DEBUG=1 an error comes with its traceback, and still without what was given."""
    outcome = process("secret", "create", "s", "-v", '{"k": ["hunter22"]}', STRONGROOM_DEBUG="1")
    assert outcome.code == 1
    assert "value_text" in outcome.err


def test_completion(process: CommandLine) -> None:
    """Each shell gets its script; commands, names of secrets and keys complete; a broken store completes nothing, silently."""
    for shell in ("bash", "zsh", "fish"):
        assert "_STRONGROOM_COMPLETE" in process("completion", shell).out
    process("secret", "create", "mydb", "--user=u", "--password=p")

    def complete(words: str, **environment: str) -> str:
        return process(
            _STRONGROOM_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1), **environment
        ).out

    assert complete("strongroom secret") == "plain,secret\nplain,secrets-manager\n"
    assert complete("strongroom secret get my") == "plain,mydb\n"
    assert complete("strongroom secret get mydb --key pa") == "plain,password\n"
    assert complete("strongroom secret get my", STRONGROOM_KEEP_VERSIONS="none").strip() == ""


def test_help_touches_nothing(process: CommandLine, store: Path, tmp_path: Path) -> None:
    """`--help` works at every level with a broken configuration, and makes no file."""
    commands = [[], ["secret"], ["server"], ["secret", "create"], ["secret", "update"], ["server", "rotate-key"], ["version"]]
    before = sorted(tmp_path.rglob("*"))
    for command in commands:
        outcome = process(*command, "--help", STRONGROOM_DATABASE_URL="nonsense", STRONGROOM_TYPO="x")
        assert outcome.code == 0
        assert outcome.out.startswith(f"Usage: {' '.join(['strongroom', *command])}")
    assert sorted(tmp_path.rglob("*")) == before
    assert not store.exists()


def test_unexpected_errors(process: CommandLine, store: Path) -> None:
    """A database that loses a table under way is one line, not a traceback."""
    import sqlite3

    process("secret", "create", "s", "--k=v")
    with sqlite3.connect(store / "strongroom.db") as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DROP TABLE sql_values")
    connection.close()
    outcome = process("secret", "get", "s")
    assert outcome.code == 1
    assert outcome.err.startswith("Error: ")
    assert "Traceback" not in outcome.err
    assert os.environ["STRONGROOM_CONFIG_PATH"] not in outcome.err
