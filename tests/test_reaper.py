"""What a test starts ends with its test process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import reap
from tests.processes import until
from tests.servers import is_running

_ROOT = Path(reap.__file__).parent.parent

_TESTS = """
import multiprocessing, os, signal, subprocess, sys, time
from pathlib import Path

_WAIT = [sys.executable, "-c", "import os, select; print(os.getpid(), flush=True); select.select([], [], [])"]
_DAEMON = "import os, select; os.fork() and os._exit(0); os.setsid(); print(os.getpid(), flush=True); select.select([], [], [])"
_PARENT = f"import subprocess; print(subprocess.run({_WAIT!r}))"

def _in_child(connection):
    connection.send(os.getpid())
    connection.recv()

def test_it():
    pids, connections = [os.getpid()], []
    for command, options in [
        (_WAIT, {}),
        (_WAIT, {"env": {}, "start_new_session": True}),
        ([sys.executable, "-c", _DAEMON], {}),
        ([sys.executable, "-c", _PARENT], {"env": {}}),
    ]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        pids += [process.pid, int(process.stdout.readline())]
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        context.Process(target=_in_child, args=(theirs,)).start()
        pids.append(ours.recv())
        connections.append(ours)
    print(*pids, file=open("pids.new", "w"))
    os.rename("pids.new", "pids")
    time.sleep(600)

"""


_SIGNALS = (signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize(
    ("number", "parallel"),
    [*((number, False) for number in _SIGNALS), (signal.SIGKILL, True), (signal.SIGHUP, True)],
    ids=lambda each: each.name if isinstance(each, signal.Signals) else "xdist" if each else "alone",
)
def test_nothing_is_left(tmp_path: Path, number: signal.Signals, *, parallel: bool) -> None:
    """However pytest ends: processes with and without our environment, in sessions of their own, daemons, grandchildren."""
    (tmp_path / "test_it.py").write_text(_TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.reaper", *(["-n", "1"] if parallel else []), "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    child = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until((tmp_path / "pids").exists)
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert len(pids) > 10
        child.send_signal(number)
        child.wait(60)
        until(lambda: not any(is_running(pid) for pid in pids))
    finally:
        child.kill()
        child.wait(60)


_DEFAULTS = """
import subprocess, sys

_CODE = "import signal; print(*[signal.getsignal(number) is signal.SIG_IGN for number in (1, 2, 3, 15)])"

def test_it():
    assert subprocess.check_output([sys.executable, "-c", _CODE], text=True) == "False False False False\\n"
"""


def test_children_have_default_signals(tmp_path: Path) -> None:
    """Also when the tests were started where signals are ignored, as in the background of a script or under nohup."""
    (tmp_path / "test_it.py").write_text(_DEFAULTS)
    (tmp_path / "pytest.ini").write_text("[pytest]")
    ignoring = ["sh", "-c", "trap '' INT HUP QUIT TERM; exec \"$@\"", "sh"]
    for options in ([], ["-p", "tests.reaper"]):
        command = [*ignoring, sys.executable, "-m", "pytest", "-q", *options, "test_it.py"]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(_ROOT)}, capture_output=True, check=False)
        assert done.returncode == (0 if options else 1), done.stdout
