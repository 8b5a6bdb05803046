"""Where commands write to and read from: pipes, devices, file systems of all kinds, and streams that are closed."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.cli.export import write_private_file
from strongroom.errors import AlreadyExists, InvalidInput
from tests.canary import CANARY
from tests.e2e.conftest import BIN, VALUE, CommandLine

BASH = shutil.which("bash")
Bash = Callable[[str], subprocess.CompletedProcess[bytes]]


@pytest.fixture
def bash(store: Path) -> Bash:
    """Runs a line of bash that calls `strongroom`."""
    if BASH is None:
        pytest.skip("bash is not installed")

    def run(line: str) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "VALUE": CANARY}
        done = subprocess.run([BASH, "-c", line], env=environment, capture_output=True, check=False, timeout=120)
        assert b"Traceback" not in done.stderr
        assert b"should not have happened" not in done.stderr, done.stderr
        return done

    return run


@pytest.mark.parametrize(
    "line",
    [
        "strongroom secret export s --format json -f /dev/stdout",
        "strongroom secret export s --format json -f /dev/stdout | cat",
        "strongroom secret export s --format json -f /dev/fd/1 | cat",
        "strongroom secret export s --format json -f /proc/self/fd/1 | cat",
        "strongroom secret export s --format json -f /dev/stderr 2>&1 >/dev/null | head -n 3",
        "strongroom secret export s --format json -f /dev/fd/3 3>&1 | cat",
        "ln -s /dev/stdout out; strongroom secret export s --format json -f out | cat",
        "mkfifo fifo; cat fifo & strongroom secret export s --format json -f fifo; wait",
        "mkfifo fifo; cat fifo & strongroom secret export s --format json --force -f fifo; wait; test -p fifo",
        "strongroom secret export s --format json -f >(cat); sleep 0 | cat; wait",
        "strongroom secret export s --format json -f /dev/stdout > new; cat new",
        "echo before > old; strongroom secret export s --format json -f /dev/stdout >> old; tail -n +2 old",
    ],
)
def test_exports_go_where_they_are_sent(line: str, strongroom: CommandLine, bash: Bash) -> None:
    """To standard output by its name, to a FIFO, to an open descriptor: what is there stays what it is."""
    assert strongroom("secret", "create", "s", f"--k={VALUE}").code == 0
    done = bash(line)
    assert done.returncode == 0
    assert done.stdout.startswith(f'{{\n  "k": "{CANARY}"\n}}\n'.encode())
    for left in ("new", "old"):
        Path(left).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("target", "reason"),
    [("/dev/full", "No space left"), ("/dev/fd/77", "Bad file descriptor"), (".", "exists already"), ("no/such", "No such file")],
)
def test_what_cannot_be_written_is_told(target: str, reason: str, strongroom: CommandLine) -> None:
    """In words, and nothing is left."""
    assert strongroom("secret", "create", "s", f"--k={VALUE}").code == 0
    done = strongroom("secret", "export", "s", "-f", target)
    assert done.code == 1
    assert reason in done.err
    assert list(Path().iterdir()) == []
    assert strongroom("secret", "export", "s", "-f", "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL, errno.EACCES])
def test_a_file_system_without_hard_links(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is private and whole, it replaces nothing, and no draft stays."""

    def link(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)
    folder = tmp_path / "folder"
    folder.mkdir()
    target = folder / "x"
    assert write_private_file(str(target), "text", force=False)
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == ("text", 0o600)
    with pytest.raises(AlreadyExists):
        write_private_file(str(target), "other", force=False)
    assert write_private_file(str(target), "other", force=True)
    (folder / "dangling").symlink_to("nowhere")
    with pytest.raises(AlreadyExists):
        write_private_file(str(folder / "dangling"), "other", force=False)
    (folder / "dangling").unlink()
    assert ([path.name for path in folder.iterdir()], target.read_text()) == (["x"], "other")


def test_of_many_writers_one_makes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are no hard links: the others are told that it exists, and it is whole."""

    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    target, outcomes, start = tmp_path / "x", [], threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        try:
            outcomes.append(write_private_file(str(target), str(number) * 9000, force=False))
        except AlreadyExists:
            outcomes.append(False)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]
    assert len(set(target.read_text())) == 1
    with pytest.raises(InvalidInput):
        write_private_file(str(tmp_path / "no" / "x"), "", force=False)


CLOSED = ["".join(chosen) for size in (1, 2) for chosen in itertools.combinations((" <&-", " 2>&-"), size)]


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_streams(closed: str, bash: Bash, store: Path) -> None:
    """Commands do what they are asked with standard input and standard error closed, and nothing gets into our files."""
    for line in (
        f'strongroom secret create s --k="$VALUE"{closed}',
        f'strongroom secret update s --k="$VALUE"{closed}',
        f"strongroom secret verify{closed}",
        f"strongroom server rotate-key{closed}",
        f"strongroom status{closed}",
    ):
        assert bash(line).returncode == 0, line
    assert bash(f"strongroom secret get s --key k{closed}").stdout.strip() == CANARY.encode()
    assert bash(f"strongroom secret export s --format json -f out{closed}; cat out; rm out").stdout.startswith(b"{")
    for line in (f"strongroom secret get nothing{closed}", f"strongroom no-such-command{closed}"):
        assert bash(line).returncode in (1, 2), line
    with sqlite3.connect(store / "strongroom.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("strongroom secret create s -i <&-", 1),
        ("strongroom secret create s --k=- <&-", 0),
        ("strongroom login http://127.0.0.1:9 --username x --password=- <&-", 2),
        ("strongroom login http://127.0.0.1:9 <&-", 1),
        ("strongroom secret list >&-", 1),
        ("strongroom secret export s -f /dev/stdout >&-", 1),
        ("strongroom secret list <&- >&- 2>&-", 1),
        ("strongroom --version <&- >&- 2>&-", 0),
    ],
)
def test_what_needs_a_closed_stream_says_so(line: str, code: int, bash: Bash) -> None:
    """By its exit status, and in words where standard error is open."""
    assert bash(line).returncode == code


def test_a_server_with_closed_streams(tmp_path: Path, store: Path) -> None:
    """A server that is started without standard streams serves, as it does under some supervisors."""
    from tests.servers.strongroom import StrongroomServer

    program = "import os, runpy, sys; [os.close(number) for number in (0, 1, 2)]; sys.stdin = sys.stdout = sys.stderr = None; "
    program += "runpy.run_module('strongroom', run_name='__main__', alter_sys=True)"
    server = StrongroomServer({"CONFIG_PATH": str(tmp_path / "served")}, program=("-c", program))
    server.stop()
    assert sys.stderr is not None
