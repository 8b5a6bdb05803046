"""A real strongroom server: a process of its own on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import urllib3

from tests.servers import PATIENCE_SECONDS, DidNotStartError, children_of

PASSWORD = "a long password of the tests"


class StrongroomServer:
    """`strongroom server start` with these variables and options, ready to answer when this is made."""

    def __init__(
        self,
        variables: Mapping[str, str],
        *options: str,
        scheme: str = "http",
        ca_cert: Path | None = None,
        program: Sequence[str] = ("-m", "strongroom"),
    ) -> None:
        """`program` is what the interpreter runs."""
        with tempfile.NamedTemporaryFile(prefix="strongroom-server-", suffix=".log", delete=False) as log:
            self.log_file = Path(log.name)
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("STRONGROOM_")}
        self._environment = inherited | {f"STRONGROOM_{name}": text for name, text in variables.items()}
        self._options, self._scheme, self._ca_cert, self._program = options, scheme, ca_cert, program
        for _ in range(3):  # another program may take the port before the server does
            self.port = free_port()
            self.url = f"{scheme}://127.0.0.1:{self.port}"
            self.process = self._start()
            if self._wait():
                return
        raise DidNotStartError(f"the server does not start:\n{self.log}")

    @property
    def log(self) -> str:
        """What the server has written so far."""
        return self.log_file.read_text(errors="replace")

    def workers(self) -> list[int]:
        """The processes that answer."""
        return children_of(self.process.pid)

    def stop(self) -> None:
        """Ends the server as an operator would."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):  # the server leads a group, in which its workers are
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE_SECONDS)
            self.log_file.unlink()

    def connections(self) -> urllib3.HTTPConnectionPool:
        """A pool of connections to the server, without retries."""
        if self._scheme == "http":
            return urllib3.HTTPConnectionPool("127.0.0.1", self.port, timeout=30, maxsize=4)
        return urllib3.HTTPSConnectionPool("127.0.0.1", self.port, timeout=30, ca_certs=str(self._ca_cert))

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *self._program, "server", "start", "--port", str(self.port), *self._options],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self) -> bool:
        """Whether the server is ready; False when it has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self.connections() as pool:
            while time.monotonic() < deadline:
                with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                    if pool.request("GET", "/readyz", retries=False).status == 200:
                        return self.process.poll() is None
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.02)
                    return False
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)
        return False


class FragileStrongroom(StrongroomServer):
    """A server that can be killed, stopped for a while, and started again at its port."""

    def kill(self) -> None:
        """SIGKILL for all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def begin(self) -> None:
        """Starts it, without waiting until it answers: it may refuse, while no store does."""
        self.process = self._start()

    def go_on(self) -> None:
        """Starts it if need be, and returns when it answers."""
        if self.process.poll() is None and self._wait():
            return
        self.begin()
        assert self._wait(), f"the server does not come back:\n{self.log}"

    def signal(self, number: int, pids: list[int]) -> None:
        """Sends it to some of its processes, as far as they are still there."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def free_port() -> int:
    """A port that nobody uses right now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
