"""Workers that die again and again, hang, or lose their main process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.server.supervisor import FIRST_PAUSE_SECONDS, MISCONFIGURED
from tests.faults.test_killed_servers import ask
from tests.processes import until
from tests.servers.strongroom import PASSWORD, StrongroomServer, free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")

REPLACED_SECONDS = 10
"""What the guide promises."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StrongroomServer]:
    """A server of two workers."""
    variables = {"CONFIG_PATH": str(tmp_path / "server"), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}
    server = StrongroomServer(variables, "--workers", "2")
    try:
        yield server
    finally:
        server.stop()


def events(server: StrongroomServer, event: str) -> list[dict[str, object]]:
    """What the main process has told of its workers."""
    lines = [line for line in server.log.splitlines() if f'"{event}"' in line]
    return [json.loads(line) for line in lines]


def test_a_worker_that_dies_again_and_again_takes_nobody_with_it(server: StrongroomServer) -> None:
    """Each replacement is killed as soon as it is there: the other worker goes on, the next one comes after a longer pause."""
    staying, first = server.workers()
    os.kill(first, signal.SIGKILL)
    gone = {first}
    for _ in range(4):
        until(lambda: set(server.workers()) - {staying, *gone} != set())
        (new,) = set(server.workers()) - {staying, *gone}
        os.kill(new, signal.SIGKILL)
        gone.add(new)
        assert ask(server.port, "/healthz") == 200
    until(lambda: len(set(server.workers()) - gone) == 2)
    assert staying in server.workers()
    assert server.process.poll() is None
    pauses = [event["restarts_in"] for event in events(server, "a worker ended")]
    assert pauses == [FIRST_PAUSE_SECONDS * 2**number for number in range(5)]


def test_all_workers_may_die_at_once(server: StrongroomServer) -> None:
    """All of them, twice: the server comes back by itself."""
    for _ in range(2):
        before = server.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(server.workers()) - set(before)) == 2)  # noqa: B023 - it is called here
    until(lambda: ask(server.port, "/readyz") == 200)
    assert server.process.poll() is None


def test_a_hung_worker_is_replaced(server: StrongroomServer) -> None:
    """A worker that is stopped is replaced within ten seconds, it alone; then no connection waits for it."""
    hung, well = server.workers()
    os.kill(hung, signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: hung not in server.workers() and len(server.workers()) == 2)
    assert time.monotonic() - began < REPLACED_SECONDS
    assert well in server.workers()
    assert [event["pid"] for event in events(server, "a worker hangs, and is ended")] == [hung]
    until(lambda: all(ask(server.port, "/healthz") == 200 for _ in range(20)))


def test_a_machine_that_slept_hangs_nobody(server: StrongroomServer) -> None:
    """All processes of a server stand still for longer than a worker may be silent: afterwards all of them go on."""
    everyone = [server.process.pid, *server.workers()]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > REPLACED_SECONDS)
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 2)  # the main process has looked at them meanwhile
    assert [server.process.pid, *server.workers()] == everyone
    assert ask(server.port, "/healthz") == 200


def test_a_server_with_a_hung_worker_ends(server: StrongroomServer) -> None:
    """SIGTERM to the main process: it kills the worker that hangs, and does not wait as long as for one that is busy."""
    hung = server.workers()[0]
    os.kill(hung, signal.SIGSTOP)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
    assert not Path(f"/proc/{hung}").exists()


def test_a_worker_that_is_told_to_end_is_replaced(server: StrongroomServer) -> None:
    """SIGTERM to one worker."""
    told = server.workers()[0]
    os.kill(told, signal.SIGTERM)
    until(lambda: told not in server.workers() and len(server.workers()) == 2)
    assert server.process.poll() is None


def test_a_killed_main_process_leaves_nobody(server: StrongroomServer) -> None:
    """Not even a worker that is stopped, which would hold the port and serve again: it is free within two seconds."""
    workers = server.workers()
    os.kill(workers[0], signal.SIGSTOP)
    server.process.kill()
    server.process.wait(30)
    began = time.monotonic()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert time.monotonic() - began < 2
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", server.port))


MISCONFIGURED_SERVER = """
import sys
from strongroom.config import read_settings
from strongroom.errors import StrongroomError
from strongroom.server.run import Address, serve
try:
    serve(read_settings(), Address("127.0.0.1", int(sys.argv[1])), 2, lambda: None)
except StrongroomError as error:
    sys.exit(f"Error: {error}")
"""


def test_a_server_whose_workers_cannot_start_ends(tmp_path: Path, key: str) -> None:
    """When the configuration is wrong for all workers, the server ends soon, and says why without a traceback."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("STRONGROOM_")}
    environment |= {
        "STRONGROOM_CONFIG_PATH": str(tmp_path / "state"),
        "STRONGROOM_DATABASE_URL": "mysql://root@localhost:x/strongroom",
    }
    command = [sys.executable, "-c", MISCONFIGURED_SERVER, str(free_port())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "Error: no worker of the server can start" in done.stderr
    assert "the database URL cannot be read" in done.stderr
    assert f'"status":{MISCONFIGURED}' in done.stderr
    assert "Traceback" not in done.stderr
